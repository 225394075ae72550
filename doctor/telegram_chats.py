"""`autotrader telegram chats`: the numbers of whoever writes to the bot, so that nobody has to look for them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from doctor.bot_api import BotApi
from doctor.telegram_check import known_bot, unreachable
from doctor.telegram_words import SetupWords, setup_words
from notifications.message import cut, sendable
from settings import Settings

POLL_SECONDS = 10
LONGEST_NAME = 100
# over the time of a poll, for its answer to come
ANSWER_SECONDS = 10.0
# The server remembers this for later polls that do not say: so everything the bot itself wants is in it, too.
UPDATES = ["message", "edited_message", "channel_post", "callback_query", "my_chat_member"]


class CannotListen(Exception):
    """Why nobody can be heard, and what to do."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Who wrote, and where. A channel's posts have no `user_id`."""

    chat_id: int
    kind: str
    title: str
    user_id: int | None
    who: str


async def listen(settings: Settings, session: aiohttp.ClientSession, seconds: float) -> AsyncIterator[str]:
    """What to show, line by line, until the seconds are over; each chat and person once.

    What is heard here the notifier does not hear any more. Raises `CannotListen`.
    """
    words, api = setup_words(settings.notify_language), BotApi(session, settings)
    bot, finding = await known_bot(settings, api)
    if not bot:
        raise CannotListen(finding.detail)
    yield words.listening.format(bot=bot, seconds=f"{seconds:g}")
    yield words.write_now.format(bot=bot)
    all_heard: list[Heard] = []
    async for heard in _heard(api, words, time.monotonic() + seconds):
        if heard not in all_heard:
            all_heard.append(heard)
            yield "  " + _line(words, heard)
    if not all_heard:
        raise CannotListen(words.nobody.format(bot=bot))
    yield ""
    users = {heard.user_id for heard in all_heard if heard.user_id is not None}
    if len(users) > 1:
        yield words.several
        return
    yield words.put_in
    for line in _settings(all_heard):
        yield "  " + line


async def _heard(api: BotApi, words: SetupWords, until: float) -> AsyncIterator[Heard]:
    offset = 0
    while (left := until - time.monotonic()) > 0:
        patience = max(1, min(POLL_SECONDS, int(left)))
        fields = {"offset": offset, "timeout": patience, "allowed_updates": UPDATES}
        for update in await _updates(api, words, fields):
            offset = max(offset, int(update["update_id"]) + 1)
            for heard in _read(update):
                yield heard
    if offset:
        # a greeting is no command: what was shown is not to be answered later
        await _updates(api, words, {"offset": offset, "timeout": 0, "allowed_updates": UPDATES})


async def _updates(api: BotApi, words: SetupWords, fields: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        reply = await api.call("getUpdates", fields, patience=fields["timeout"] + ANSWER_SECONDS)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise CannotListen(unreachable(words, error).detail) from None
    if reply.ok and isinstance(reply.result, list):
        return reply.result
    if reply.status == 409:
        raise CannotListen(words.webhook if "webhook" in reply.description.lower() else words.other_poll)
    if reply.status == 429:
        raise CannotListen(words.too_fast.format(seconds=reply.parameters.get("retry_after", 30)))
    raise CannotListen(words.server_trouble.format(status=reply.status))


def _read(update: dict[str, Any]) -> Iterator[Heard]:
    """Who is behind an update."""
    query = update.get("callback_query", {})
    for part in (*(update.get(name) for name in UPDATES if name != "callback_query"), query.get("message")):
        if not part or part.get("new_chat_member", {}).get("status") in ("left", "kicked"):
            continue
        chat, user = part["chat"], query.get("from") or part.get("from") or {}
        name = " ".join(filter(None, (user.get("first_name"), user.get("last_name"))))
        yield Heard(
            chat_id=chat["id"],
            kind=chat["type"],
            title=_shown(chat.get("title", "")),
            user_id=user.get("id"),
            who=_shown(f"{name} @{user['username']}" if user.get("username") else name),
        )


def _shown(name: str) -> str:
    """A name as one line: whoever chose it may have put anything into it."""
    return cut(sendable(" ".join(str(name).split())), LONGEST_NAME)


def _line(words: SetupWords, heard: Heard) -> str:
    if heard.user_id is None:
        return words.heard_channel.format(chat=heard.chat_id, title=heard.title)
    sentence = words.heard if heard.kind == "private" else words.heard_group
    return sentence.format(chat=heard.chat_id, title=heard.title, who=heard.who, user=heard.user_id)


def _settings(all_heard: list[Heard]) -> Iterator[str]:
    chats = list(dict.fromkeys(heard.chat_id for heard in all_heard))
    yield f"TELEGRAM_CHAT_ID={chats[0]}"
    if len(chats) > 1:
        yield f"ERROR_REPORTING_CHAT_ID={chats[1]}"
    if user := next((heard.user_id for heard in all_heard if heard.user_id is not None), None):
        yield f"TELEGRAM_ALLOWED_USERS={user}"
