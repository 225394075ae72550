"""The desk as a browser sees it: its pages over a real database and Redis, through the whole application."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url, text

from api.application import create_app, routes_of
from api.auth import read_tokens
from api.desk import paths
from api.desk.page import POLICY
from api.desk.routes import desk_routes
from api.desk.sessions import PLAIN_COOKIE, SECURE_COOKIE
from api.resources import open_resources
from notifications.alert import Alert, Claim, read_payload
from notifications.ledger import Ledger
from notifications.message import Chat, Message, Priority
from notifications.mutes import Mutes
from notifications.sent import entry
from sandbox.local import LocalRedis
from sandbox.local.server import free_port
from settings import Settings
from storage import sightings, trading_states
from storage.redis import open_redis
from trading.state import State
from trading.types import Candle, Instrument

READ, OPERATE = "read-token-of-the-tests", "operate-token-of-the-tests"
HOSTILE = "<script>alert('x')</script>\"'&"
SHOWN_HOSTILE = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"
SYMBOL = "KRW-<i>X</i>"
RUNS = 30


def key(number: int) -> str:
    return str(uuid.UUID(int=number))


# half an hour apart until now: of each run a symbol that was bought, one that failed, and one that still runs
SEED = """
    SET session_replication_role = replica;
    INSERT INTO runs (id, market, slot, task_id, status, trace_id, opened_at, finished_at)
        SELECT lpad(to_hex(n), 32, '0')::uuid, CASE WHEN n % 3 = 0 THEN 'kis' ELSE 'upbit' END, at, 't',
            CASE WHEN n = 1 THEN 'published' ELSE 'finished' END, 'trace' || n, at, CASE WHEN n > 1 THEN at END
        FROM generate_series(1, {runs}) n, LATERAL (SELECT now() - n * interval '30 minutes' AS at) t;
    INSERT INTO run_symbols (run_id, symbol, state, outcome, finished_at)
        SELECT id, '{symbol}', 'done', 'order_filled', slot FROM runs;
    INSERT INTO run_symbols (run_id, symbol, state, error, finished_at)
        SELECT id, 'KRW-ETH', 'failed', '{hostile}', slot FROM runs;
    INSERT INTO run_symbols (run_id, symbol) SELECT id, 'KRW-SOL' FROM runs WHERE status = 'published';
    INSERT INTO analyses (id, run_id, market, symbol, decision, confidence, reasons, appropriate_buy_min,
            appropriate_buy_max, appropriate_sell_min, appropriate_sell_max, buy_hope_min, buy_hope_max,
            sell_target_min, sell_target_max, price, model, indicators, at, created_at, rejected_by, trace_id)
        SELECT id, id, market, '{symbol}', CASE WHEN market = 'upbit' THEN 'buy' ELSE 'hold' END, 70,
            ARRAY['{hostile}', '거래량이 평균의 2.1배입니다'], 95, 99, 104, 108, 90, 93, 112, 118, 100, '{hostile}',
            '{{"rsi": 61.2, "<b>": 2, "sma_200": null}}', slot, slot, '{hostile}', 'trace' FROM runs;
    INSERT INTO orders (id, client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency,
            state, filled_quantity, reason, created_at, updated_at)
        SELECT id, 'o' || id, id, id, market, '{symbol}', 'buy', 10, 98, 'KRW',
            CASE WHEN trace_id = 'trace1' THEN 'accepted' ELSE 'filled' END,
            CASE WHEN trace_id = 'trace1' THEN 0 ELSE 10 END, '{hostile}', slot, slot FROM runs;
    INSERT INTO order_events (order_id, from_state, to_state, payload, at)
        SELECT id, 'planned', 'sending', '{{"word": "{json}", "nested": {{"{json}": 1}}}}', slot FROM runs;
    INSERT INTO fills SELECT market, 't' || id, id, 10, 98, 0.1, slot FROM runs WHERE status = 'finished';
    INSERT INTO paper_accounts VALUES ('upbit', 'KRW', 900000, 1000000), ('kis', 'KRW', 1000000, 1000000);
    INSERT INTO paper_positions VALUES ('upbit', '{symbol}', 100, 9800);
    INSERT INTO portfolio_snapshots (run_id, market, currency, cash, positions_value, at)
        SELECT id, market, 'KRW', 900000, 10000 + extract(epoch FROM slot)::int % 977, slot FROM runs;
    INSERT INTO llm_calls (run_id, market, symbol, model, key, outcome, seconds, input_tokens, output_tokens, cost,
            prompt_version, prompt, reply, error)
        SELECT id, market, '{symbol}', 'gemini', 'k', 'ok', 1.5, 1000, 200, 0.001, 1, '{hostile}</pre>', '{hostile}', ''
        FROM runs;
    INSERT INTO dead_letters VALUES ('d1', now(), 'f', 'error', '{hostile}', 5, 3, now(), now(), '{hostile}', NULL);
