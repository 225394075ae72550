"""`autotrader telegram test`: one message to each chat, and of what is wrong exactly what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp

from doctor.bot_api import BotApi, Reply
from doctor.findings import Finding, fault, ok, skipped, why
from doctor.telegram_words import SetupWords, setup_words
from notifications.message import Chat, Message, Priority
from notifications.texts import titled
from settings import Settings

TOKEN, TRADE, ERROR = "TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID", "ERROR_REPORTING_CHAT_ID"

# what the server says, in lower case -> the sentence that says what to do; the first that fits
_CHAT_FAULTS = (
    ("blocked by the user", "blocked"),
    ("can't initiate conversation", "not_started"),
    ("user is deactivated", "user_deleted"),
    ("was kicked", "removed"),
    ("is not a member", "removed"),
    ("was deleted", "group_deleted"),
    ("chat was deactivated", "group_deleted"),
    ("can't send messages to bots", "itself"),
    ("can't send messages to the bot", "itself"),
    ("not enough rights", "may_not_write"),
    ("have no rights", "may_not_write"),
    ("need administrator rights", "may_not_write"),
    ("chat_write_forbidden", "may_not_write"),
)
_UNKNOWN = ("chat not found", "chat_id is empty", "peer_id_invalid")


async def check(settings: Settings, session: aiohttp.ClientSession) -> AsyncIterator[Finding]:
    """Each finding as soon as it is there; no secret is in any."""
    words, api = setup_words(settings.notify_language), BotApi(session, settings)
    bot, finding = await known_bot(settings, api)
    yield finding
    if not bot:
        return
    if not settings.telegram_enabled:
        yield skipped("TELEGRAM_ENABLED", words.disabled)
    hook = await _webhook(api, words)
    if hook is not None:
        yield hook
    if not settings.telegram_chat_id:
        yield fault(TRADE, words.chat_missing)
        return
    apart = settings.error_chat_id != settings.telegram_chat_id
    what = words.trade_chat if apart else words.both_chats
    yield await _send(api, settings, words, bot, TRADE, settings.telegram_chat_id, what)
    if apart:
        yield await _send(api, settings, words, bot, ERROR, settings.error_chat_id, words.error_chat)
    elif not settings.error_reporting_chat_id:
        yield ok(ERROR, words.same_chat)


async def known_bot(settings: Settings, api: BotApi) -> tuple[str, Finding]:
    """The bot's name with its @ and that its token is right, or "" and what is wrong."""
    words = setup_words(settings.notify_language)
    if not settings.telegram_token.get_secret_value().strip():
        return "", fault(TOKEN, words.token_missing)
    try:
        reply = await api.call("getMe")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return "", unreachable(words, error)
    # 404: a token that is not even shaped like one
    if reply.status in (401, 404) and (reply.description or reply.status == 401):
        return "", fault(TOKEN, words.token_refused.format(status=reply.status))
    if reply.status >= 500:
        return "", fault("Telegram", words.server_trouble.format(status=reply.status))
    if not reply.ok or not isinstance(reply.result, dict):
        return "", fault("Telegram", words.no_bot_api.format(status=reply.status))
    bot = f"@{reply.result.get('username', '?')}"
    return bot, ok(TOKEN, words.token_good.format(bot=bot))


def unreachable(words: SetupWords, error: BaseException) -> Finding:
    """That the network does not get there, and why."""
    return fault("Telegram", words.unreachable.format(reason=why(error, "TELEGRAM_BASE_URL")))


async def _webhook(api: BotApi, words: SetupWords) -> Finding | None:
    try:
        reply = await api.call("getWebhookInfo")
    except (aiohttp.ClientError, OSError, TimeoutError):
        # what the network does is told of the messages, which matter more
        return None
    there = reply.ok and isinstance(reply.result, dict) and reply.result.get("url")
    return fault("webhook", words.webhook) if there else None


async def _send(
    api: BotApi, settings: Settings, words: SetupWords, bot: str, setting: str, chat: str, what: str
) -> Finding:
    message = _message(words, what)
    entities = [{"type": one.type, "offset": one.offset, "length": one.length} for one in message.entities]
    try:
        reply = await api.call("sendMessage", {"chat_id": chat, "text": message.text, "entities": entities})
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return unreachable(words, error)
    if not reply.ok or not isinstance(reply.result, dict):
        return fault(setting, _cure(words, reply, bot, setting, chat))
    told = reply.result.get("chat", {})
    where = told.get("title") or told.get("first_name") or chat
    return ok(setting, words.delivered.format(where=where, message=reply.result.get("message_id")))


def _message(words: SetupWords, what: str) -> Message:
    text = titled(words.test_title, datetime.now(UTC)).add(words.test_text.format(what=what))
    return text.message(Priority.NORMAL, Chat.TRADE)


def _cure(words: SetupWords, reply: Reply, bot: str, setting: str, chat: str) -> str:
    """What is wrong with a chat, and what to do."""
    said = reply.description.lower()
    if "migrate_to_chat_id" in reply.parameters:
        return words.moved.format(setting=setting, new=reply.parameters["migrate_to_chat_id"])
    if any(text in said for text in _UNKNOWN):
        sentence = words.not_found_group if chat.startswith(("-", "@")) else words.not_found_person
        return sentence.format(bot=bot, setting=setting)
    for text, name in _CHAT_FAULTS:
        if text in said:
            sentence = str(getattr(words, name))
            return sentence.format(bot=bot, setting=setting)
    if reply.status == 429:
        return words.too_fast.format(seconds=reply.parameters.get("retry_after", 30))
    if reply.status == 401:
        return words.token_refused.format(status=reply.status)
    if reply.status >= 500 or not reply.description:
        return words.server_trouble.format(status=reply.status)
    return words.refused.format(status=reply.status, reason=reply.description, setting=setting)
