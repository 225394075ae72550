"""The bot beside the sending of alerts: polls when it is its turn, and outlives whatever Telegram, Redis, the database
or a fault of its own do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from datetime import UTC, datetime, timedelta

from redis import ConnectionError as RedisConnectionError
from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from telegram import Update
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError

from bot.answers import Answers
from bot.commands import COMMANDS, UNKNOWN
from bot.desk import Desk
from bot.edge import Edge
from bot.gate import Gate
from bot.incoming import read
from bot.line import Line
from bot.turn import Turn
from bot.words import bot_words
from notifications.heard import HeardChats
from notifications.heard import read as read_heard
from notifications.lanes import sleep
from notifications.ledger import Ledger
from notifications.reporter import ErrorReporter
from settings import Settings
from storage.bot_commands import ENDS
from telemetry.instruments import bot_commands, start_at_zero
from telemetry.redaction import redact, secret_values

log = logging.getLogger(__name__)

POLL_SECONDS = 25
REDIS_TIMEOUT_SECONDS = 3.0
LONGEST_BACKOFF_SECONDS = 30.0
CONFLICT_SECONDS = 10.0
HELD_SECONDS = 2.0
# A command takes three minutes at most.
INTERRUPTED = timedelta(minutes=5)
INTERRUPTED_LOOK_SECONDS = 60.0
# Over the time of a poll, for its answer to come and to be worked on.
LISTENING_SECONDS = 15.0

REDIS_ERRORS = (RedisError, OSError, TimeoutError)


async def run_bot(settings: Settings, *, stop: asyncio.Event, poll_seconds: int = POLL_SECONDS) -> None:
    """Answer commands until `stop` is set; then finish those under way. Without a token or with
    TELEGRAM_ENABLED=false there is nothing to do."""
    token = settings.telegram_token.get_secret_value().strip()
    if not settings.telegram_enabled or not token:
        return
    start_at_zero(bot_commands, command=[*COMMANDS, UNKNOWN], outcome=ENDS)
    if not settings.telegram_allowed_users:
        log.warning(
            "the bot answers nobody: set TELEGRAM_ALLOWED_USERS to the numbers of the Telegram users who may command "
            "it (autotrader telegram chats shows them)"
        )
    bot = _Bot(settings, token, stop, poll_seconds)
    try:
        await bot.run()
    finally:
        await bot.close()


class _Bot:
    """The parts of the bot, open."""

    def __init__(self, settings: Settings, token: str, stop: asyncio.Event, poll_seconds: int) -> None:
        self._stop = stop
        self._poll_seconds = poll_seconds
        self._secrets = secret_values(settings)
        self._redis = Redis.from_url(
            settings.redis_url,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            # one more try for a connection that died while it was idle
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            decode_responses=True,
            protocol=2,
        )
        ledger = Ledger(self._redis)
        words = bot_words(settings.notify_language)
        self._menus = {"": words.menu, **{language: bot_words(language).menu for language in ("ko", "en")}}
        self._turn = Turn(self._redis)
        self._heard = HeardChats(self._redis, token)
        self._reporter = ErrorReporter(settings)
        self._edge = Edge(self._reporter)
        self._line = Line(
            token, base_url=settings.telegram_base_url, ledger=ledger, edge=self._edge, secrets=self._secrets
        )
        gate = Gate(settings.telegram_allowed_users, (settings.telegram_chat_id, settings.error_chat_id), ledger)
        answers = Answers(settings, self._redis)
        self._desk = Desk(settings.database_url, answers, self._line, gate, self._edge, words, self._secrets)
        self._offset = 0
        self._trouble = ""
        self._failures = 0

    async def run(self) -> None:
        """Poll while it is this process' turn."""
        watchers = [asyncio.create_task(watcher) for watcher in (self._turn.watch(), self._watch_interrupted())]
        try:
            while not self._stop.is_set():
                if not await self._until(self._turn.held.wait()):
                    break
                await sleep(self._stop, await self._step())
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def close(self) -> None:
        """Settle what is under way, and close the connections."""
        await self._desk.close()
        if self._turn.held.is_set():
            with contextlib.suppress(*REDIS_ERRORS):
                await self._heard.leave()
        await self._turn.release()
        self._reporter.close()
        await self._line.close()
        await self._redis.aclose()

    async def _step(self) -> float:
        """One long poll and what it brought; returns how long to wait before the next."""
        try:
            if not self._line.username:
                await self._line.introduce(self._menus)
            await self._say_that_it_listens()
            fetch = asyncio.ensure_future(self._line.updates(self._offset, self._poll_seconds))
            if not await self._until(fetch):
                return 0.0
            updates, offset = fetch.result()
            self._works()
            written = True
            for update in updates:
                # what follows one that is not written waits with it: a resume must not overtake a halt
                written = await self._take(update, hold=not written) and written
                if written:
                    self._offset = update.update_id + 1
            if written:
                self._offset = max(self._offset, offset)
        except TelegramError as error:
            return self._failed(error)
        except Exception as error:
            # a fault of the bot must not end the process that sends the alerts
            log.exception("the bot failed and goes on")
            await self._edge.tell(error)
            self._failures += 1
            return self._backoff()
        return 0.0 if written else HELD_SECONDS

    async def _take(self, update: Update, *, hold: bool) -> bool:
        await self._note(update)
        try:
            incoming = read(update)
            return incoming is None or await self._desk.take(incoming, hold=hold)
        except Exception as error:
            # one command that cannot even be written down must not keep back all that follow
            log.exception("update %d of Telegram is left out", update.update_id)
            await self._edge.tell(error)
            return True

    async def _say_that_it_listens(self) -> None:
        # who sets up a chat asks Telegram itself where it is not known that somebody listens
        with contextlib.suppress(*REDIS_ERRORS):
            await self._heard.listen(self._poll_seconds + LISTENING_SECONDS)

    async def _note(self, update: Update) -> None:
        """Keep who wrote, for whoever sets up a chat: no command fails with it."""
        try:
            for heard in read_heard(update.to_dict()):
                await self._heard.note(heard)
        except REDIS_ERRORS:
            log.debug("it is not kept who wrote: Redis does not answer")
        except Exception as error:
            log.exception("it is not kept who wrote")
            await self._edge.tell(error)

    async def _watch_interrupted(self) -> None:
        while True:
            await self._turn.held.wait()
            try:
                await self._desk.tell_interrupted(datetime.now(UTC) - INTERRUPTED)
            except Exception as error:
                log.exception("what was interrupted is not settled yet")
                await self._edge.tell(error)
            await asyncio.sleep(INTERRUPTED_LOOK_SECONDS)

    def _failed(self, error: TelegramError) -> float:
        """Say once what is wrong; returns how long to leave it."""
        reason = redact(str(error), self._secrets) or type(error).__name__
        self._failures += 1
        match error:
            case Conflict():
                seconds = CONFLICT_SECONDS + random.uniform(0, CONFLICT_SECONDS / 2)
                cure = "another program fetches this bot's updates (or a webhook does): give each program its own bot"
            case InvalidToken():
                seconds, cure = LONGEST_BACKOFF_SECONDS, "get a new TELEGRAM_TOKEN from @BotFather"
            case RetryAfter(retry_after=asked):
                wait = asked.total_seconds() if isinstance(asked, timedelta) else float(asked)
                seconds, cure = wait + random.uniform(0.1, 0.5), "nothing is lost, Telegram keeps the commands"
            case _:
                seconds, cure = self._backoff(), "commands are heard again when Telegram answers"
        if self._trouble != type(error).__name__:
            self._trouble = type(error).__name__
            log.warning("the bot hears no commands (%s): %s", reason, cure)
        return seconds

    def _works(self) -> None:
        if self._trouble:
            log.info("the bot hears commands again")
        self._trouble, self._failures = "", 0

    def _backoff(self) -> float:
        return float(min(2.0 ** (self._failures - 1), LONGEST_BACKOFF_SECONDS)) + random.uniform(0, 0.5)

    async def _until(self, wanted: object) -> bool:
        """Await it unless the stop comes first; whether it came."""
        task = asyncio.ensure_future(wanted)  # type: ignore[call-overload]
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        came = bool(task.done())
        for one in (task, stop):
            if not one.done():
                one.cancel()
                with contextlib.suppress(asyncio.CancelledError, TelegramError):
                    await one
        return came