"""


@pytest.fixture
async def seeded(emptied_database_url: str) -> str:
    url = make_url(emptied_database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    quoted = {"symbol": SYMBOL, "hostile": HOSTILE.replace("'", "''")}
    await connection.execute(SEED.format(runs=RUNS, json="<img src=x onerror=alert(1)>", **quoted))
    await connection.close()
    return emptied_database_url


@pytest.fixture
def reported() -> list[tuple[Exception, str]]:
    return []


def settings_of(database_url: str, redis_url: str, tmp_path: Path, **more: Any) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        database_url=database_url,
        api_read_token=READ,
        api_operate_token=OPERATE,
        alert_spool_dir=str(tmp_path),
        **{"api_requests_per_minute": 10_000, "upbit_symbols": "KRW-BTC", **more},
    )


@pytest.fixture
async def app(
    seeded: str, redis_server: LocalRedis, tmp_path: Path, reported: list[tuple[Exception, str]]
) -> AsyncIterator[FastAPI]:
    settings = settings_of(seeded, redis_server.url, tmp_path)
    async with open_resources(settings) as resources:
        await resources.redis.flushdb()
        yield create_app(resources, read_tokens(settings), lambda error, where: reported.append((error, where)))


def browser(app: FastAPI, scheme: str = "http") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"{scheme}://desk")


@asynccontextmanager
async def signed_in(app: FastAPI, token: str) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(app) as client:
        answer = await client.post(paths.LOGIN, data={"token": token})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield client


class Reading(HTMLParser):
    """The tags of a page, and the hidden fields of its forms."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.fields: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        found = dict(attrs)
        if tag == "input" and found.get("type") == "hidden":
            self.fields[str(found["name"])] = str(found["value"])


async def csrf_of(client: httpx.AsyncClient) -> str:
    return Reading((await client.get("/desk/halt")).text).fields["csrf"]


def everywhere() -> list[str]:
    """A path of every page that only reads."""
    return [route.path.replace("{id:uuid}", key(2)) for route in desk_routes() if "GET" in (route.methods or ())
            and route.path not in paths.OPEN]  # fmt: skip


async def test_every_page_asks_for_the_token_and_goes_where_one_wanted_to(app: FastAPI) -> None:
    async with browser(app) as client:
        for path in [*everywhere(), "/desk/nothing", "/desk/"]:
            refused = await client.get(path)
            assert refused.status_code == 401, path
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert "token" in refused.text
            assert "KRW" not in refused.text
        asked = await client.get("/desk/orders?market=kis")
        assert Reading(asked.text).fields == {"next": "/desk/orders?market=kis"}
        for wrong in ({}, {"token": ""}, {"token": "wrong" * 5}, {"token": "\ud800".encode("utf-8", "surrogatepass")}):
            assert (await client.post(paths.LOGIN, data=wrong)).status_code in {400, 401}
        assert not client.cookies
        let_in = await client.post(paths.LOGIN, data={"token": READ, "next": "/desk/orders?market=kis"})
        assert let_in.headers["location"] == "/desk/orders?market=kis"
        assert (await client.get("/desk/orders?market=kis")).status_code == 200
        for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example", "/api/orders", paths.LOGOUT):
            let_in = await client.post(paths.LOGIN, data={"token": READ, "next": elsewhere})
            assert let_in.headers["location"] == "/", elsewhere
        # the cookie opens pages only, and the API's header opens them too
        assert (await client.get("/api/orders")).status_code == 401
    async with browser(app) as client:
        assert (await client.get("/", headers={"Authorization": f"Bearer {READ}"})).status_code == 200


