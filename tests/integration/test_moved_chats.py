"""A chat that moves, is lost, or refuses the bot: said once and clearly, and everything is told somewhere, or kept."""

from __future__ import annotations

import logging

import pytest
from notifying import ERROR_CHAT, TRADE_CHAT, alert, made_settings, running, texts, until, until_it
from redis.asyncio import Redis

from notifications import notifier, routes
from notifications.ledger import Ledger
from notifications.message import Chat, Priority
from notifications.moved import MovedChats
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from storage import moved_chats
from storage.direct import DatabaseUnavailable

GROUP, SUPERGROUP = -456, -1000000000456
AWAY = "postgresql+asyncpg://nobody@127.0.0.1:1/none"


pytestmark = pytest.mark.usefixtures("own_spool")


class Usable:
    """The gauge of the chats, read back."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def set(self, value: float, attributes: dict[str, str]) -> None:
        self.values[attributes["chat"]] = value


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> Usable:
    gauge = Usable()
    for module in (routes, notifier):
        monkeypatch.setattr(module, "telegram_usable", gauge)
    return gauge


def lines(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


async def test_a_group_that_became_a_supergroup_is_followed_at_once_and_told_once(
    redis: Redis,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    emptied_database_url: str,
) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "migrate", "chat_id": str(GROUP)})
    settings = made_settings(
        redis_server.url, sandbox, error_reporting_chat_id=str(GROUP), database_url=emptied_database_url
    )
    ledger = Ledger(redis)
    async with running(settings):
        for name in ("one", "two"):
            await ledger.record(alert(name))
        await until(lambda: len(texts(sandbox, SUPERGROUP)) == 3)
        # stored without waiting for anything to be sent
        await until_it(lambda: moved_chats.known(emptied_database_url))
    told = texts(sandbox, SUPERGROUP)
    assert {"text of one", "text of two"} < set(told)
    [moved] = [text for text in told if text.startswith("🚚 ")]
    assert f"ERROR_REPORTING_CHAT_ID={SUPERGROUP}" in moved
    assert lines(caplog, "has moved to") == [
        f"the error chat has moved to {SUPERGROUP}: set ERROR_REPORTING_CHAT_ID to it"
    ]
    assert await moved_chats.known(emptied_database_url) == {str(GROUP): str(SUPERGROUP)}


async def test_where_a_chat_moved_to_is_known_after_a_restart_without_what_redis_had(
    redis: Redis,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    emptied_database_url: str,
) -> None:
    await moved_chats.remember(emptied_database_url, {str(GROUP): "-1", "-1": str(SUPERGROUP)})
    settings = made_settings(
        redis_server.url,
        sandbox,
        telegram_chat_id=str(GROUP),
        error_reporting_chat_id="",
        database_url=emptied_database_url,
    )
    async with running(settings):
        ledger = Ledger(redis)
        await ledger.record(alert("one"))
        await until(lambda: texts(sandbox, SUPERGROUP))

        async def known_to_others() -> bool:
            return await ledger.moved_chat("-1") == str(SUPERGROUP)

        await until_it(known_to_others)
    assert texts(sandbox, SUPERGROUP) == ["text of one"]
    assert not texts(sandbox, GROUP)
    assert lines(caplog, "has moved to") == [
        f"the chat of TELEGRAM_CHAT_ID has moved to {SUPERGROUP}: set TELEGRAM_CHAT_ID to it"
    ]


async def test_one_group_for_everything_is_one_move(redis: Redis, redis_server: LocalRedis, sandbox: Sandbox) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "migrate", "chat_id": str(GROUP)})
    settings = made_settings(redis_server.url, sandbox, telegram_chat_id=str(GROUP), error_reporting_chat_id="")
    ledger = Ledger(redis)
    async with running(settings):
        await ledger.record(alert("one"))
        await ledger.record(alert("two", chat=Chat.TRADE))
        await until(lambda: len(texts(sandbox, SUPERGROUP)) == 3)
    assert [text for text in texts(sandbox, SUPERGROUP) if f"TELEGRAM_CHAT_ID={SUPERGROUP}" in text]


async def test_a_move_is_kept_while_postgresql_is_away_and_stored_when_it_is_back(
    redis: Redis, emptied_database_url: str
) -> None:
    ledger = Ledger(redis)
    first = MovedChats(ledger, AWAY)
    first.note(str(GROUP), str(SUPERGROUP))
    assert first.now_at(str(GROUP)) == str(SUPERGROUP)
    await first.look()
    with pytest.raises(DatabaseUnavailable):
        await moved_chats.known(AWAY)
    second = MovedChats(ledger, emptied_database_url)
    await second.read({"TELEGRAM_CHAT_ID": str(GROUP)})
    assert second.now_at(str(GROUP)) == str(SUPERGROUP)
    await second.look()
    assert await moved_chats.known(emptied_database_url) == {str(GROUP): str(SUPERGROUP)}


async def test_a_move_is_kept_while_redis_is_away(emptied_database_url: str) -> None:
    nowhere = Redis.from_url("redis://127.0.0.1:1/0")
    chats = MovedChats(Ledger(nowhere), emptied_database_url)
    chats.note(str(GROUP), str(SUPERGROUP))
    await chats.look()
    assert await moved_chats.known(emptied_database_url) == {str(GROUP): str(SUPERGROUP)}
    await nowhere.aclose()


def test_chats_that_moved_in_a_circle_end_nowhere_else() -> None:
    chats = MovedChats(Ledger(Redis()), AWAY)
    for before, after in (("a", "b"), ("b", "c"), ("c", "a")):
        chats.note(before, after)
    assert chats.now_at("a") == "a"
    assert chats.now_at("b") == "a"


@pytest.mark.parametrize(
    ("variant", "says"), [("kicked", "bot was kicked"), ("blocked", "bot was blocked"), ("not_found", "Chat not found")]
)
async def test_a_chat_that_cannot_be_used_is_one_line_at_the_start(
    redis: Redis,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    usable: Usable,
    variant: str,
    says: str,
) -> None:
    sandbox.faults.order({"service": "telegram", "kind": "refuse", "variant": variant, "chat_id": str(ERROR_CHAT)})
    async with running(made_settings(redis_server.url, sandbox)):
        await until(lambda: lines(caplog, "cannot be used"))
        assert usable.values == {"trade": 1, "error": 0}
        await Ledger(redis).record(alert("f"))
        await until(lambda: texts(sandbox, TRADE_CHAT))
    [line] = lines(caplog, "cannot be used")
    assert says in line, line
    assert "check ERROR_REPORTING_CHAT_ID" in line
    assert "text of f" in texts(sandbox, TRADE_CHAT)[0]


async def test_a_chat_that_can_be_used_again_is_seen_before_anything_is_to_be_told(
    redis: Redis,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    usable: Usable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routes, "RECHECK_SECONDS", 0.05)
    kicked = {"service": "telegram", "kind": "refuse", "variant": "kicked", "chat_id": str(ERROR_CHAT)}
    fault = sandbox.faults.order(kicked)
    async with running(made_settings(redis_server.url, sandbox)):
        await until(lambda: usable.values == {"trade": 1, "error": 0})
        sandbox.faults.clear(fault.id)
        await until(lambda: usable.values == {"trade": 1, "error": 1})
    assert sandbox.telegram.messages() == []


async def test_a_bot_that_is_removed_in_the_middle_tells_in_the_other_chat_and_comes_back(
    redis: Redis,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    usable: Usable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "notifications")
    monkeypatch.setattr("notifications.sender.CHAT_RETRY_SECONDS", 0.5)
    ledger = Ledger(redis)
    async with running(made_settings(redis_server.url, sandbox)):
        await ledger.record(alert("before"))
        await until(lambda: texts(sandbox, ERROR_CHAT))
        kicked = {"service": "telegram", "kind": "refuse", "variant": "kicked", "chat_id": str(ERROR_CHAT)}
        fault = sandbox.faults.order(kicked)
        await ledger.record(alert("during"))
        await until(lambda: texts(sandbox, TRADE_CHAT))
        assert usable.values == {"trade": 1, "error": 0}
        sandbox.faults.clear(fault.id)

        async def told_in_its_own_chat() -> bool:
            await ledger.record(alert(f"after {len(sandbox.requests.listed())}"))
            return len(texts(sandbox, ERROR_CHAT)) > 1

        await until_it(told_in_its_own_chat)
        # the chat has it before the notifier hears that it has
        await until(lambda: usable.values == {"trade": 1, "error": 1})
    assert len(lines(caplog, "cannot be used")) == 1
    assert len(lines(caplog, "can be used again")) == 1


async def test_a_token_that_is_revoked_in_the_middle_is_one_line_and_loses_nothing(
    redis: Redis,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    usable: Usable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("notifications.sender.TOKEN_RETRY_SECONDS", 0.2)
    ledger = Ledger(redis)
    async with running(made_settings(redis_server.url, sandbox)):
        await ledger.record(alert("before"))
        await until(lambda: texts(sandbox, ERROR_CHAT))
        revoked = sandbox.faults.order({"service": "telegram", "kind": "refuse", "variant": "unauthorized"})
        await ledger.record(alert("during"))
        await ledger.record(alert("urgent", priority=Priority.CRITICAL))
        await until(lambda: revoked.hits > 3)
        assert usable.values == {"trade": 0, "error": 0}
        sandbox.faults.clear(revoked.id)
        await until(lambda: len(texts(sandbox, ERROR_CHAT)) == 3)
        await until(lambda: usable.values["error"] == 1)
    [line] = lines(caplog, "refuses the token")
    assert "get a new one from @BotFather, set it, restart the notifier" in line
    assert "1000000001:" not in caplog.text
