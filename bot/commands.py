"""The commands there are, and what was typed after one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from notifications.message import sendable
from settings import MARKETS
from trading.strategy import BadStrategy, duration

LONGEST_PAUSE = timedelta(days=30)
LONGEST_MUTE = timedelta(days=7)

UNKNOWN = "unknown"
# A command with its argument in one word, which Telegram makes a link of.
_LINK = re.compile(r"(why)_([0-9a-f]{32})")
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,19}")


class BadUsage(ValueError):
    """The command cannot be read; `about` is the argument that is wrong, or "" for the whole."""

    def __init__(self, about: str = "") -> None:
        super().__init__(about)
        self.about = about


@dataclass(frozen=True, slots=True)
class Command:
    """`changes` what the system does, so that one waits for another; `asks` for a confirmation first; `slow` ones are
    acknowledged before they are done."""

    name: str
    arguments: str = ""
    changes: bool = False
    asks: bool = False
    slow: bool = False


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("status"),
        Command("positions"),
        Command("orders"),
        Command("pnl", "[days]"),
        Command("daily"),
        Command("why", "<id>"),
        Command("analyze", "<market> <symbol>", slow=True),
        Command("pause", "[market] [hours]", changes=True),
        Command("resume", "[market]", changes=True),
        Command("halt", "[market]", changes=True, asks=True),
        Command("flatten", "[market]", changes=True, asks=True),
        Command("locks"),
        Command("unlock", "<name>", changes=True),
        Command("mute", "[kind|fingerprint|all] [1h|off]", changes=True),
        Command("health"),
        Command("help"),
    )
}
ALIASES = {"start": "help"}


def label(name: str) -> str:
    """The command's name as metrics and spans have it: a closed set."""
    return name if name in COMMANDS else UNKNOWN


def split(text: str, username: str) -> tuple[str, str] | None:
    """The name and the arguments of `/name arguments`, or None if it is no command or one for another bot.

    In groups a command may be addressed: `/status@some_bot`. A link that messages hold, `/why_<id>`, is `/why <id>`.
    """
    head, _, rest = sendable(text).strip().partition(" ")
    if "\n" in head:
        head, _, rest = sendable(text).strip().partition("\n")
    name, at, addressee = head.removeprefix("/").partition("@")
    if not head.startswith("/") or not name or (at and addressee.lower() != username.lower()):
        return None
    name = name.lower()
    if link := _LINK.fullmatch(name):
        name, rest = link[1], f"{link[2]} {rest}"
    return ALIASES.get(name, name), " ".join(rest.split())


def optional_market(words: list[str]) -> str:
    """The market the arguments begin with, taken off them; "" without one."""
    if words and words[0].lower() in MARKETS:
        return words.pop(0).lower()
    return ""


def only_market(arguments: str) -> str:
    """A market or nothing. Raises `BadUsage`."""
    words = arguments.split()
    market = optional_market(words)
    if words:
        raise BadUsage(words[0])
    return market


def market_and_symbol(arguments: str) -> tuple[str, str]:
    """A market and a symbol, such as `upbit KRW-BTC`. Raises `BadUsage`."""
    words = arguments.split()
    market = optional_market(words)
    if not market or len(words) != 1 or not _SYMBOL.fullmatch(words[0]):
        raise BadUsage(words[0] if words else "")
    return market, words[0].upper()


def market_and_hours(arguments: str) -> tuple[str, float]:
    """A market or "", and hours or 0 for no end: `upbit 2`, `90m`, nothing. Raises `BadUsage`."""
    words = arguments.split()
    market = optional_market(words)
    if not words:
        return market, 0.0
    if len(words) > 1:
        raise BadUsage(words[1])
    return market, length(words[0], LONGEST_PAUSE).total_seconds() / 3600


def length(word: str, longest: timedelta) -> timedelta:
    """A length such as `90s`, `10m`, `8h` or `1d`; a bare number is hours. Raises `BadUsage`."""
    try:
        found = duration("", f"{word}h" if word.isdecimal() else word)
    except BadStrategy:
        raise BadUsage(word) from None
    if not timedelta(0) < found <= longest:
        raise BadUsage(word)
    return found
