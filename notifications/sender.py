"""One message to Telegram: sent or edited, and what came of it as a value the queue can act on."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal
from warnings import filterwarnings

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageEntity
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    RetryAfter,
    TelegramError,
)
from telegram.request import HTTPXRequest
from telegram.warnings import PTBDeprecationWarning

from notifications.message import (
    CAPTION_LIMIT,
    TELEGRAM_CAPTION_LIMIT,
    Button,
    Message,
    Priority,
    cut,
    sendable_rows,
    utf16_length,
)

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_SECONDS = 10.0
# Asked for in the text of a 429 without parameters, or not at all.
DEFAULT_RETRY_AFTER = 30.0
CHAT_RETRY_SECONDS = 60.0
TOKEN_RETRY_SECONDS = 30.0
LONGEST_BACKOFF_SECONDS = 30.0
# 2.0 ** 1024 is more than a float holds, and a night without the internet has more failures
LARGEST_EXPONENT = 10
PLAIN_LIMIT = 3500

# They log every URL, and the token is in it.
for _name in ("httpx", "httpcore", "telegram"):
    logging.getLogger(_name).setLevel(logging.WARNING)

# PTB announces a change of type of this attribute at every 429; both types are handled below.
filterwarnings("ignore", message=".*`retry_after`", category=PTBDeprecationWarning)

# A 400 of the chat, not of the message: no other form of it would fare better.
_CHAT_FAULTS = (
    "chat not found",
    "chat_id is empty",
    "peer_id_invalid",
    "not enough rights",
    "have no rights",
    "chat_write_forbidden",
    "chat_restricted",
    "chat_admin_required",
    "administrator rights",
    "topic_closed",
    "group chat was deactivated",
)
# A chat that takes texts may take no pictures: "not enough rights to send photos to the chat".
_PICTURE_FAULTS = ("photo", "media")
_EDIT_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "message identifier is not")
# What was to be edited is a picture with a caption where a text was thought to be, or the other way round.
_OTHER_PART = ("there is no text in the message to edit", "there is no caption in the message to edit")
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)

How = Literal["sent", "edited", "plain", "fallback", "diverted", "kept", "off"]
Trouble = Literal["throttled", "unreachable", "chat_unusable", "bad_token"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Telegram has it, as `message_id`, or as a line of a digest. `via` is the chat, if it was not the alert's own.

    What is `kept` for the end of the quiet hours, or `off`, is done with too.
    """

    message_id: int | None
    how: How
    via: str = ""


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not the message's fault: try again in `seconds`. `unreachable` may have been delivered all the same."""

    trouble: Trouble
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The group became a supergroup: everything goes to this chat from now on."""

    chat_id: str


@dataclass(slots=True)
class Picture:
    """A PNG that goes with a message; `sent` once Telegram has it, or will not have it: it never goes twice."""

    png: bytes
    sent: bool = False


Outcome = Delivered | Postponed | Moved


def connections(size: int, timeout: float = REQUEST_TIMEOUT_SECONDS) -> HTTPXRequest:
    """A pool of `size` connections to Telegram; every step of a request may take `timeout` seconds."""
    return HTTPXRequest(
        connection_pool_size=size,
        connect_timeout=timeout,
        read_timeout=timeout,
        write_timeout=timeout,
        pool_timeout=timeout,
    )


def seconds_asked(error: RetryAfter) -> float:
    """The pause that Telegram asks for."""
    asked = error.retry_after
    return asked.total_seconds() if isinstance(asked, timedelta) else float(asked)


class TelegramSender:
    """Sends over one connection pool. `base_url` is the server's, without `/bot`."""

    def __init__(self, token: str, *, base_url: str, timeout: float = REQUEST_TIMEOUT_SECONDS) -> None:
        self._request = connections(4, timeout)
        self._bot = Bot(token, base_url=f"{base_url}/bot", request=self._request, get_updates_request=self._request)
        self._timeout = timeout
        self._unreachable = 0

    async def username(self) -> str:
        """The bot's name. Raises `TelegramError` (`InvalidToken` if it is none) or `TimeoutError`."""
        async with asyncio.timeout(self._timeout):
            return str((await self._bot.get_me()).username)

    async def check_chat(self, chat_id: str) -> Outcome | Literal["usable"] | None:
        """Why the chat cannot be used, or that it can; None if nobody can say. Nothing appears in it but "typing…"."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._bot.send_chat_action(chat_id, "typing")
        except ChatMigrated as error:
            return Moved(str(error.new_chat_id))
        except Forbidden as error:
            return Postponed("chat_unusable", CHAT_RETRY_SECONDS, str(error))
        except BadRequest as error:
            # a channel has no "typing…", and can be written to all the same
            if _has(error, _CHAT_FAULTS):
                return Postponed("chat_unusable", CHAT_RETRY_SECONDS, str(error))
        except (TelegramError, TimeoutError):
            return None
        return "usable"

    async def deliver(
        self,
        message: Message,
        chat_id: str,
        *,
        edit: int | None = None,
        fallback: str,
        picture: Picture | None = None,
        silent: bool | None = None,
    ) -> Outcome:
        """Send the message, or put it in the place of message `edit`.

        One that Telegram refuses is sent once more as plain text, then `fallback` in its place; where that plain line
        is refused too, it is the chat that cannot be used. A `picture` has the text under it where that fits, else
        its first line, and the text follows. It makes a sound unless it is
        `silent`, by default where its priority is normal. Never raises for what Telegram or the network do.
        """
        # an analysis is for reading when one looks; an order or an error makes a sound
        quiet = message.priority >= Priority.NORMAL if silent is None else silent
        try:
            outcome = await self._edit_or_send(message, chat_id, edit, fallback, picture, quiet)
        except RetryAfter as error:
            return _throttled(seconds_asked(error), error)
        except ChatMigrated as error:
            return Moved(str(error.new_chat_id))
        except InvalidToken as error:
            return Postponed("bad_token", TOKEN_RETRY_SECONDS, str(error))
        except (Forbidden, BadRequest) as error:
            return Postponed("chat_unusable", CHAT_RETRY_SECONDS, str(error))
        except (TelegramError, TimeoutError) as error:
            if "too many requests" in str(error).lower():
                asked = re.search(r"retry after (\d+)", str(error), re.IGNORECASE)
                return _throttled(float(asked[1]) if asked else DEFAULT_RETRY_AFTER, error)
            self._unreachable += 1
            seconds = min(2.0 ** min(self._unreachable - 1, LARGEST_EXPONENT), LONGEST_BACKOFF_SECONDS)
            return Postponed("unreachable", seconds, str(error) or type(error).__name__)
        self._unreachable = 0
        return outcome

    async def close(self) -> None:
        """Close the connections."""
        await self._request.shutdown()

    async def _edit_or_send(
        self, message: Message, chat_id: str, edit: int | None, fallback: str, picture: Picture | None, quiet: bool
    ) -> Outcome:
        plain = replace(message, text=cut(message.text, PLAIN_LIMIT), entities=(), buttons=())
        if edit is not None:
            for form in (message, plain):
                try:
                    return await self._edit(form, chat_id, edit)
                except BadRequest as error:
                    if _has(error, _CHAT_FAULTS):
                        raise
                    if _has(error, _EDIT_GONE):
                        break
        if picture is not None and not picture.sent:
            whole = await self._send_picture(message, chat_id, picture, quiet)
            if whole is not None:
                return Delivered(whole, "sent")
        forms: tuple[tuple[Message, How], ...] = ((message, "sent"), (plain, "plain"))
        for form, how in forms:
            try:
                return Delivered(await self._send(form, chat_id, quiet), how)
            except BadRequest as error:
                if _has(error, _CHAT_FAULTS):
                    raise
        # nothing in it can be refused: a 400 of this one is the chat's
        last = replace(plain, text=cut(fallback, PLAIN_LIMIT))
        return Delivered(await self._send(last, chat_id, quiet), "fallback")

    async def _send(self, message: Message, chat_id: str, quiet: bool) -> int:
        async with asyncio.timeout(self._timeout):
            sent = await self._bot.send_message(
                chat_id,
                message.text,
                entities=_entities(message),
                link_preview_options=_NO_PREVIEW,
                disable_notification=quiet,
                reply_markup=keyboard(message.buttons),
            )
        return sent.message_id

    async def _send_picture(self, message: Message, chat_id: str, picture: Picture, quiet: bool) -> int | None:
        """The message's id if all of it stands under the picture; None if its text is still to be sent."""
        whole = utf16_length(message.text) <= CAPTION_LIMIT
        caption = message if whole else message.title()
        try:
            async with asyncio.timeout(self._timeout):
                sent = await self._bot.send_photo(
                    chat_id,
                    picture.png,
                    caption=caption.text,
                    caption_entities=_entities(caption),
                    # the text that follows makes the sound
                    disable_notification=quiet or not whole,
                    reply_markup=keyboard(caption.buttons),
                )
        except BadRequest as error:
            if _has(error, _CHAT_FAULTS) and not _has(error, _PICTURE_FAULTS):
                raise
            log.warning("Telegram refuses a picture (%s): its message goes without it", error)
            picture.sent = True
            return None
        picture.sent = True
        return sent.message_id if whole else None

    async def _edit(self, message: Message, chat_id: str, message_id: int) -> Delivered:
        edits = [self._edit_text, self._edit_caption]
        if message.picture and utf16_length(message.text) <= TELEGRAM_CAPTION_LIMIT:
            edits.reverse()
        for edit in edits if message.picture else edits[:1]:
            try:
                async with asyncio.timeout(self._timeout):
                    await edit(message, chat_id, message_id)
            except BadRequest as error:
                if edit is not edits[-1] and _has(error, _OTHER_PART):
                    continue
                if "message is not modified" not in str(error).lower():
                    raise
            break
        return Delivered(message_id, "edited")

    async def _edit_text(self, message: Message, chat_id: str, message_id: int) -> None:
        await self._bot.edit_message_text(
            message.text,
            chat_id,
            message_id,
            entities=_entities(message),
            link_preview_options=_NO_PREVIEW,
            reply_markup=keyboard(message.buttons),
        )

    async def _edit_caption(self, message: Message, chat_id: str, message_id: int) -> None:
        caption = message.caption()
        await self._bot.edit_message_caption(
            chat_id,
            message_id,
            caption=caption.text,
            caption_entities=_entities(caption),
            reply_markup=keyboard(caption.buttons),
        )


def _entities(message: Message) -> list[MessageEntity]:
    return [MessageEntity(entity.type, entity.offset, entity.length) for entity in message.entities]


def keyboard(buttons: tuple[tuple[Button, ...], ...]) -> InlineKeyboardMarkup | None:
    """The rows of buttons as Telegram takes them; None where nothing is left of them."""
    rows = sendable_rows(buttons)
    if not rows:
        return None
    return InlineKeyboardMarkup(
        [
            [InlineKeyboardButton(one.label, callback_data=one.action or None, url=one.url or None) for one in row]
            for row in rows
        ]
    )


def _throttled(seconds: float, error: TelegramError | TimeoutError) -> Postponed:
    # a little later than asked, and not all senders of the world at the same moment
    return Postponed("throttled", seconds + random.uniform(0.1, 0.5), str(error))


def _has(error: TelegramError, texts: tuple[str, ...]) -> bool:
    return any(text in str(error).lower() for text in texts)
