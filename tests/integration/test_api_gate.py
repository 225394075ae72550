"""What every request passes, whatever route it is for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api.application import OPEN_PATHS, create_app, routes_of
from api.auth import read_tokens
from api.desk import paths
from api.gate import LARGEST_BODY_BYTES
from api.rate import RateLimit
from api.resources import open_resources
from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from settings import Settings
from storage.redis import open_redis

READ, OPERATE = "read-token-of-the-tests", "operate-token-of-the-tests"
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def reported() -> list[tuple[Exception, str]]:
    return []


@pytest.fixture
async def app(
    emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path, reported: list[tuple[Exception, str]]
) -> AsyncIterator[FastAPI]:
    settings = Settings(
        _env_file=None,
        redis_url=redis_server.url,
        database_url=emptied_database_url,
        api_read_token=READ,
        api_operate_token=OPERATE,
        api_requests_per_minute=10_000,
        alert_spool_dir=str(tmp_path),
    )
    async with open_resources(settings) as resources:
        await resources.redis.flushdb()
        made = create_app(resources, read_tokens(settings), lambda error, where: reported.append((error, where)))

        @made.get("/api/broken")
        async def broken() -> None:
            raise RuntimeError("the key is hunter2hunter2")

        yield made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_every_route_is_closed_without_a_token_and_every_change_to_a_reader(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    walked = set()
    for route in routes_of(app):
        if paths.belongs(route.path):
            # a browser asks for these: see test_desk.py
            continue
        path = route.path.format(market="upbit", symbol="KRW-BTC", task_id=NOBODY, analysis_id=NOBODY,
                                 order_id=NOBODY, run_id=NOBODY)  # fmt: skip
        for method in route.methods or ():
            if route.path in OPEN_PATHS and method in {"GET", "HEAD"}:
                continue
            walked.add((method, route.path))
            for headers in ({}, bearer("wrong" * 5), {"Authorization": f"Basic {OPERATE}"}):
                refused = await client.request(method, path, headers=headers)
                assert refused.status_code == 401, (method, path)
                assert refused.headers["www-authenticate"].startswith("Bearer")
            if method not in {"GET", "HEAD"}:
                assert (await client.request(method, path, headers=bearer(READ))).status_code == 403, (method, path)
    assert {path for method, path in walked if method == "POST"} == {
        "/api/analyze/{market}/{symbol}", "/api/halt", "/api/resume"
    }  # fmt: skip
    documented = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    assert documented - walked == {("GET", "/healthz"), ("GET", "/readyz")}


async def test_what_does_not_exist_is_closed_too(client: httpx.AsyncClient) -> None:
    for path in ("/", "/api/nothing", "/healthz/", "//healthz", "/openapi.json/.."):
        assert (await client.get(path)).status_code == 401, path
    assert (await client.post("/healthz")).status_code == 401
    missing = await client.get("/api/nothing", headers=bearer(READ))
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    wrong = await client.delete("/api/halt", headers=bearer(OPERATE))
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_a_body_is_bounded_whether_or_not_it_says_its_length(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 1_000
        raise AssertionError("all of it was read")

    headers = {**bearer(OPERATE), "Content-Type": "application/json"}
    for body in (b"x" * (LARGEST_BODY_BYTES + 1), endless()):
        refused = await client.post("/api/halt", content=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
    # nobody reads the body of somebody who may not send one
    assert (await client.post("/api/halt", content=endless())).status_code == 401


async def test_a_request_keeps_its_id_where_that_is_one(client: httpx.AsyncClient) -> None:
    kept = await client.get("/healthz", headers={"X-Request-ID": "job-7.a_B"})
    assert kept.headers["x-request-id"] == "job-7.a_B"
    assert float(kept.headers["x-process-time"]) >= 0
    for other in ("", "a b", "x" * 65, "<script>"):
        made = (await client.get("/healthz", headers={"X-Request-ID": other})).headers["x-request-id"]
        assert len(made) == 32
        assert made != other


async def test_a_failure_is_reported_once_and_its_text_stays_here(
    client: httpx.AsyncClient, reported: list[tuple[Exception, str]]
) -> None:
    failed = await client.get("/api/broken", headers=bearer(READ))
    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "internal"
    assert failed.json()["error"]["request_id"] == failed.headers["x-request-id"]
    assert "hunter2" not in failed.text
    [(error, where)] = reported
    assert isinstance(error, RuntimeError)
    assert where == "GET other"  # added after the templates were read


async def test_text_that_no_database_takes_is_not_valid(
    client: httpx.AsyncClient, reported: list[tuple[Exception, str]]
) -> None:
    for path in (
        "/api/orders?symbol=%00",
        "/analysis-results/?from=2026-01-01T00:00:00",
        "/analysis-results/?from=0001-01-01T00:00:00%2B14:00",
        "/analysis-results/?min_confidence=101",
        "/api/runs?limit=0",
        "/api/runs?limit=1000000",
        "/api/fills?offset=99999999999999999999",
        "/api/tasks/nonsense",
    ):
        refused = await client.get(path, headers=bearer(READ))
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not_valid"), path
        assert refused.json()["error"]["fields"], path
    for reason in ("", "   ", "a\x00b", "two\nlines", "x" * 301, "\ud800"):
        body = '{"reason": "' + "".join(f"\\u{ord(character):04x}" for character in reason) + '"}'
        headers = {**bearer(OPERATE), "Content-Type": "application/json"}
        assert (await client.post("/api/halt", content=body, headers=headers)).status_code == 422, repr(reason)
    assert not reported


async def test_tokens_cannot_be_guessed_at_an_open_path(redis_server: LocalRedis, app: FastAPI) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        for _ in range(3):
            await client.get("/healthz", headers=bearer("wrong" * 5))
            await client.get("/healthz")
    redis = open_redis(redis_server.url)
    assert [await redis.get(key) async for key in redis.scan_iter("autotrader:api:requests:ip:*")] == ["3"]
    await redis.aclose()


async def test_a_token_is_counted_in_redis_for_all_copies_and_starts_anew_each_minute(redis_server: LocalRedis) -> None:
    now = 1_000_000_020.0
    redis = open_redis(redis_server.url)
    await redis.flushdb()
    first, second = (RateLimit(redis, 3, clock=lambda: now) for _ in range(2))
    assert [await first.take("a"), await second.take("a"), await first.take("a")] == [0, 0, 0]
    wait = await second.take("a")
    assert 0 < wait <= 61
    assert await second.take("b") == 0
    now += wait
    assert await second.take("a") == 0
    assert all([0 < await redis.ttl(key) <= 120 async for key in redis.scan_iter("autotrader:api:*")])
    await redis.aclose()


async def test_without_redis_this_process_counts_on_its_own() -> None:
    redis = open_redis(f"redis://127.0.0.1:{free_port()}/0")
    limit = RateLimit(redis, 2, clock=lambda: 1_000_000_020.0)
    assert [bool(await limit.take("a")) for _ in range(3)] == [False, False, True]
    assert await limit.take("b") == 0
    await redis.aclose()