@pytest.mark.parametrize("language", ["ko", "en"])
async def test_every_page_escapes_what_it_shows_and_lets_nothing_run(
    seeded: str, redis_server: LocalRedis, tmp_path: Path, language: str
) -> None:
    settings = settings_of(seeded, redis_server.url, tmp_path, notify_language=language)
    async with open_resources(settings) as resources:
        await resources.redis.flushdb()
        instrument = Instrument("upbit", SYMBOL, HOSTILE, "crypto", "KRW", Decimal(1), Decimal(5000), Decimal("0.0005"))
        start = datetime.now(UTC) - timedelta(days=99)
        days = [
            Candle(start + timedelta(days=n), *map(Decimal, (100, 103, 97, 98 + n % 5, 10 + n))) for n in range(100)
        ]
        await sightings.keep(resources.redis, instrument, days)
        await Ledger(resources.redis).record(
            Alert("f1", "error", Message(HOSTILE, (), Priority.HIGH, Chat.ERROR), datetime.now(UTC))
        )
        await Mutes(resources.redis).set(HOSTILE, 600)
        app = create_app(resources, read_tokens(settings), lambda error, where: None)
        await trading_states.write(resources.engine, _halted(HOSTILE), by=HOSTILE)
        async with signed_in(app, OPERATE) as client:
            shown = 0
            for path in everywhere():
                page = await client.get(path)
                assert page.status_code == 200, (path, page.text)
                assert page.headers["content-security-policy"] == POLICY
                assert page.headers["cache-control"] == "no-store"
                assert f'<html lang="{language}">' in page.text
                found = Reading(page.text)
                assert not {"script", "i", "img src=x", "style", "iframe", "object"} & set(found.tags), path
                assert not [name for name, _ in found.attributes if name == "style" or name.startswith("on")], path
                assert HOSTILE not in page.text
                shown += page.text.count(SHOWN_HOSTILE)
            assert shown > 20
            assert "script-src" not in POLICY
            assert "default-src 'none'" in POLICY


def _halted(reason: str) -> Any:
    from trading.state import TradingState

    return TradingState(State.HALTED, reason, None, "upbit", SYMBOL)


async def test_the_pages_say_what_is_stored(app: FastAPI) -> None:
    async with signed_in(app, READ) as client:
        home = (await client.get("/")).text
        for text in ("모의 투자", "거래 정상", "업비트 워커", "하루 동안 신호 없음", "910,", "조회 전용"):
            assert text in home, text
        orders = (await client.get("/desk/orders")).text
        assert "진행 중인 주문" in orders
        assert f"전체 {RUNS}건" in orders
        # 25 to a page
        assert orders.count('href="/desk/orders/') == 1 + 25
        assert (await client.get("/desk/orders?page=2")).text.count('href="/desk/orders/') == 5
        detail = (await client.get(f"/desk/analyses/{key(2)}")).text
        for text in ("61.20", "1,000 토큰", "매수 적정", "95", "trace", "전송 중", "98"):
            assert text in detail, text
        order = (await client.get(f"/desk/orders/{key(2)}")).text
        assert "onerror" in order
        assert "&lt;img" in order
        positions = (await client.get("/desk/positions")).text
        assert "900,000원" in positions
        assert "+200원" in positions
        assert "30초마다" not in positions
        assert "체결가" in order
        run = await client.get(f"/desk/runs/{key(1)}")
        assert 'http-equiv="refresh"' in run.text
        assert 'http-equiv="refresh"' not in (await client.get(f"/desk/runs/{key(2)}")).text
        alerts = (await client.get("/desk/alerts")).text
        assert "포기한 알림" in alerts
        assert "×3" in alerts
        for market in ("upbit", "kis"):
            listed = (await client.get(f"/desk/analyses?market={market}")).text
            assert ("매수</span>" in listed) is (market == "upbit")


