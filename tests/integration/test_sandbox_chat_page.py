"""The chats of the Bot API stand-in as a page: what a person would see, and nothing of it run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup

from sandbox.server import Sandbox
from sandbox.telegram.markings import marked


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[Bot]:
    bot = Bot("4711:sandbox-token", base_url=f"{sandbox.url}/telegram/bot")
    await bot.initialize()
    yield bot
    await bot.shutdown()


def test_formatting_is_shown_and_markup_in_a_text_stays_text() -> None:
    bold = {"type": "bold", "offset": 0, "length": 9}
    code = {"type": "code", "offset": 3, "length": 2}
    late = {"type": "italic", "offset": 8, "length": 3}
    assert (
        marked("📈 <b>&x'>y", [bold, code, late]) == "<b>📈 <code>&lt;b</code>&gt;&amp;x<i>&#x27;</i></b><i>&gt;y</i>"
    )
    bad = {"type": "text_link", "offset": 0, "length": 1, "url": "javascript:alert(1)"}
    assert marked("x", [bad]) == "x"
    assert marked("x", [bad | {"url": "https://a.b/?'<"}]) == "<a rel='noreferrer' href='https://a.b/?&#x27;&lt;'>x</a>"


async def test_the_page_shows_both_chats_with_buttons_edits_and_what_people_wrote(sandbox: Sandbox, bot: Bot) -> None:
    buttons = InlineKeyboardMarkup([[InlineKeyboardButton("<중지>", callback_data="x")]])
    sent = await bot.send_message(7, "before", reply_markup=buttons)
    await bot.edit_message_text("after", chat_id=7, message_id=sent.message_id, reply_markup=buttons)
    sandbox.telegram.receive(-5, "<script>alert(1)</script>", 99, "<kim>")
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/chats") as reply:
        page = await reply.text()
        assert "script-src 'nonce-" in reply.headers["Content-Security-Policy"]
    assert page.index("after") < page.index("&lt;script&gt;alert(1)")
    assert "before" not in page
    assert "edited " in page
    assert "&lt;중지&gt;</button>" in page
    assert "&lt;kim&gt;" in page
    assert "<script>alert" not in page


async def test_a_chat_is_called_what_it_was_named_and_its_page_survives_odd_names(sandbox: Sandbox, bot: Bot) -> None:
    control = f"{sandbox.url}/control/telegram/titles"
    async with aiohttp.ClientSession() as http:
        for chat_id, title in ((7, "자동매매"), (8, "<b>오류")):
            await bot.send_message(chat_id, f"of {title}")
            async with http.post(control, json={"chat_id": chat_id, "title": title}) as reply:
                assert reply.status == 200
        for bad in ({}, {"chat_id": "x", "title": ""}, []):
            async with http.post(control, json=bad) as reply:
                assert reply.status == 400
        async with http.delete(f"{sandbox.url}/control/state") as reply:
            assert reply.status == 200
        await bot.send_message(7, "later")
        await bot.send_message(8, "later")
        async with http.get(f"{sandbox.url}/chats") as reply:
            page = await reply.text()
    assert "<b>자동매매</b>" in page
    assert "<b>&lt;b&gt;오류</b>" in page
    assert "Operator" not in page


async def test_the_page_shows_the_chat(sandbox: Sandbox, bot: Bot) -> None:
    await bot.send_message(7, "<b>매수</b> & more")
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/") as reply:
        page = await reply.text()
    assert reply.content_type == "text/html"
    assert "&lt;b&gt;매수&lt;/b&gt; &amp; more" in page
    assert "simulated" in page
