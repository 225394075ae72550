"""The Bot API stand-in, spoken to by the real python-telegram-bot."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from telegram import Bot, BotCommand, InlineKeyboardButton, InlineKeyboardMarkup, Message, MessageEntity, Update
from telegram import ReplyKeyboardMarkup as ReplyKeyboard
from telegram.constants import ChatAction
from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter
from telegram.ext import Application, CommandHandler

from sandbox.server import Sandbox
from sandbox.telegram.errors import ApiError
from sandbox.telegram.pace import Pace

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


def _keyboard(*rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"inline_keyboard": list(rows)}


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(width)) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _jpeg(width: int, height: int) -> bytes:
    return (
        b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
        + b"\xff\xc0\x00\x11\x08"
        + struct.pack(">HH", height, width)
        + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9"
    )


async def _call(sandbox: Sandbox, method: str, **body: Any) -> tuple[int, dict[str, Any]]:
    url = f"{sandbox.url}/telegram/bot{TOKEN}/{method}"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as reply:
        return reply.status, await reply.json()


async def test_a_pressed_button_comes_as_a_query_that_is_answered_once(sandbox: Sandbox, bot: Bot) -> None:
    rows = [
        [InlineKeyboardButton("중지", callback_data="halt:upbit"), InlineKeyboardButton("문서", url="https://a.b/")]
    ]
    sent = await bot.send_message(7, "x", reply_markup=InlineKeyboardMarkup(rows))
    async with aiohttp.ClientSession(sandbox.url) as http:
        body = {"chat_id": 7, "message_id": sent.message_id, "label": "중지", "user_id": 99}
        async with http.post("/control/telegram/presses", json=body) as reply:
            assert reply.status == 201
        for label, why in (("시작", "no button"), ("문서", "opens")):
            async with http.post("/control/telegram/presses", json=body | {"label": label}) as reply:
                assert reply.status == 404
                assert why in (await reply.json())["error"]
    (update,) = await bot.get_updates(timeout=5)
    query = update.callback_query
    assert query is not None
    assert isinstance(query.message, Message)
    assert (query.data, query.from_user.id, query.message.message_id) == ("halt:upbit", 99, sent.message_id)

    assert await query.answer("정말요?", show_alert=True)
    assert sandbox.telegram.presses.listed()[0]["answer"]["text"] == "정말요?"
    for spent in (query.id, "123"):
        with pytest.raises(BadRequest, match=r"(?i)query is too old"):
            await bot.answer_callback_query(spent)
    sandbox.telegram.presses.seconds = 0
    late = sandbox.telegram.press(7, sent.message_id, "중지")["callback_query"]["id"]
    with pytest.raises(BadRequest, match=r"(?i)query is too old"):
        await bot.answer_callback_query(late)


async def test_buttons_can_be_taken_away_and_only_inline_ones_edited(sandbox: Sandbox, bot: Bot) -> None:
    buttons = InlineKeyboardMarkup([[InlineKeyboardButton("예", callback_data="y")]])
    sent = await bot.send_message(7, "x", reply_markup=buttons)
    without = await bot.edit_message_reply_markup(7, sent.message_id)
    assert isinstance(without, Message)
    assert without.reply_markup is None
    with pytest.raises(BadRequest, match=r"(?i)message is not modified"):
        await bot.edit_message_reply_markup(7, sent.message_id)
    await bot.edit_message_reply_markup(7, sent.message_id, reply_markup=buttons)
    edited = await bot.edit_message_text("y", chat_id=7, message_id=sent.message_id)
    assert isinstance(edited, Message)
    # as at the real server: an edit that names no buttons takes them away
    assert edited.reply_markup is None

    typed = await bot.send_message(7, "x", reply_markup=ReplyKeyboard([["/status"]]))
    with pytest.raises(BadRequest, match=r"(?i)message can't be edited"):
        await bot.edit_message_text("y", chat_id=7, message_id=typed.message_id)


@pytest.mark.parametrize(
    ("markup", "why"),
    [
        (_keyboard([{"text": "a"}]), "text buttons are unallowed"),
        (_keyboard([{"text": "a", "callback_data": "a", "url": "https://a.b"}]), "exactly one action"),
        (_keyboard([{"text": "a", "callback_data": ""}]), "BUTTON_DATA_INVALID"),
        (_keyboard([{"text": "a", "callback_data": "가" * 22}]), "BUTTON_DATA_INVALID"),
        (_keyboard([{"text": " ", "callback_data": "a"}]), "BUTTON_TEXT_INVALID"),
        (_keyboard([{"text": "a", "url": "file:///etc/passwd"}]), "unsupported URL protocol"),
        (_keyboard([{"text": "a", "url": "http://localhost:5555/"}]), "Wrong HTTP URL"),
        ({"inline_keyboard": [{"text": "a"}]}, "Array of Arrays"),
        ({"keys": []}, "can't parse reply keyboard"),
        ("[", "can't parse reply_markup"),
    ],
)
async def test_buttons_that_telegram_would_refuse_are_refused(sandbox: Sandbox, markup: Any, why: str) -> None:
    status, reply = await _call(sandbox, "sendMessage", chat_id=7, text="x", reply_markup=markup)
    assert status == 400
    assert why.lower() in reply["description"].lower()


async def test_a_button_may_carry_64_bytes(sandbox: Sandbox) -> None:
    markup = _keyboard([{"text": "a", "callback_data": "x" * 64}])
    assert (await _call(sandbox, "sendMessage", chat_id=7, text="x", reply_markup=markup))[0] == 200


async def test_a_photo_is_kept_shown_and_sent_again_by_its_id(sandbox: Sandbox, bot: Bot) -> None:
    picture = _png(600, 300)
    sent = await bot.send_photo(7, picture, caption="수익 📈", caption_entities=[MessageEntity("bold", 0, 2)])
    assert (sent.caption, sent.text) == ("수익 📈", None)
    assert [(size.width, size.height) for size in sent.photo] == [(90, 45), (320, 160), (600, 300)]
    again = await bot.send_photo(7, sent.photo[-1].file_id)
    assert again.photo[-1].file_unique_id == sent.photo[-1].file_unique_id
    assert (await bot.send_photo(7, _jpeg(64, 32))).photo[-1].width == 64

    edited = await bot.edit_message_caption(7, sent.message_id, caption="수익 📉")
    assert isinstance(edited, Message)
    assert edited.caption == "수익 📉"
    with pytest.raises(BadRequest, match=r"(?i)there is no text in the message to edit"):
        await bot.edit_message_text("x", chat_id=7, message_id=sent.message_id)
    text = await bot.send_message(7, "x")
    with pytest.raises(BadRequest, match=r"(?i)there is no caption in the message to edit"):
        await bot.edit_message_caption(7, text.message_id, caption="x")

    kept = (await _kept(sandbox))[0]
    assert (kept["text"], kept["original_text"]) == ("수익 📉", "수익 📈")
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{sandbox.url}/control/telegram/photos/{kept['photo']}") as reply:
            assert (reply.content_type, await reply.read()) == ("image/png", picture)
        async with http.get(f"{sandbox.url}/chats") as reply:
            assert f"/control/telegram/photos/{kept['photo']}" in await reply.text()


async def test_pictures_that_telegram_would_refuse_are_refused(sandbox: Sandbox, bot: Bot) -> None:
    with pytest.raises(BadRequest, match=r"(?i)message caption is too long"):
        await bot.send_photo(7, _png(10, 10), caption="📈" * 513)
    await bot.send_photo(7, _png(10, 10), caption="📈" * 512)
    for content, why in (
        (b"GIF89a" + bytes(60), "IMAGE_PROCESS_FAILED"),
        (_png(300, 10), "PHOTO_INVALID_DIMENSIONS"),
        (_png(9_999, 2_000)[:60], "PHOTO_INVALID_DIMENSIONS"),
    ):
        with pytest.raises(BadRequest, match=f"(?i){why}"):
            await bot.send_photo(7, content)
    with pytest.raises(NetworkError, match="Request Entity Too Large"):
        await bot.send_photo(7, _png(10, 10) + bytes(10 * 1024 * 1024))
    with pytest.raises(BadRequest, match=r"(?i)wrong remote file identifier"):
        await bot.send_photo(7, "AgACnothing")
    status, reply = await _call(sandbox, "sendPhoto", chat_id=7)
    assert (status, reply["description"]) == (400, "Bad Request: there is no photo in the request")


async def test_a_second_poll_ends_the_first_with_a_conflict(sandbox: Sandbox) -> None:
    async with Bot(TOKEN, base_url=f"{sandbox.url}/telegram/bot") as first:
        waiting = asyncio.create_task(first.get_updates(timeout=30))
        for _ in range(500):
            if any(request["path"] == "/bot***/getUpdates" for request in sandbox.requests.listed()):
                break
            await asyncio.sleep(0.01)
        async with Bot(TOKEN, base_url=f"{sandbox.url}/telegram/bot") as second:
            assert await second.get_updates(timeout=0) == ()
        with pytest.raises(Conflict, match="terminated by other getUpdates request"):
            await waiting


async def test_a_bot_gets_only_the_updates_it_asked_for(sandbox: Sandbox, bot: Bot) -> None:
    await bot.get_updates(timeout=0, allowed_updates=["callback_query"])
    sandbox.telegram.receive(7, "unheard")
    assert await bot.get_updates(timeout=0) == ()
    await bot.get_updates(timeout=0, allowed_updates=[])
    for text in ("one", "two", "three"):
        sandbox.telegram.receive(-5, text, user_id=99, username="kim")
    heard = await bot.get_updates(timeout=5)
    assert [update.message.text for update in heard if update.message] == ["one", "two", "three"]
    message = heard[0].message
    assert message is not None
    assert message.from_user is not None
    assert (message.chat.id, message.from_user.id, message.from_user.username) == (-5, 99, "kim")
    assert [update.update_id for update in await bot.get_updates(-1)] == [heard[-1].update_id]
    assert await bot.get_updates(heard[-1].update_id + 1) == ()


async def test_the_list_of_commands_is_kept_by_language(sandbox: Sandbox, bot: Bot) -> None:
    await bot.set_my_commands([BotCommand("status", "show the state")])
    await bot.set_my_commands([BotCommand("status", "상태 보기")], language_code="ko")
    assert [command.description for command in await bot.get_my_commands()] == ["show the state"]
    assert [command.description for command in await bot.get_my_commands(language_code="ko")] == ["상태 보기"]
    assert [listed["language_code"] for listed in sandbox.telegram.commands.listed()] == ["", "ko"]
    await bot.delete_my_commands()
    assert await bot.get_my_commands() == ()
    for name, description, why in (("Status", "x", "COMMAND_INVALID"), ("status", " ", "DESCRIPTION_INVALID")):
        status, reply = await _call(sandbox, "setMyCommands", commands=[{"command": name, "description": description}])
        assert status == 400
        assert why in reply["description"]


async def test_a_reply_names_a_message_that_there_is(sandbox: Sandbox, bot: Bot) -> None:
    asked = sandbox.telegram.receive(7, "?")["message"]["message_id"]
    await bot.send_message(7, "!", reply_to_message_id=asked)
    with pytest.raises(BadRequest, match=r"(?i)message to be replied not found"):
        await bot.send_message(7, "!", reply_to_message_id=asked + 100)
    assert [message["reply_to"] for message in await _kept(sandbox)] == [asked]


async def test_a_chat_that_cannot_be_used_is_refused_by_its_own_words(sandbox: Sandbox, bot: Bot) -> None:
    for variant, kind, why in (
        ("not_found", BadRequest, "Chat not found"),
        ("no_rights", BadRequest, "(?i)not enough rights"),
        ("blocked", Forbidden, "bot was blocked by the user"),
        ("kicked", Forbidden, "bot was kicked from the group chat"),
        ("not_member", Forbidden, "bot is not a member of the group chat"),
        ("deleted", Forbidden, "the group chat was deleted"),
    ):
        sandbox.faults.order({"service": "telegram", "kind": "refuse", "variant": variant, "chat_id": "-5"})
        with pytest.raises(kind, match=why):
            await bot.send_message(-5, "x")
        await bot.send_message(7, "x")
        sandbox.faults.clear()


async def test_only_what_is_formatted_is_refused_for_its_formatting(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "refuse", "variant": "parse"})
    with pytest.raises(BadRequest, match=r"(?i)can't parse entities"):
        await bot.send_message(7, "x", entities=[MessageEntity("bold", 0, 1)])
    await bot.send_message(7, "x")
    assert sandbox.faults.listed()[0]["hits"] == 1


async def test_what_goes_to_a_group_that_became_a_supergroup_is_told_the_new_id(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "migrate", "chat_id": "-5"})
    for _ in range(2):
        with pytest.raises(ChatMigrated) as moved:
            await bot.send_message(-5, "x")
    assert str(moved.value.new_chat_id).startswith("-100")
    sent = await bot.send_message(moved.value.new_chat_id, "x")
    assert sent.chat.type == "supergroup"


async def test_the_pace_can_be_enforced(sandbox: Sandbox, bot: Bot) -> None:
    body = {"on": True}
    async with aiohttp.ClientSession() as http, http.put(f"{sandbox.url}/control/telegram/pace", json=body) as reply:
        assert reply.status == 200
    tries = [bot.send_message(7, "x") for _ in range(50)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert any(isinstance(result, RetryAfter) for result in results)
    with pytest.raises(RetryAfter):
        await bot.send_message(7, "x")
    sandbox.telegram.keep_pace(False)
    await bot.send_message(7, "x")


def test_the_pace_is_one_a_second_after_a_burst_20_a_minute_to_a_group_and_30_a_second_in_all() -> None:
    now = [1000.0]

    def sent(pace: Pace, chat: int, tries: int = 100) -> int:
        for count in range(tries):
            try:
                pace.take(chat)
            except ApiError:
                return count
        return tries

    pace = Pace(lambda: now[0])
    assert sent(pace, 7) == 5
    with pytest.raises(ApiError) as refused:
        pace.take(7)
    assert refused.value.parameters == {"retry_after": 1}
    # refused until that is over, then one more each second
    now[0] += 0.5
    assert sent(pace, 7) == 0
    now[0] += 1.5
    assert sent(pace, 7) == 2
    group = 0
    for _ in range(59):
        group += sent(pace, -5, 1)
        now[0] += 1.0
    assert group == 20
    now[0] += 60
    assert sum(sent(pace, chat, 2) for chat in range(100, 120)) == 30