async def test_what_is_not_there_or_not_valid_has_a_page_too(
    app: FastAPI, reported: list[tuple[Exception, str]]
) -> None:
    async with signed_in(app, READ) as client:
        for path, status in (
            ("/desk/nothing", 404),
            (f"/desk/analyses/{key(999)}", 404),
            (f"/desk/orders/{key(999)}", 404),
            (f"/desk/runs/{key(999)}", 404),
            ("/desk/runs/nonsense", 404),
            ("/desk/orders?page=0", 422),
            ("/desk/orders?page=99999999999999999999", 422),
            ("/desk/orders?page=²", 422),
            ("/desk/orders?market=mars", 422),
            ("/desk/analyses?decision=maybe", 422),
            ("/desk/analyses?symbol=%00", 200),
            ("/desk/orders?page=900", 200),
            ("/?days=9e9", 200),
        ):
            answer = await client.get(path)
            assert answer.status_code == status, path
            assert answer.headers["content-type"].startswith("text/html")
        assert (await client.request("DELETE", "/")).status_code == 403
    assert not reported


async def test_the_cookie_is_signed_and_ends_with_the_session(app: FastAPI) -> None:
    async with browser(app, "https") as client:
        answer = await client.post(paths.LOGIN, data={"token": OPERATE})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"{SECURE_COOKIE}=")
        assert {part.strip().lower() for part in cookie.split(";")[1:]} >= {
            "httponly", "secure", "samesite=strict", "path=/"
        }  # fmt: skip
        assert OPERATE not in cookie
        assert (await client.get("/")).status_code == 200
    async with signed_in(app, OPERATE) as client:
        value = client.cookies[PLAIN_COOKIE]
        assert "secure" not in str(client.cookies.jar).lower()
        left = await client.post(paths.LOGOUT, data={"csrf": await csrf_of(client)})
        assert (left.status_code, left.headers["location"]) == (303, paths.LOGIN)
        client.cookies.clear()
        copied = {"Cookie": f"{PLAIN_COOKIE}={value}"}
        assert (await client.get("/", headers=copied)).status_code == 401
        forged = {"Cookie": f"{PLAIN_COOKIE}={value.replace('operate', 'read')}"}
        assert (await client.get("/", headers=forged)).status_code == 401
    # a reader may leave as well
    async with signed_in(app, READ) as client:
        field = Reading((await client.get("/")).text).fields["csrf"]
        assert (await client.post(paths.LOGOUT, data={"csrf": field})).status_code == 303


async def test_a_reader_sees_no_buttons_and_changes_nothing(app: FastAPI) -> None:
    async with signed_in(app, READ) as client:
        home = (await client.get("/")).text
        assert "/desk/halt" not in home
        assert "/desk/analyze" not in home
        assert "/desk/analyze" not in (await client.get(f"/desk/analyses/{key(2)}")).text
        field = Reading(home).fields["csrf"]
        for path in ("/desk/halt", "/desk/resume", "/desk/analyze"):
            refused = await client.post(path, data={"csrf": field, "reason": "x", "confirmed": "yes"})
            assert refused.status_code == 403, path
        assert (await client.get("/desk/halt")).status_code == 403
    assert await trading_states.in_force(app.state.resources.engine, datetime.now(UTC)) == []


