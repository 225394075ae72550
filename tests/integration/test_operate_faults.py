"""Why a question has no answer: every place that says so, brought about for real, in Korean and in English."""

from __future__ import annotations

import ast
import re
import socket
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from celery.backends.redis import RedisBackend
from house import settings

import operate
from operate import CannotAnswer, fault_words
from sandbox.local import LocalPostgres, LocalRedis
from sandbox.server import Sandbox
from settings import Settings
from storage.faults import SENTENCES
from tasks import analysis
from workers import errors as venue_errors

FOLDER = Path(operate.__file__).parent
HANGUL = re.compile("[가-힣]{2}")
LIVE = {"trading_mode": "live", "upbit_access_key": "a" * 40, "upbit_secret_key": "s" * 40}
BTC = "KRW-BTC"

Question = Callable[[Settings], Awaitable[object]]


def places() -> set[tuple[str, int]]:
    """File and line of every `raise CannotAnswer` of the package."""
    return {
        (path.name, node.lineno)
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        if isinstance(node.exc.func, ast.Name) and node.exc.func.id == "CannotAnswer"
    }


@pytest.fixture
def nowhere() -> str:
    """An address at which nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
def asked(
    emptied_database_url: str,
    postgres_server: LocalPostgres,
    redis_server: LocalRedis,
    sandbox: Sandbox,
    nowhere: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Mapping[str, tuple[Question, Mapping[str, Any]]]:
    """What cannot be answered: the question, and the settings with which it cannot."""
    backend = RedisBackend(app=analysis.app, url=redis_server.url)
    monkeypatch.setattr(analysis.analyze_and_trade, "_backend", backend, raising=False)

    async def publish(market: str, symbol: str, run_id: uuid.UUID) -> None:
        """A worker that fails at once."""
        backend.store_result(analysis.task_id_of(run_id, symbol), ValueError("no such symbol"), "FAILURE")

    monkeypatch.setattr(analysis, "publish", publish)
    empty = postgres_server.create_database(f"empty_{uuid.uuid4().hex}")
    bad_strategy = settings(tmp_path, {"all": {"levels": "many"}}).strategy_file
    no_redis = {"redis_url": f"redis://{nowhere}/0"}
    no_database = {"database_url": f"postgresql+asyncpg://somebody@{nowhere}/none"}
    venue = {"upbit_base_url": f"http://{nowhere}", **LIVE}
    return {
        "hours": (lambda its: operate.pause(its, "upbit", -1, "", "test"), {}),
        "days": (lambda its: operate.show_pnl(its, 0), {}),
        "paper": (lambda its: operate.arm_market(its, "kis", "8h"), {}),
        "duration": (lambda its: operate.arm_market(its, "upbit", "soon"), LIVE),
        "arming length": (lambda its: operate.arm_market(its, "upbit", "30d"), LIVE),
        "no id": (lambda its: operate.explain(its, "nonsense"), {}),
        "no analysis": (lambda its: operate.explain(its, str(uuid.UUID(int=0))), {}),
        "no symbol": (lambda its: operate.set_trading_state(its, "halted", "upbit", "KRW-NONE", "test", 0), {}),
        "strategy": (operate.show_locks, {"strategy_file": bad_strategy}),
        "no result": (lambda its: operate.analyze_now(its, "upbit", BTC, 0), {}),
        "task failed": (lambda its: operate.analyze_now(its, "upbit", BTC, 30), {}),
        "redis, analysis": (lambda its: operate.analyze_now(its, "upbit", BTC, 0), no_redis),
        "redis, models": (lambda its: operate.show_models(its, clear=False), no_redis),
        "redis, sent alerts": (lambda its: operate.show_sent_alerts(its, 5, 0), no_redis),
        "database away": (operate.show_status, no_database),
        "database not migrated": (operate.show_status, {"database_url": empty}),
        "dead letters": (lambda its: operate.show_dead_alerts(its, 5, seen=False), no_database),
        "dead letters not migrated": (
            lambda its: operate.show_dead_alerts(its, 5, seen=False),
            {"database_url": empty},
        ),
        "venue": (operate.show_positions, venue),
        "not armed": (lambda its: operate.request_flatten(its, "upbit", "test"), LIVE),
        "no such lock": (lambda its: operate.unlock(its, "nothing", "test"), {}),
        "no such lock, redis away": (lambda its: operate.unlock(its, "nothing", "test"), no_redis),
        "a lock of no person": (lambda its: operate.unlock(its, "arming-upbit", "test"), LIVE),
    }


async def test_every_refusal_is_korean_by_default_and_english_where_that_is_asked_for(
    asked: Mapping[str, tuple[Question, Mapping[str, Any]]],
    emptied_database_url: str,
    redis_server: LocalRedis,
    tmp_path: Path,
) -> None:
    seen: set[tuple[str, int]] = set()
    for name, (question, changes) in asked.items():
        for language in ("ko", "en"):
            given = {"database_url": emptied_database_url, "redis_url": redis_server.url, "upbit_symbols": [BTC]}
            file = {} if "strategy_file" in changes else {"strategy_file": settings(tmp_path, {}).strategy_file}
            its = Settings(_env_file=None, notify_language=language, **(given | file | dict(changes)))  # type: ignore[call-arg]
            with pytest.raises(CannotAnswer) as refused:
                await question(its)
            said = str(refused.value)
            assert bool(HANGUL.search(said)) is (language == "ko"), (name, said)
            assert "\n" not in said, name
            assert "{" not in said, name
            frames = [frame for frame in traceback.extract_tb(refused.tb) if Path(frame.filename).parent == FOLDER]
            seen |= {(Path(frame.filename).name, frame.lineno or 0) for frame in frames}
    assert places() <= seen, places() - seen


async def test_a_list_that_lacks_a_part_says_so_in_its_language(
    emptied_database_url: str, nowhere: str, tmp_path: Path
) -> None:
    for language, part in (("ko", "Redis에 연결할 수 없습니다"), ("en", "is not reachable")):
        its = settings(
            tmp_path,
            {},
            database_url=emptied_database_url,
            redis_url=f"redis://{nowhere}/0",
            notify_language=language,
        )
        assert part in await operate.show_locks(its)
        assert part in await operate.show_status(its)


def test_every_fault_of_the_database_and_every_error_of_a_venue_has_its_words() -> None:
    named = {
        name
        for name, one in vars(venue_errors).items()
        if isinstance(one, type) and issubclass(one, venue_errors.VenueError)
    }
    for words in (fault_words.KO, fault_words.EN):
        assert words.databases.keys() == SENTENCES.keys()
        assert words.venues.keys() == named
    for name, sentence in SENTENCES.items():
        assert re.findall(r"{(\w+)}", sentence) == re.findall(r"{(\w+)}", fault_words.KO.databases[name])
