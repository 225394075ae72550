"""What each command does, and what is answered. What they show and order comes from `operate`."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType

from redis.asyncio import Redis

from bot.actions import cancel_action, confirm_action
from bot.commands import COMMANDS, LONGEST_MUTE, BadUsage, length, market_and_hours, market_and_symbol, only_market
from bot.confirmations import Confirmations
from bot.health import health
from bot.incoming import Incoming
from bot.words import bot_words
from notifications.alert import KINDS
from notifications.fingerprint import short
from notifications.message import Button
from notifications.mutes import EVERYTHING, Mutes
from notifications.texts import shown_time
from settings import MARKETS, Settings
from storage.bot_commands import Outcome

ORDERS_SHOWN = 20
ANALYSIS_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said, with the buttons under it, and what came of the command."""

    text: str
    buttons: tuple[tuple[Button, ...], ...] = ()
    outcome: Outcome = "done"
    detail: str = ""


Handler = Callable[[str, Incoming], Awaitable[Answer]]


class Answers:
    """The commands over what they need; a Redis client stays the caller's to close."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._settings = settings
        self._redis = redis
        self._words = bot_words(settings.notify_language)
        self._mutes = Mutes(redis)
        self._confirmations = Confirmations(redis)
        self._analysing: set[tuple[str, str]] = set()
        self._handlers: dict[str, Handler] = {name: getattr(self, f"_{name}") for name in COMMANDS}

    async def answer(self, command: str, arguments: str, incoming: Incoming) -> Answer:
        """Do what was typed, or ask for a confirmation first. Raises `BadUsage`, `CannotAnswer` and what Redis and the
        database raise."""
        if COMMANDS[command].asks:
            return await self._ask(command, only_market(arguments), incoming)
        return await self._handlers[command](arguments, incoming)

    async def settle(self, command: str, token: str, incoming: Incoming) -> str | None:
        """Close a question that was asked; returns what it was about, or None if nobody waits for this press."""
        return await self._confirmations.take(token, incoming.user_id, command)

    async def confirmed(self, command: str, market: str, incoming: Incoming) -> Answer:
        """Do what was asked before, and confirmed. Raises as `answer` does."""
        return await self._handlers[command](market, incoming)

    @contextmanager
    def alone(self, command: str, arguments: str) -> Iterator[bool]:
        """Whether nobody else has the same symbol analysed over the bot just now; it is taken within the block. Other
        commands are always alone. Raises `BadUsage`."""
        if command != "analyze":
            yield True
            return
        symbol = market_and_symbol(arguments)
        if symbol in self._analysing:
            yield False
            return
        self._analysing.add(symbol)
        try:
            yield True
        finally:
            self._analysing.discard(symbol)

    async def _ask(self, command: str, market: str, incoming: Incoming) -> Answer:
        words = self._words
        token = await self._confirmations.ask(incoming.user_id, command, market)
        question = words.ask_halt if command == "halt" else words.ask_flatten
        buttons = (
            Button(words.confirm, confirm_action(command, token)),
            Button(words.cancel, cancel_action(command, token)),
        )
        return Answer(question.format(where=market or words.everywhere), (buttons,), "asked")

    async def _status(self, arguments: str, _: Incoming) -> Answer:
        _no(arguments)
        return Answer(await (await _operate()).show_status(self._settings))

    async def _positions(self, arguments: str, _: Incoming) -> Answer:
        _no(arguments)
        return Answer(await (await _operate()).show_positions(self._settings))

    async def _orders(self, arguments: str, _: Incoming) -> Answer:
        _no(arguments)
        return Answer(await (await _operate()).show_orders(self._settings, ORDERS_SHOWN))

    async def _pnl(self, arguments: str, _: Incoming) -> Answer:
        if arguments and not (arguments.isdecimal() and len(arguments) < 5):
            raise BadUsage(arguments)
        return Answer(await (await _operate()).show_pnl(self._settings, int(arguments or 1)))

    async def _daily(self, arguments: str, _: Incoming) -> Answer:
        _no(arguments)
        return Answer(await (await _operate()).show_daily(self._settings))

    async def _why(self, arguments: str, _: Incoming) -> Answer:
        return Answer(await (await _operate()).explain(self._settings, _one(arguments)))

    async def _analyze(self, arguments: str, _: Incoming) -> Answer:
        market, symbol = market_and_symbol(arguments)
        return Answer(await (await _operate()).analyze_now(self._settings, market, symbol, ANALYSIS_SECONDS))

    async def _pause(self, arguments: str, incoming: Incoming) -> Answer:
        market, hours = market_and_hours(arguments)
        reason = self._words.reason_pause
        return Answer(await (await _operate()).pause(self._settings, market, hours, reason, incoming.by))

    async def _resume(self, arguments: str, incoming: Incoming) -> Answer:
        return Answer(await (await _operate()).resume(self._settings, only_market(arguments), incoming.by))

    async def _halt(self, market: str, incoming: Incoming) -> Answer:
        operate, reason = await _operate(), self._words.reason_halt
        return Answer(await operate.set_trading_state(self._settings, "halted", market, "", reason, 0, incoming.by))

    async def _flatten(self, market: str, incoming: Incoming) -> Answer:
        return Answer(await (await _operate()).request_flatten(self._settings, market, incoming.by))

    async def _locks(self, arguments: str, _: Incoming) -> Answer:
        _no(arguments)
        return Answer(await (await _operate()).show_locks(self._settings))

    async def _unlock(self, arguments: str, incoming: Incoming) -> Answer:
        if not arguments:
            raise BadUsage
        return Answer(await (await _operate()).unlock(self._settings, arguments, incoming.by))

    async def _mute(self, arguments: str, incoming: Incoming) -> Answer:
        words = self._words
        if not arguments:
            return await self._muted()
        name, *rest = arguments.split()
        if len(rest) > 1:
            raise BadUsage(rest[1])
        # a button names an alert that there is, a person may mistype
        if not incoming.press_id and not _mutable(name):
            raise BadUsage(name)
        if rest and rest[0].lower() in ("off", "0"):
            await self._mutes.set(short(name), 0)
            return Answer(words.unmuted.format(name=short(name)))
        lasts = length(rest[0], LONGEST_MUTE) if rest else timedelta(hours=1)
        await self._mutes.set(short(name), lasts.total_seconds())
        until = (await self._mutes.in_force()).get(short(name))
        return Answer(words.muted.format(name=short(name), until=shown_time(until) if until else "-"))

    async def _muted(self) -> Answer:
        words = self._words
        muted = await self._mutes.in_force()
        lines = [f"{name}: {shown_time(until)}" for name, until in muted.items()]
        names = words.mute_names.format(names=", ".join((EVERYTHING, *KINDS)))
        return Answer("\n".join([words.mutes_title if lines else words.no_mutes, *lines, names]))

    async def _health(self, arguments: str, _: Incoming) -> Answer:
        _no(arguments)
        return Answer(await health(self._settings, self._redis, self._words))

    async def _help(self, _: str, __: Incoming) -> Answer:
        words = self._words
        lines = [f"/{one.name} {one.arguments}".rstrip() + f" — {words.menu[one.name]}" for one in COMMANDS.values()]
        return Answer("\n".join([words.help_title, *lines, "", words.help_end.format(markets=", ".join(MARKETS))]))


async def _operate() -> ModuleType:
    """Loaded with the first question, and in a thread: it takes a second on a small machine, and alerts go on."""
    return await asyncio.to_thread(importlib.import_module, "operate")


def _no(arguments: str) -> None:
    if arguments:
        raise BadUsage(arguments)


def _one(arguments: str) -> str:
    words = arguments.split()
    if len(words) != 1:
        raise BadUsage(words[1] if words else "")
    return words[0]


def _mutable(name: str) -> bool:
    """A kind, all, or an alert: by its hash or the start of it, or by a name with a colon that was chosen."""
    return (
        name == EVERYTHING
        or name in KINDS
        or ":" in name
        or re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{64}", name) is not None
    )
