"""One command, from its arrival to its answer: who may, the row that is written first, the deed, what came of it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode
from redis import RedisError

from bot.actions import Action, read_action
from bot.answers import Answer, Answers
from bot.commands import COMMANDS, BadUsage, label, split
from bot.edge import Edge
from bot.gate import Gate
from bot.incoming import Incoming
from bot.line import Line
from bot.words import BotWords
from notifications.message import cut, sendable
from storage import bot_commands
from storage.bot_commands import BotCommand
from storage.direct import DatabaseUnavailable
from telemetry import instruments
from telemetry.redaction import redact
from telemetry.trace_ids import current_trace_id

log = logging.getLogger(__name__)

# A command that is older was sent to a bot that was away: what was right then may be wrong now.
OLDEST = timedelta(minutes=5)
LONGEST_SECONDS = 60.0
LONGEST_SLOW_SECONDS = 180.0
READS_AT_A_TIME = 4
STRANGERS_PER_HOUR = 20
COMMAND_LIMIT = 32
DETAIL_LIMIT = 500
REASON_LIMIT = 300
END_TRIES = 3
GRACE_SECONDS = 3.0

PRESSED = {"confirm": "confirmed", "cancel": "cancelled"}

_tracer = trace.get_tracer("autotrader")


class Desk:
    """Takes what comes in. Questions are answered side by side, what changes something is done in its order."""

    def __init__(
        self,
        database_url: str,
        answers: Answers,
        line: Line,
        gate: Gate,
        edge: Edge,
        words: BotWords,
        secrets: Iterable[str],
    ) -> None:
        self._database_url = database_url
        self._answers = answers
        self._line = line
        self._gate = gate
        self._edge = edge
        self._words = words
        self._secrets = tuple(secrets)
        self._changes = asyncio.Lock()
        # results of tasks are waited for by one thread at a time
        self._slow = asyncio.Lock()
        self._reads = asyncio.Semaphore(READS_AT_A_TIME)
        # the updates that wait for the database, and those under way
        self._held: set[int] = set()
        self._begun: set[int] = set()

    async def take(self, incoming: Incoming, *, hold: bool = False) -> bool:
        """Write the command down and begin it; False if it could not be written and is to be delivered again.

        With `hold` one before it was not written, so this one waits for its turn as well.
        """
        action = self._read(incoming)
        if action is None:
            return True
        with _tracer.start_as_current_span(
            f"bot/{label(action.command)}", attributes={"telegram.update": incoming.update_id}, end_on_exit=False
        ) as span:
            row = _row(incoming, action)
            if refusal := await self._gate.refusal(incoming):
                if not hold:
                    await self._refuse(incoming, row, refusal)
                _conclude(span, "refused")
                return not hold
            try:
                begun = not hold and await bot_commands.begin(self._database_url, row, current_trace_id())
            except DatabaseUnavailable as error:
                if incoming.update_id not in self._held:
                    log.warning("/%s of %s is not written down, and waits: %s", row.command, incoming.by, error)
                hold = True
            if hold:
                self._say_held(incoming, row.command)
                span.end()
                return False
            self._held.discard(incoming.update_id)
            if begun:
                self._begun.add(incoming.update_id)
                self._start(self._do(incoming, action, row, span))
            else:
                span.end()  # it was delivered before
        return True

    async def tell_interrupted(self, before: datetime) -> None:
        """Settle what a notifier that died had begun before a time, and tell who asked for it."""
        detail = "the notifier ended meanwhile; whether it was done is not known"
        try:
            rows = await bot_commands.give_up_begun(self._database_url, before, detail, but=self._begun)
        except DatabaseUnavailable:
            return  # asked again soon
        for row in rows:
            log.error("/%s of user %d was begun and never ended", row.command, row.user_id)
            _count(row.command, "failed")
            self._start(self._line.say(row.chat_id, self._words.interrupted.format(command=row.command)))

    async def close(self) -> None:
        """Give what is being done a moment to end, and settle the rest as failed."""
        await self._edge.settle(GRACE_SECONDS)

    def _read(self, incoming: Incoming) -> Action | None:
        if incoming.press_id:
            # a button of another version is answered as one that has expired
            return read_action(incoming.text) or Action("confirm", "", "")
        typed = split(incoming.text, self._line.username)
        return None if typed is None else Action("do", *typed)

    async def _refuse(self, incoming: Incoming, row: BotCommand, refusal: str) -> None:
        _count(row.command, "refused")
        try:
            await bot_commands.refuse_stranger(
                self._database_url,
                row,
                refusal,
                current_trace_id(),
                allowed=self._gate.users,
                most_per_hour=STRANGERS_PER_HOUR,
            )
        except DatabaseUnavailable as error:
            # nobody waits for it, and a stranger must not hold up the others
            log.warning("the refusal of user %d was not written down: %s", incoming.user_id, error)

    def _say_held(self, incoming: Incoming, command: str) -> None:
        if incoming.update_id in self._held:
            return
        self._held.add(incoming.update_id)
        held = self._words.held.format(command=command, minutes=OLDEST // timedelta(minutes=1))
        self._start(self._line.say(incoming.chat_id, held))

    async def _do(self, incoming: Incoming, action: Action, row: BotCommand, span: Span) -> None:
        with trace.use_span(span, end_on_exit=False):
            try:
                answer = await self._answer(incoming, action)
            except asyncio.CancelledError:
                answer = self._failed(action.command, self._words.stopped)
            await self._end(row, answer)
            self._begun.discard(incoming.update_id)
            _conclude(span, answer.outcome, answer.detail)
            short = incoming.press_id and (answer.outcome == "refused" or action.command == "mute")
            if not (short and await self._line.toast(incoming.press_id, answer.text)):
                await self._line.say(incoming.chat_id, answer.text, answer.buttons)

    async def _answer(self, incoming: Incoming, action: Action) -> Answer:
        command, words = action.command, self._words
        if incoming.at is not None and (age := datetime.now(UTC) - incoming.at) > OLDEST:
            minutes = age // timedelta(minutes=1)
            return Answer(words.too_old.format(command=command, minutes=minutes), outcome="refused", detail="too old")
        if command not in COMMANDS:
            text = words.expired if incoming.press_id else words.unknown.format(command=cut(command, COMMAND_LIMIT))
            return Answer(text, outcome="refused", detail="there is no such command")
        seconds = LONGEST_SLOW_SECONDS if COMMANDS[command].slow else LONGEST_SECONDS
        try:
            with self._answers.alone(command, action.arguments) as alone:
                if not alone:
                    return Answer(words.already_working.format(what=action.arguments), outcome="refused")
                if COMMANDS[command].slow and not await self._acknowledge(incoming, action.arguments):
                    return Answer(words.expired, outcome="refused", detail="pressed too long ago")
                async with self._turn(action), asyncio.timeout(seconds):
                    return await self._result(incoming, action)
        except BadUsage as error:
            return self._misused(command, error)
        except TimeoutError:
            return self._failed(command, words.timed_out.format(seconds=round(seconds)))
        except RedisError as error:
            return self._failed(command, words.redis_away.format(error=type(error).__name__))
        except Exception as error:
            if _is_told(error):
                return self._failed(command, str(error))
            # the edge: one command that fails is answered and told, and the next one is done
            log.exception("/%s of %s failed", command, incoming.by)
            await self._edge.tell(error, task=f"bot/{command}")
            first = next(iter(str(error).splitlines()), "")
            return self._failed(command, f"{type(error).__name__}: {first}" if first else type(error).__name__)

    async def _result(self, incoming: Incoming, action: Action) -> Answer:
        command, arguments, answers = action.command, action.arguments, self._answers
        if action.how != "do":
            question = await answers.settle(command, arguments, incoming)
            if question is None:
                return Answer(self._words.expired, outcome="refused", detail="expired")
            # beside it: what was confirmed does not wait for Telegram
            self._start(self._line.toast(incoming.press_id, self._words.confirmed if action.how == "confirm" else ""))
            self._start(self._line.strip_buttons(incoming.chat_id, incoming.message_id))
            if action.how == "cancel":
                return Answer(self._words.cancelled, detail="cancelled")
            done = await answers.confirmed(command, question, incoming)
            return replace(done, detail=question or "everywhere")
        return await answers.answer(command, arguments, incoming)

    async def _acknowledge(self, incoming: Incoming, arguments: str) -> bool:
        """Say that it will take a while; False if it was a button whose press nobody waits for any more."""
        if incoming.press_id:
            return await self._line.toast(incoming.press_id, self._words.asked)
        await self._line.say(incoming.chat_id, self._words.working.format(what=arguments))
        return True

    @asynccontextmanager
    async def _turn(self, action: Action) -> AsyncIterator[None]:
        command = COMMANDS[action.command]
        if command.asks and action.how == "do":
            yield
        else:
            async with self._slow if command.slow else self._changes if command.changes else self._reads:
                yield

    def _misused(self, command: str, error: BadUsage) -> Answer:
        words = self._words
        lines = [words.bad_argument.format(value=cut(error.about, COMMAND_LIMIT))] if error.about else []
        usage = words.usage.format(command=command, arguments=COMMANDS[command].arguments).rstrip()
        return Answer("\n".join([*lines, usage]), outcome="refused", detail="misused")

    def _failed(self, command: str, reason: str) -> Answer:
        clean = cut(redact(reason, self._secrets), REASON_LIMIT)
        return Answer(self._words.failed.format(command=command, reason=clean), outcome="failed", detail=clean)

    async def _end(self, row: BotCommand, answer: Answer) -> None:
        """Write what came of it; a row that cannot be written is settled as unknown later."""
        _count(row.command, answer.outcome)
        detail = cut(sendable(redact(answer.detail, self._secrets)), DETAIL_LIMIT)
        for tried in range(1, END_TRIES + 1):
            try:
                await bot_commands.end(self._database_url, row.update_id, answer.outcome, detail)
            except DatabaseUnavailable as error:
                log.warning("that /%s is %s was not written down: %s", row.command, answer.outcome, error)
                await asyncio.sleep(tried)
            else:
                return

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        self._edge.start(work, "an answer of the bot")


def _row(incoming: Incoming, action: Action) -> BotCommand:
    return BotCommand(
        update_id=incoming.update_id,
        chat_id=incoming.chat_id,
        user_id=incoming.user_id,
        username=incoming.username,
        command=cut(action.command or "button", COMMAND_LIMIT),
        # a token is nobody's business
        arguments=PRESSED.get(action.how, action.arguments),
    )


def _is_told(error: Exception) -> bool:
    """Whether its message is an answer: `operate` is loaded with the first question only."""
    operate = sys.modules.get("operate")
    return operate is not None and isinstance(error, operate.CannotAnswer)


def _count(command: str, outcome: str) -> None:
    instruments.bot_commands.add(1, {"command": label(command), "outcome": outcome})


def _conclude(span: Span, outcome: str, detail: str = "") -> None:
    span.set_attribute("outcome", outcome)
    if outcome == "failed":
        span.set_status(Status(StatusCode.ERROR, detail))
    span.end()
