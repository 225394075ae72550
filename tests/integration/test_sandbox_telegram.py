"""The Bot API stand-in, spoken to by the real python-telegram-bot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from telegram import Bot, Message, MessageEntity, Update
from telegram.constants import ChatAction
from telegram.error import BadRequest, InvalidToken, NetworkError, RetryAfter
from telegram.ext import Application, CommandHandler

from sandbox.server import Sandbox

TOKEN = "4711:sandbox-token"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[Bot]:
    bot = Bot(TOKEN, base_url=f"{sandbox.url}/telegram/bot")
    await bot.initialize()
    yield bot
    await bot.shutdown()


async def _kept(sandbox: Sandbox) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/control/telegram/messages") as reply:
        kept: list[dict[str, Any]] = await reply.json()
        return kept


async def test_a_bot_knows_itself(bot: Bot) -> None:
    assert bot.id == 4711
    assert bot.bot.is_bot


async def test_a_message_is_kept_with_text_entities_chat_and_time(sandbox: Sandbox, bot: Bot) -> None:
    before = time.time()
    entities = [MessageEntity(MessageEntity.BOLD, 0, 2), MessageEntity(MessageEntity.TEXT_LINK, 3, 5, url="http://x/")]
    sent = await bot.send_message(7, "매수 trace 📈", entities=entities, disable_notification=True)

    assert sent.chat.id == 7
    assert sent.text == "매수 trace 📈"
    assert [entity.type for entity in sent.entities] == ["bold", "text_link"]
    (kept,) = await _kept(sandbox)
    assert (kept["chat_id"], kept["text"], kept["message_id"]) == (7, "매수 trace 📈", sent.message_id)
    assert kept["entities"][0] == {"type": "bold", "offset": 0, "length": 2}
    assert before <= kept["at"] <= time.time()
    assert kept["disable_notification"] is True


async def test_an_edit_changes_the_message_and_is_kept(sandbox: Sandbox, bot: Bot) -> None:
    sent = await bot.send_message(-100123, "failed")
    edited = await bot.edit_message_text("failed ×137", chat_id=-100123, message_id=sent.message_id)

    assert isinstance(edited, Message)
    assert edited.text == "failed ×137"
    assert edited.edit_date is not None
    (kept,) = await _kept(sandbox)
    assert (kept["original_text"], kept["text"]) == ("failed", "failed ×137")
    assert [edit["text"] for edit in kept["edits"]] == ["failed ×137"]

    with pytest.raises(BadRequest, match=r"(?i)message is not modified"):
        await bot.edit_message_text("failed ×137", chat_id=-100123, message_id=sent.message_id)
    with pytest.raises(BadRequest, match=r"(?i)message to edit not found"):
        await bot.edit_message_text("x", chat_id=-100123, message_id=999)


async def test_text_may_have_4096_utf16_units(bot: Bot) -> None:
    await bot.send_message(7, "x" * 4096)
    await bot.send_message(7, "📈" * 2048)
    for text in ("x" * 4097, "📈" * 2048 + "x"):
        with pytest.raises(BadRequest, match=r"(?i)message is too long"):
            await bot.send_message(7, text)


async def test_what_telegram_refuses_is_refused(sandbox: Sandbox, bot: Bot) -> None:
    for text in ("", "  \n"):
        with pytest.raises(BadRequest, match=r"(?i)message text is empty"):
            await bot.send_message(7, text)
    with pytest.raises(BadRequest, match=r"(?i)chat not found"):
        await bot.send_message("nobody", "x")
    with pytest.raises(BadRequest, match=r"(?i)ends after the end of the text"):
        await bot.send_message(7, "abc", entities=[MessageEntity("bold", 0, 9)])
    with pytest.raises(BadRequest, match=r"(?i)in a middle of a UTF-16 symbol"):
        await bot.send_message(7, "📈📈", entities=[MessageEntity("bold", 0, 1)])
    assert await _kept(sandbox) == []


async def test_only_the_configured_token_is_accepted() -> None:
    sandbox = Sandbox(telegram_token=TOKEN)
    await sandbox.start()
    try:
        async with Bot(TOKEN, base_url=f"{sandbox.url}/telegram/bot") as bot:
            assert await bot.send_chat_action(7, ChatAction.TYPING)
        with pytest.raises(InvalidToken):
            await Bot("4711:other", base_url=f"{sandbox.url}/telegram/bot").initialize()
        async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/telegram/bot4711:x/getMe") as reply:
            assert reply.status == 401
            assert await reply.json() == {"ok": False, "error_code": 401, "description": "Unauthorized"}
    finally:
        await sandbox.stop()


async def test_json_bodies_are_taken_as_well_as_forms(sandbox: Sandbox) -> None:
    body = {"chat_id": "7", "text": "hi", "entities": [{"type": "bold", "offset": 0, "length": 2}]}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{sandbox.url}/telegram/bot{TOKEN}/sendMessage", json=body) as reply:
            result = (await reply.json())["result"]
        async with http.post(f"{sandbox.url}/telegram/bot{TOKEN}/nonsense") as reply:
            assert reply.status == 404
    assert result["entities"] == body["entities"]
    assert result["chat"] == {"id": 7, "type": "private", "first_name": "Operator"}


async def test_a_long_poll_is_empty_and_lasts_as_asked(bot: Bot) -> None:
    started = time.monotonic()
    assert await bot.get_updates(timeout=1) == ()
    assert 0.9 < time.monotonic() - started < 3


async def test_a_command_written_to_the_bot_reaches_its_handler(sandbox: Sandbox) -> None:
    async def answer(update: Update, _: Any) -> None:
        assert update.message is not None
        await update.message.reply_text("running")

    application = Application.builder().token(TOKEN).base_url(f"{sandbox.url}/telegram/bot").build()
    application.add_handler(CommandHandler("status", answer))
    async with application, aiohttp.ClientSession(sandbox.url) as http:
        await application.start()
        assert application.updater is not None
        await application.updater.start_polling(timeout=1)
        async with http.post("/control/telegram/updates", json={"chat_id": 7, "text": "/status now"}) as reply:
            assert reply.status == 201
        for _ in range(50):
            if await _kept(sandbox):
                break
            await asyncio.sleep(0.05)
        await application.updater.stop()
        await application.stop()
    assert [message["text"] for message in await _kept(sandbox)] == ["running"]


async def test_faults_reach_python_telegram_bot_as_its_own_errors(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "throttle", "retry_after": 37, "count": 1})
    with pytest.raises(RetryAfter) as throttled:
        await bot.send_message(7, "x")
    assert "37" in throttled.value.message
    for kind in ("error", "html", "close"):
        status = {"status": 502} if kind == "html" else {}
        sandbox.faults.order({"service": "telegram", "kind": kind, "count": 1, **status})
        with pytest.raises(NetworkError):
            await bot.send_message(7, "x")
    assert await _kept(sandbox) == []


async def test_the_request_list_never_shows_the_token(sandbox: Sandbox, bot: Bot) -> None:
    await bot.send_message(7, "x")
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/control/requests") as reply:
        text = await reply.text()
    assert "sandbox-token" not in text
    assert "/bot***/sendMessage" in text


async def test_the_page_shows_the_chat(sandbox: Sandbox, bot: Bot) -> None:
    await bot.send_message(7, "<b>매수</b> & more")
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/") as reply:
        page = await reply.text()
    assert reply.content_type == "text/html"
    assert "&lt;b&gt;매수&lt;/b&gt; &amp; more" in page
    assert "simulated" in page
