"""Telegram: the token, both chats, and on request an alert that goes the whole way."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime

import aiohttp
from redis import RedisError

from doctor.bot_api import BotApi
from doctor.findings import Finding, fault, ok, skipped, why
from notifications.alert import Alert
from notifications.ledger import PREFIX, Ledger, Recorded
from notifications.message import Chat, Priority
from notifications.texts import titled
from settings import Settings
from storage.redis import open_redis

ALERT_SECONDS = 20.0
TEXTS = {
    "ko": ("🩺 시험 알림", "autotrader doctor가 보낸 알림입니다. 아무 조치도 필요하지 않습니다."),
    "en": ("🩺 Test alert", "Sent by autotrader doctor. There is nothing to do."),
}


async def chats(settings: Settings, session: aiohttp.ClientSession) -> list[Finding]:
    """That Telegram knows the token, and the bot both chats."""
    token = settings.telegram_token.get_secret_value().strip()
    if not settings.telegram_enabled:
        return [skipped("telegram", "TELEGRAM_ENABLED=false: nobody is told anything")]
    if not token:
        return [fault("telegram", "TELEGRAM_TOKEN is missing; get one from @BotFather, or set TELEGRAM_ENABLED=false")]
    api = BotApi(session, settings)
    try:
        reply = await api.call("getMe")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return [fault("telegram", why(error, "TELEGRAM_BASE_URL"))]
    # 404: a token that is not even shaped like one
    if reply.status in (401, 404):
        return [fault("telegram", f"refuses TELEGRAM_TOKEN ({reply.status}); copy it anew from @BotFather")]
    if not reply.ok:
        said = reply.description or "no Bot API"
        return [fault("telegram", f"answers {reply.status}: {said}; check TELEGRAM_BASE_URL")]
    found = [ok("telegram", f"the token is that of @{reply.result.get('username')}")]
    wanted = {"TELEGRAM_CHAT_ID": settings.telegram_chat_id}
    if settings.error_reporting_chat_id:
        wanted["ERROR_REPORTING_CHAT_ID"] = settings.error_reporting_chat_id
    for setting, chat in wanted.items():
        found.append(await _chat(api, setting, chat))
    return found


async def _chat(api: BotApi, setting: str, chat: str) -> Finding:
    try:
        reply = await api.call("getChat", {"chat_id": chat})
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return fault(setting, why(error, "TELEGRAM_BASE_URL"))
    if reply.ok:
        return ok(setting, f"the bot knows this {reply.result.get('type', 'chat')} chat")
    return fault(
        setting,
        f"Telegram says {reply.status} {reply.description!r}; correct {setting}, and write to the bot or add it to "
        "that group first (autotrader telegram test says more)",
    )


async def alert(settings: Settings, patience: float = ALERT_SECONDS) -> Finding:
    """Record an alert for the error chat, as any process would, and wait for so many seconds until the notifier has
    delivered it."""
    if not settings.telegram_enabled:
        return skipped("test alert", "TELEGRAM_ENABLED=false")
    run = uuid.uuid4().hex[:12]
    title, text = TEXTS[settings.notify_language]
    message = titled(title, datetime.now(UTC)).add(f"{text}\n").add(run, "code").message(Priority.HIGH, Chat.ERROR)
    client = open_redis(settings.redis_url)
    started = time.monotonic()
    try:
        recorded = await Ledger(client).record(
            Alert(f"doctor-{run}", kind="error", message=message, at=datetime.now(UTC), window_seconds=60)
        )
        if recorded is not Recorded.NEW:
            return fault("test alert", "was not recorded, because Redis does not answer; see the line on redis")
        alert_id = str(await client.get(f"{PREFIX}open:doctor-{run}"))
        while time.monotonic() - started < patience:
            if sent := str(await client.hget(f"{PREFIX}rec:{alert_id}", "msg") or ""):
                seconds = time.monotonic() - started
                return ok("test alert", f"{run} is in the error chat as message {sent}, {seconds:.1f} s later")
            await asyncio.sleep(0.1)
    except (RedisError, OSError) as error:
        return fault("test alert", f"Redis stopped to answer ({type(error).__name__})")
    finally:
        await client.aclose()
    return fault(
        "test alert",
        f"waits in the queue after {patience:g} s; is the notifier running? (autotrader notifier) Its log says whether "
        "Telegram refuses the chat (ERROR_REPORTING_CHAT_ID, or else TELEGRAM_CHAT_ID) or cannot be reached; "
        "`autotrader telegram test` tries each",
    )
