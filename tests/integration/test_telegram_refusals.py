"""What Telegram refuses for a reason of the chat, of a picture or of the way to it costs no alert."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from notifying import ERROR_CHAT, TOKEN, TRADE_CHAT, alert, made_settings, png, running, texts, until, until_it
from redis.asyncio import Redis

from notifications.alert import Claim
from notifications.ledger import PREFIX, Ledger
from notifications.message import Chat, Message, Priority
from notifications.sender import Delivered, Picture, Postponed, TelegramSender
from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from sandbox.server import Sandbox
from settings import Settings

MESSAGE = Message("text", (), Priority.HIGH, Chat.ERROR)

pytestmark = pytest.mark.usefixtures("own_spool")


@pytest.fixture
def settings(redis: Redis, redis_server: LocalRedis, sandbox: Sandbox) -> Settings:
    return made_settings(redis_server.url, sandbox)


class Refusing:
    """A Bot API that refuses the methods in `refused` with a 400 of these words, and takes the others."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        self.asked.append(method)
        if words := self.refused.get(method):
            refusal = {"ok": False, "error_code": 400, "description": f"Bad Request: {words}"}
            return web.json_response(refusal, status=400)
        message = {"message_id": len(self.asked), "date": 1, "chat": {"id": ERROR_CHAT, "type": "group"}}
        return web.json_response({"ok": True, "result": message})


@pytest.fixture
async def telegram() -> AsyncIterator[Refusing]:
    telegram, app = Refusing(), web.Application()
    app.router.add_post("/bot{token}/{method}", telegram.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    telegram.url = f"http://{host}:{port}"
    yield telegram
    await runner.cleanup()


@pytest.fixture
async def sender(telegram: Refusing) -> AsyncIterator[TelegramSender]:
    sender = TelegramSender(TOKEN, base_url=telegram.url)
    yield sender
    await sender.close()


async def test_a_night_without_the_internet_ends_no_alert() -> None:
    sender = TelegramSender(TOKEN, base_url=f"http://127.0.0.1:{free_port()}")
    # after so many failures in a row
    sender._unreachable = 1_023
    for _ in range(3):
        outcome = await sender.deliver(MESSAGE, str(ERROR_CHAT), fallback="plain")
        assert isinstance(outcome, Postponed)
        assert (outcome.trouble, outcome.seconds) == ("unreachable", 30)
    await sender.close()


@pytest.mark.parametrize(
    "words",
    [
        "need administrator rights in the channel chat",
        "TOPIC_CLOSED",
        "CHAT_RESTRICTED",
        "CHAT_ADMIN_REQUIRED",
        "not enough rights to send text messages to the chat",
    ],
)
async def test_a_chat_that_refuses_is_asked_once_and_not_in_every_form(
    telegram: Refusing, sender: TelegramSender, words: str
) -> None:
    telegram.refused = {"sendMessage": words}
    outcome = await sender.deliver(MESSAGE, str(ERROR_CHAT), fallback="plain")
    assert isinstance(outcome, Postponed)
    assert outcome.trouble == "chat_unusable"
    assert telegram.asked == ["sendMessage"]


@pytest.mark.parametrize(
    "words",
    [
        "not enough rights to send photos to the chat",
        "CHAT_SEND_PHOTOS_FORBIDDEN",
        "not enough rights to send media messages to the chat",
        "IMAGE_PROCESS_FAILED",
    ],
)
async def test_a_chat_that_takes_no_pictures_gets_the_text(
    telegram: Refusing, sender: TelegramSender, words: str
) -> None:
    telegram.refused = {"sendPhoto": words}
    picture = Picture(png())
    outcome = await sender.deliver(MESSAGE, str(ERROR_CHAT), fallback="plain", picture=picture)
    assert outcome == Delivered(2, "sent")
    assert telegram.asked == ["sendPhoto", "sendMessage"]
    assert picture.sent, "it is not tried again"


@pytest.mark.parametrize("fault", ["error", "html"])
async def test_a_chat_that_refuses_every_form_is_left_for_the_other_one(
    settings: Settings, redis: Redis, sandbox: Sandbox, fault: str
) -> None:
    sandbox.faults.order(
        {"service": "telegram", "kind": fault, "status": 400, "chat_id": str(ERROR_CHAT), "path": "/sendMessage"}
    )
    async with running(settings):
        for priority in (Priority.HIGH, Priority.CRITICAL):
            await Ledger(redis).record(alert(f"f{priority}", priority=priority))
        await until(lambda: len(texts(sandbox, TRADE_CHAT)) == 2)
    assert await redis.zcard(PREFIX + "dead") == 0


async def test_while_no_chat_takes_any_form_everything_waits(
    settings: Settings, redis: Redis, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.sender.CHAT_RETRY_SECONDS", 0.05)
    monkeypatch.setattr("notifications.delivery.RETRY_SECONDS", 0.01)
    fault = sandbox.faults.order({"service": "telegram", "kind": "error", "status": 400, "path": "/sendMessage"})
    async with running(settings):
        await Ledger(redis).record(alert("urgent", priority=Priority.CRITICAL))
        # three forms in two chats, more often than an alert has attempts
        await until(lambda: fault.hits > 3 * 2 * 7)
        sandbox.faults.clear(fault.id)
        await until(lambda: texts(sandbox, ERROR_CHAT) + texts(sandbox, TRADE_CHAT))
    assert await redis.zcard(PREFIX + "dead") == 0


async def diverted(ledger: Ledger, sandbox: Sandbox) -> None:
    """Have one alert told in the trade chat, and its own chat usable again."""
    refusal: dict[str, Any] = {"service": "telegram", "kind": "error", "status": 403, "path": "/sendMessage"}
    sandbox.faults.order(refusal | {"chat_id": str(ERROR_CHAT), "count": 1})
    await ledger.record(alert("f"))
    await until(lambda: texts(sandbox, TRADE_CHAT))


async def test_an_edit_that_the_other_chat_refuses_does_not_close_its_own(
    settings: Settings, redis: Redis, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.sender.CHAT_RETRY_SECONDS", 0.3)
    ledger = Ledger(redis)
    async with running(settings):
        await diverted(ledger, sandbox)
        monkeypatch.setattr("notifications.sender.CHAT_RETRY_SECONDS", 60)
        refusal = {"service": "telegram", "kind": "error", "status": 403, "path": "/editMessageText"}
        fault = sandbox.faults.order(refusal | {"chat_id": str(TRADE_CHAT)})
        await ledger.record(alert("f"))
        await until(lambda: fault.hits)

        async def put_back() -> bool:
            return await redis.hget(f"{PREFIX}rec:f#1", "tok") == b""

        await until_it(put_back)
        assert not await redis.exists(f"{PREFIX}pause:error", f"{PREFIX}pause:trade")
        assert await redis.hget(f"{PREFIX}rec:f#1", "att") == b"1", "it is not tried for ever"
        await ledger.record(alert("g"))
        await until(lambda: texts(sandbox, ERROR_CHAT) == ["text of g"])


async def test_what_a_digest_told_elsewhere_is_told_in_its_own_chat_when_it_happens_again(
    settings: Settings, redis: Redis, sandbox: Sandbox
) -> None:
    ledger = Ledger(redis)
    await ledger.record(alert("f", window=0.1))
    claim = await ledger.claim((Chat.ERROR,))
    assert isinstance(claim, Claim)
    assert await ledger.ack(claim, None, via=str(TRADE_CHAT))
    await ledger.record(alert("f", window=0.1))
    async with running(settings):
        await until(lambda: texts(sandbox, ERROR_CHAT))
    assert not texts(sandbox, TRADE_CHAT)
