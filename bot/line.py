"""The line to Telegram: updates come in by long polling, answers go straight out, at a pace and in the pauses that the
alerts keep, too."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import warnings
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from redis import RedisError
from telegram import Bot, BotCommand, LinkPreviewOptions, Update
from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter, TelegramError

from bot.edge import Edge
from notifications.ledger import Ledger
from notifications.message import TELEGRAM_LIMIT, Button, cut, sendable
from notifications.pace import Bucket, Pace
from notifications.sender import DEFAULT_RETRY_AFTER, connections, keyboard, seconds_asked
from telemetry.redaction import redact

log = logging.getLogger(__name__)

KINDS_OF_UPDATES = ("message", "callback_query")
# How long an answer waits for a Telegram that is away or wants a pause.
PATIENCE_SECONDS = 120.0
LONGEST_BACKOFF_SECONDS = 15.0
TOAST_LIMIT = 200
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


class Line:
    """One bot over two connection pools: a long poll must not keep an answer waiting. `username` is the bot's own."""

    def __init__(self, token: str, *, base_url: str, ledger: Ledger, edge: Edge, secrets: Iterable[str]) -> None:
        answering, polling = self._requests = connections(4), connections(1)
        self._bot = Bot(token, base_url=f"{base_url}/bot", request=answering, get_updates_request=polling)
        self._ledger = ledger
        self._edge = edge
        self._secrets = tuple(secrets)
        pace = Pace()
        self._buckets: dict[int, Bucket] = defaultdict(lambda: Bucket(pace.per_chat, pace.burst))
        self.username = ""

    async def introduce(self, menus: Mapping[str, Mapping[str, str]]) -> None:
        """Learn the bot's name, and set the menu of commands: a description by name, by language; "" is for all other
        languages. Raises `TelegramError`."""
        username = str((await self._bot.get_me()).username)
        for language, described in menus.items():
            commands = [BotCommand(name, text) for name, text in described.items()]
            try:
                await self._bot.set_my_commands(commands, language_code=language or None)
            except BadRequest as error:
                log.warning("Telegram refuses the menu of commands: %s", redact(str(error), self._secrets))
        self.username = username

    async def updates(self, offset: int, seconds: int) -> tuple[list[Update], int]:
        """What came in from `offset` on, waiting so long for something, and the offset to go on at if nothing of it
        fails. Asking for an offset confirms all before it. Raises `TelegramError`."""
        try:
            found = await self._bot.get_updates(offset, timeout=seconds, allowed_updates=KINDS_OF_UPDATES)
        except TelegramError:
            raise
        except Exception as error:
            # an update that the library cannot read must not be fetched for ever
            log.exception("an update of Telegram cannot be read and is left out")
            await self._edge.tell(error)
            return [], await self._after_unreadable(offset)
        return list(found), found[-1].update_id + 1 if found else offset

    async def say(self, chat_id: int, text: str, buttons: tuple[tuple[Button, ...], ...] = ()) -> bool:
        """Send a text, cut to what Telegram takes; whether it arrived. Never raises for what Telegram does."""
        clean = cut(sendable(redact(text, self._secrets)), TELEGRAM_LIMIT) or "-"
        bucket = self._buckets[chat_id]

        async def send() -> None:
            await self._bot.send_message(
                chat_id,
                clean,
                link_preview_options=_NO_PREVIEW,
                reply_markup=keyboard(buttons),
            )

        await asyncio.sleep(bucket.wait())
        bucket.take()
        return await self._try("an answer", send, PATIENCE_SECONDS)

    async def toast(self, press_id: str, text: str = "") -> bool:
        """Answer a pressed button, which else goes on waiting; whether it arrived. One that was pressed long ago takes
        no answer any more."""
        clean = cut(sendable(redact(text, self._secrets)), TOAST_LIMIT)
        return await self._try("a press", lambda: self._bot.answer_callback_query(press_id, clean or None), 0)

    async def strip_buttons(self, chat_id: int, message_id: int) -> None:
        """Take the buttons of a question away: it is settled."""
        await self._try(
            "a question", lambda: self._bot.edit_message_reply_markup(chat_id, message_id, reply_markup=None), 0
        )

    async def close(self) -> None:
        """Close the connections."""
        for request in self._requests:
            await request.shutdown()

    async def _try(self, what: str, call: Callable[[], Awaitable[Any]], patience: float) -> bool:
        give_up, tries = time.monotonic() + patience, 0
        while True:
            seconds = await self._paused()
            if not seconds:
                try:
                    await call()
                except RetryAfter as error:
                    seconds = await self._pause(seconds_asked(error))
                    reason = "Telegram asks for a pause"
                except (BadRequest, Forbidden, InvalidToken) as error:
                    log.warning("%s was not sent: %s", what, redact(str(error), self._secrets))
                    return False
                except TelegramError as error:
                    reason = redact(str(error), self._secrets)
                    if "too many requests" in reason.lower():
                        seconds = await self._pause(DEFAULT_RETRY_AFTER)
                    else:
                        seconds, tries = min(2.0**tries, LONGEST_BACKOFF_SECONDS), tries + 1
                else:
                    return True
            else:
                reason = "Telegram has asked for a pause"
            if time.monotonic() + seconds > give_up:
                log.warning("%s was not sent: %s", what, reason)
                return False
            await asyncio.sleep(seconds)

    async def _paused(self) -> float:
        try:
            return await self._ledger.paused_seconds()
        except (RedisError, OSError, TimeoutError):
            return 0.0

    async def _pause(self, seconds: float) -> float:
        seconds += random.uniform(0.1, 0.5)
        try:
            await self._ledger.pause_bot(seconds)
        except (RedisError, OSError, TimeoutError):
            log.warning("Redis does not answer: the alerts do not know that Telegram asks for a pause")
        return seconds

    async def _after_unreadable(self, offset: int) -> int:
        """The offset after the first update there is. Raises `TelegramError`."""
        with warnings.catch_warnings():
            # there is a method for it, which is the one that cannot read the update
            warnings.simplefilter("ignore")
            raw = await self._bot.do_api_request("getUpdates", {"offset": offset, "limit": 1})
        return int(raw[0]["update_id"]) + 1 if raw else offset
