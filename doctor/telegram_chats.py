"""`autotrader telegram chats`: the numbers of whoever writes to the bot, so that nobody has to look for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
from redis import RedisError
from redis.asyncio import Redis

from doctor.bot_api import BotApi
from doctor.telegram_check import known_bot, unreachable
from doctor.telegram_words import SetupWords, setup_words
from notifications.heard import Heard, HeardChats, read
from settings import Settings
from storage.redis import open_redis

POLL_SECONDS = 10
# What the notifier heard a little before this was asked counts, too, and how often it is asked.
RECENT_SECONDS = 600.0
LOOK_SECONDS = 0.5
# over the time of a poll, for its answer to come
ANSWER_SECONDS = 10.0
# The server remembers this for later polls that do not say: so everything the bot itself wants is in it, too.
UPDATES = ["message", "edited_message", "channel_post", "callback_query", "my_chat_member"]


class CannotListen(Exception):
    """Why nobody can be heard, and what to do."""


async def listen(settings: Settings, session: aiohttp.ClientSession, seconds: float) -> AsyncIterator[str]:
    """What to show, line by line, until the seconds are over; each chat and person once.

    While a notifier listens it is asked what it hears; else what is heard here no notifier hears any more. Raises
    `CannotListen`.
    """
    words, api = setup_words(settings.notify_language), BotApi(session, settings)
    bot, finding = await known_bot(settings, api)
    if not bot:
        raise CannotListen(finding.detail)
    all_heard: list[Heard] = []
    redis = open_redis(settings.redis_url)
    try:
        notifier = await _listening_notifier(settings, redis)
        if notifier is not None:
            yield words.over_notifier
        yield words.listening.format(bot=bot, seconds=f"{seconds:g}")
        yield words.write_now.format(bot=bot)
        until = time.monotonic() + seconds
        source = _heard(api, words, until) if notifier is None else _heard_by(notifier, until)
        async for heard in source:
            if heard not in all_heard:
                all_heard.append(heard)
                yield "  " + _line(words, heard)
    except RedisError:
        raise CannotListen(words.other_poll) from None
    finally:
        await redis.aclose()
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


async def _listening_notifier(settings: Settings, redis: Redis) -> HeardChats | None:
    """What a notifier that listens to this bot writes down, or None without one, as far as is known."""
    chats = HeardChats(redis, settings.telegram_token.get_secret_value())
    try:
        return chats if await chats.anybody_listens() else None
    except (RedisError, OSError, TimeoutError):
        # a chat is found before anything else is set up
        return None


async def _heard_by(notifier: HeardChats, until: float) -> AsyncIterator[Heard]:
    since = time.time() - RECENT_SECONDS
    while True:
        for heard in await notifier.since(since):
            yield heard
        if time.monotonic() >= until:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _heard(api: BotApi, words: SetupWords, until: float) -> AsyncIterator[Heard]:
    offset = 0
    while (left := until - time.monotonic()) > 0:
        patience = max(1, min(POLL_SECONDS, int(left)))
        fields = {"offset": offset, "timeout": patience, "allowed_updates": UPDATES}
        for update in await _updates(api, words, fields):
            offset = max(offset, int(update["update_id"]) + 1)
            for heard in read(update):
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
