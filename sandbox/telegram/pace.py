"""How fast a bot may send, as Telegram's Bot FAQ tells it: about one message a second to a chat with short bursts,
20 a minute to a group, 30 a second over all chats. The real server publishes no exact numbers."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from sandbox.telegram.errors import ApiError

PER_CHAT_SECONDS = 1.0
CHAT_BURST = 5
GROUP_PER_MINUTE = 20
BOT_PER_SECOND = 30


class Pace:
    """Counts what is sent and edited. `clock` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens: dict[str, tuple[float, float]] = {}
        self._groups: dict[str, deque[float]] = {}
        self._bot: deque[float] = deque()
        self._refused_until: dict[str, float] = {}

    def take(self, chat_id: int | str) -> None:
        """Count one message to a chat. Raises `ApiError` 429; until `retry_after` is over, everything to that chat is
        refused."""
        chat, now = str(chat_id), self._clock()
        refused = self._refused_until.get(chat, 0.0) - now
        if refused > 0:
            raise _too_many(math.ceil(refused))
        if (wait := self._wait(chat, now)) > 0:
            seconds = max(1, math.ceil(wait))
            self._refused_until[chat] = now + seconds
            raise _too_many(seconds)
        tokens, _ = self._filled(chat, now)
        self._tokens[chat] = tokens - 1, now
        self._bot.append(now)
        if chat.startswith("-"):
            self._groups[chat].append(now)

    def _wait(self, chat: str, now: float) -> float:
        """Seconds until one more message to the chat would be within every limit."""
        waits = [(1 - self._filled(chat, now)[0]) * PER_CHAT_SECONDS, _window(self._bot, BOT_PER_SECOND, 1.0, now)]
        if chat.startswith("-"):
            waits.append(_window(self._groups.setdefault(chat, deque()), GROUP_PER_MINUTE, 60.0, now))
        return max(waits)

    def _filled(self, chat: str, now: float) -> tuple[float, float]:
        tokens, since = self._tokens.get(chat, (float(CHAT_BURST), now))
        return min(float(CHAT_BURST), tokens + (now - since) / PER_CHAT_SECONDS), now


def _too_many(seconds: int) -> ApiError:
    return ApiError(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


def _window(taken: deque[float], most: int, seconds: float, now: float) -> float:
    while taken and taken[0] <= now - seconds:
        taken.popleft()
    return taken[0] + seconds - now if len(taken) >= most else 0.0