async def test_a_halt_is_asked_twice_and_taken_back(app: FastAPI) -> None:
    engine = app.state.resources.engine
    async with signed_in(app, OPERATE) as client:
        fields = {
            "csrf": await csrf_of(client),
            "market": "upbit",
            "symbol": "KRW-BTC",
            "reason": "점검 <b>",
            "hours": "2",
        }
        asked = await client.post("/desk/halt", data={**fields, "reduce": "true"})
        assert asked.status_code == 200
        assert "정말 중지할까요" in asked.text
        assert await trading_states.in_force(engine, datetime.now(UTC)) == []
        hidden = Reading(asked.text).fields
        assert hidden["confirmed"] == "yes"
        done = await client.post("/desk/halt", data=hidden)
        assert done.headers["location"] == "/?done=halt"
        [written] = await trading_states.written(engine, datetime.now(UTC))
        state = written.state
        assert (state.state, state.market, state.symbol, state.reason) == (
            State.REDUCING, "upbit", "KRW-BTC", "점검 <b>"
        )  # fmt: skip
        assert written.by == "desk"
        assert state.until is not None
        assert timedelta(hours=1.9) < state.until - datetime.now(UTC) <= timedelta(hours=2)
        home = (await client.get("/?done=halt")).text
        assert "거래를 중지했습니다" in home
        assert "점검 &lt;b&gt;" in home
        back = await client.post("/desk/resume", data={"csrf": fields["csrf"], "market": "upbit", "symbol": "KRW-BTC"})
        assert back.headers["location"] == "/?done=resume"
        assert await trading_states.in_force(engine, datetime.now(UTC)) == []
        for wrong in ({"reason": ""}, {"hours": "nan"}, {"hours": "-1"}, {"market": "mars"}, {"reason": "two\nlines"}):
            refused = await client.post("/desk/halt", data={**fields, **wrong, "confirmed": "yes"})
            assert refused.status_code == 422, wrong
        lonely = await client.post("/desk/halt", data={"csrf": fields["csrf"], "symbol": "KRW-BTC", "reason": "x"})
        assert lonely.status_code == 422


async def test_a_form_from_elsewhere_does_nothing(app: FastAPI) -> None:
    async with signed_in(app, OPERATE) as client, signed_in(app, OPERATE) as other:
        field = await csrf_of(client)
        fields = {"reason": "x", "confirmed": "yes"}
        for data in (
            fields,
            {**fields, "csrf": ""},
            {**fields, "csrf": "0" * 64},
            {**fields, "csrf": await csrf_of(other)},
        ):
            assert (await client.post("/desk/halt", data=data)).status_code == 403
        across = {"Sec-Fetch-Site": "cross-site"}
        assert (await client.post("/desk/halt", data={**fields, "csrf": field}, headers=across)).status_code == 403
        # nor does a token in a header stand for a form
        client.cookies.clear()
        bearer = {"Authorization": f"Bearer {OPERATE}"}
        assert (await client.post("/desk/halt", data=fields, headers=bearer)).status_code == 403
        assert (await client.post("/desk/logout", data=fields)).status_code == 401
    assert await trading_states.in_force(app.state.resources.engine, datetime.now(UTC)) == []


async def test_analyse_now_opens_a_run_and_shows_it(app: FastAPI, redis_server: LocalRedis, monkeypatch: Any) -> None:
    published: list[tuple[str, str]] = []

    async def publish(market: str, symbol: str, run_id: uuid.UUID) -> None:
        # the broker of the settings is not the one of this test
        published.append((market, symbol))

    monkeypatch.setattr("tasks.analysis.publish", publish)
    async with signed_in(app, OPERATE) as client:
        field = await csrf_of(client)
        started = await client.post("/desk/analyze", data={"csrf": field, "market": "upbit", "symbol": "krw-btc"})
        assert started.status_code == 303
        assert re.fullmatch(r"/desk/runs/[0-9a-f-]{36}", started.headers["location"])
        assert published == [("upbit", "KRW-BTC")]
        run = (await client.get(started.headers["location"])).text
        assert "진행 중" in run
        assert "KRW-BTC" in run
        for market, symbol, status in (("kis", "삼송전자", 404), ("mars", "X", 422), ("upbit", "", 422)):
            refused = await client.post("/desk/analyze", data={"csrf": field, "market": market, "symbol": symbol})
            assert refused.status_code == status
        near = await client.post("/desk/analyze", data={"csrf": field, "market": "kis", "symbol": "삼성전쟈"})
        assert "005930" in near.text


async def test_tokens_cannot_be_guessed_at_the_form(seeded: str, redis_server: LocalRedis, tmp_path: Path) -> None:
    settings = settings_of(seeded, redis_server.url, tmp_path, api_requests_per_minute=5)
    async with open_resources(settings) as resources:
        await resources.redis.flushdb()
        app = create_app(resources, read_tokens(settings), lambda error, where: None)
        async with browser(app) as client:
            answers = [await client.post(paths.LOGIN, data={"token": f"wrong-{n}" * 4}) for n in range(12)]
        statuses = [answer.status_code for answer in answers]
        # the minute of the clock may end in between
        assert set(statuses) == {401, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) > 0
        assert "너무 많습니다" in refused.text


async def test_without_redis_trading_is_still_halted(seeded: str, tmp_path: Path) -> None:
    settings = settings_of(seeded, f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    async with open_resources(settings) as resources:
        app = create_app(resources, read_tokens(settings), lambda error, where: None)
        async with signed_in(app, OPERATE) as client:
            home = await client.get("/")
            assert home.status_code == 200
            assert "Redis가 응답하지 않습니다" in home.text
            alerts = await client.get("/desk/alerts")
            assert alerts.status_code == 503
            assert "포기한 알림" in alerts.text
            fields = {"csrf": await csrf_of(client), "reason": "점검", "confirmed": "yes"}
            assert (await client.post("/desk/halt", data=fields)).status_code == 303
        [state] = await trading_states.in_force(resources.engine, datetime.now(UTC))
        assert state.state is State.HALTED


async def test_without_the_database_one_line_says_so(redis_server: LocalRedis, tmp_path: Path) -> None:
    nowhere = f"postgresql+asyncpg://nobody:hunter2hunter2@127.0.0.1:{free_port()}/none"
    settings = settings_of(nowhere, redis_server.url, tmp_path)
    async with open_resources(settings) as resources:
        app = create_app(resources, read_tokens(settings), lambda error, where: None)
        async with signed_in(app, OPERATE) as client:
            for path in everywhere():
                page = await client.get(path)
                if path in {"/desk/halt", "/desk/analyze"}:
                    continue
                assert page.status_code == 503, path
                assert "데이터베이스" in page.text
                assert "Traceback" not in page.text
                assert "hunter2" not in page.text


async def test_a_secret_in_an_error_is_not_shown(app: FastAPI) -> None:
    engine = app.state.resources.engine
    await trading_states.write(engine, _halted(f"the venue said {OPERATE}"), by="test")
    async with signed_in(app, OPERATE) as client:
        home = (await client.get("/")).text
        assert "the venue said [redacted]" in home
        assert OPERATE not in home


async def test_the_desk_is_in_no_document_of_the_api(app: FastAPI) -> None:
    assert not [path for path in app.openapi()["paths"] if paths.belongs(path)]
    assert {route.path for route in desk_routes()} <= {route.path for route in routes_of(app)}
    async with browser(app) as client:
        for path, kind in ((paths.STYLE, "text/css"), (paths.ICON, "image/svg+xml")):
            served = await client.get(path)
            assert served.headers["content-type"].startswith(kind)
            assert "max-age" in served.headers["cache-control"]


@pytest.mark.parametrize("host", ["a?", "a/b", "[", "evil.example/desk/halt#", "a@b:99999"])
async def test_no_host_header_leads_elsewhere_or_is_a_fault(
    app: FastAPI, reported: list[tuple[Exception, str]], host: str
) -> None:
    async with browser(app) as client:
        for path in (paths.STYLE, paths.ICON, paths.LOGIN):
            assert (await client.get(path, headers={"Host": host})).status_code == 200, path
        asked = await client.get("/desk/runs?market=kis", headers={"Host": host})
        assert (asked.status_code, Reading(asked.text).fields) == (401, {"next": "/desk/runs?market=kis"})
        let_in = await client.post(paths.LOGIN, data={"token": READ}, headers={"Host": host})
        assert (let_in.status_code, let_in.headers["location"]) == (303, "/")
        assert "evil" not in (await client.get(f"/desk/runs/{key(1)}", headers={"Host": host})).text
    assert reported == []


async def test_whoever_gave_no_token_does_not_learn_whether_money_is_real(app: FastAPI) -> None:
    async with browser(app) as client:
        for path in (paths.LOGIN, "/", "/desk/nothing"):
            assert "모의 투자" not in (await client.get(path)).text
    async with signed_in(app, READ) as client:
        assert "모의 투자" in (await client.get("/desk/runs")).text


async def test_no_part_of_a_secret_is_shown_where_a_text_is_cut_or_is_json(seeded: str, app: FastAPI) -> None:
    secret = app.state.resources.settings.api_operate_token.get_secret_value()
    async with app.state.resources.engine.begin() as connection:
        # what is written once stays as it is
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        cut = {"cut": "x" * 290 + secret}
        await connection.execute(text("UPDATE run_symbols SET error = :cut WHERE state = 'failed'"), cut)
        nested = {"nested": json.dumps({"answer": {"said": [secret]}})}
        await connection.execute(text("UPDATE order_events SET payload = cast(:nested AS jsonb)"), nested)
    async with signed_in(app, READ) as client:
        home = (await client.get("/desk/alerts")).text
        assert "x" * 290 in home
        assert f"{'x' * 290}{secret[:5]}" not in home
        order = (await client.get(f"/desk/orders/{key(2)}")).text
        assert "said" in order
        assert secret not in order


async def test_alerts_that_were_sent_are_shown_by_pages(app: FastAPI, redis_server: LocalRedis) -> None:
    redis = open_redis(redis_server.url)
    ledger = Ledger(redis)
    for number in range(25):
        message = Message(f"alert {number}: {HOSTILE}", (), Priority.HIGH, Chat.ERROR)
        await ledger.record(Alert(f"sent{number}", "error", message, datetime.now(UTC), once=True))
        claim = await ledger.claim([Chat.ERROR])
        assert isinstance(claim, Claim)
        await ledger.ack(claim, number, "", entry(claim, read_payload(claim.payload), "sent", ()))
    await redis.aclose()
    async with signed_in(app, READ) as client:
        first, second = [(await client.get(f"/desk/alerts?page={page}")).text for page in (1, 2)]
        assert "전체 25건" in first
        assert f"alert 24: {SHOWN_HOSTILE}" in first
        assert "?page=2" in first
        assert "alert 4:" not in first
        assert "alert 4:" in second
        assert "alert 5:" not in second
        assert (await client.get("/desk/alerts?page=9")).status_code == 200


async def test_candles_are_kept_as_they_were_seen(redis_server: LocalRedis) -> None:
    redis = open_redis(redis_server.url)
    await redis.flushdb()
    start = datetime(2026, 8, 1, tzinfo=UTC)
    days = [Candle(start + timedelta(days=n), *map(Decimal, ("1.5", "2", "1", "1E-8", "0.1"))) for n in range(100)]
    instrument = Instrument("kis", "005930", "삼성전자", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal(0))
    await sightings.keep(redis, instrument, days)
    await redis.set("autotrader:candles:kis:000660", json.dumps({"of": "another version"}))
    wanted = [("kis", "005930"), ("kis", "000660"), ("upbit", "KRW-BTC")]
    found = await sightings.candles_of(redis, wanted)
    assert list(found) == [("kis", "005930")]
    assert found["kis", "005930"].candles == tuple(days[-sightings.CANDLES_KEPT :])
    assert await sightings.names_of(redis, wanted) == {("kis", "005930"): "삼성전자"}
    assert 0 < await redis.ttl("autotrader:candles:kis:005930") <= sightings.TTL_SECONDS
    await redis.aclose()
