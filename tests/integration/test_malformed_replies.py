"""Ten thousand malformed replies: what leaves a client is a sound value or an error of ours, and an order is never
sent twice nor called refused.

A case is named by its call and number, and always the same: `SEED` makes them all.
"""

from __future__ import annotations

import asyncio
import random
import re
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

import pytest
from malformed import MalformedVenue, spoil
from pydantic import BaseModel
from redis.asyncio import Redis

from sandbox.client import SandboxControl
from sandbox.local import LocalRedis
from sandbox.server import Sandbox
from sandbox.ticks import best_bid_and_ask
from trading.candles import check
from trading.errors import BadCandles, BadQuote
from trading.ticks import check_quote
from trading.types import Candle, Quote, Side
from workers.errors import Unproven, VenueError
from workers.http import VenueHttp, open_session
from workers.kis.auth import SharedToken
from workers.kis.client import KisClient
from workers.kis.environment import Environment
from workers.kis.market import KisMarket
from workers.kis.trading import AccountNumber, KisTrading
from workers.upbit.auth import Keys
from workers.upbit.client import UpbitClient
from workers.upbit.exchange import UpbitExchange
from workers.upbit.market import UpbitMarket
from workers.upbit.orders import NewOrder, limit
from workers.yfinance.market import YahooMarket

SEED = 20261122
TOTAL = 10_000
LANES = 6
# no reply may hold a caller for longer than its time-out
TIMEOUT_SECONDS = 3.0
HANG_SECONDS = 10.0
SHOWN = 12

BTC, SAMSUNG, APPLE = "KRW-BTC", "005930", "AAPL"
KEY, SECRET, CANO = "key-of-the-test", "secret-key-of-the-test-0123456789abcdef", "81012345"
# the venues' clock: within the Korean session, whatever the time is
NOW = datetime.combine(datetime.now(UTC).date(), time(5), UTC)
LATEST = max(NOW, datetime.now(UTC)) + timedelta(days=2)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# a year that a key, or a day of a calendar, may still be of
AGE_END = datetime(2101, 1, 1, tzinfo=UTC)
# no price, amount or volume that a venue could mean
TOO_MUCH = Decimal(10) ** 20

UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
ODNO = re.compile(r"[0-9]{10}")
MARKET = re.compile(r"[A-Z]{3,4}-[A-Z0-9]{1,20}")
BRANCH = re.compile(r"[0-9]{1,10}")

# what may be true of a reply only if it is what the venue sent
CONTRADICTIONS = ("a key twice", "a row twice, but not equal")

ORDERS = "/uapi/domestic-stock/v1/trading/"
QUOTES = "/uapi/domestic-stock/v1/quotations/"


@dataclass(frozen=True, slots=True)
class Venue:
    """Where a case asks: the base URLs of its lane, what the clients need, and the orders there are."""

    base: str
    http: VenueHttp
    redis: Redis
    case: int
    orders: dict[str, str]

    def upbit(self) -> UpbitMarket:
        return UpbitMarket(self.http, f"{self.base}/upbit")

    def exchange(self) -> UpbitExchange:
        return UpbitExchange(self.http, f"{self.base}/upbit", Keys(KEY, SECRET), order_timeout=TIMEOUT_SECONDS)

    def kis(self) -> KisMarket:
        return KisMarket(self.http, self.redis, f"{self.base}/kis", KEY, SECRET, clock=lambda: NOW)

    def trading(self) -> KisTrading:
        base = f"{self.base}/kis"
        token = SharedToken(self.http, self.redis, base, KEY, SECRET)
        number = AccountNumber(CANO)
        return KisTrading(self.http, token, Environment("real", base), KEY, SECRET, number, clock=lambda: NOW)


Ask: TypeAlias = Callable[[Venue], Awaitable[object]]
Sound: TypeAlias = Callable[[Any], None]


def anything(_: Any) -> None:
    """Nothing more than what holds for every value."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client: the request whose reply is spoilt, the fields it reads, and what a value must be."""

    name: str
    covers: tuple[type, str]
    target: tuple[str, str]
    read: str
    ask: Ask
    sound: Sound = anything
    is_order: bool = False
    latest: datetime = LATEST


async def daily(market: UpbitMarket | KisMarket | YahooMarket, symbol: str) -> list[Candle]:
    candles = await market.candles(symbol, 60)
    check(candles, symbol=symbol, needed=1)
    return candles


async def hourly(market: UpbitMarket | KisMarket | YahooMarket, symbol: str) -> list[Candle]:
    candles = await market.minute_candles(symbol, 60, 1 if isinstance(market, KisMarket) else 24)
    check(candles, symbol=symbol, needed=0)
    return candles


async def quote(market: UpbitMarket | KisMarket | YahooMarket, symbol: str) -> Quote:
    found = await market.quote(symbol)
    check_quote(found)
    assert found.symbol == symbol
    return found


async def token(venue: Venue) -> str:
    # a key of its own, because a token is kept
    keys = (f"key-{venue.case}", SECRET)
    shared = SharedToken(venue.http, venue.redis, f"{venue.base}/kis", *keys, backoff_seconds=5, wait_seconds=0.3)
    return await shared.token()


def printable(text: str) -> None:
    assert text
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


def unique(rows: Iterable[Any], name: str) -> None:
    """No two rows of one name that differ."""
    known: dict[str, Any] = {}
    for row in rows:
        assert known.setdefault(getattr(row, name), row) == row, f"two different {getattr(row, name)}"


def an_order(body: Any) -> None:
    assert MARKET.fullmatch(body.market)
    # an unknown state is no end: the order is asked for again
    assert body.side in ("bid", "ask")
    assert body.ord_type in ("limit", "price", "market", "best")
    unique(body.trades or (), "uuid")
    for trade in body.trades or ():
        assert trade.volume > 0
        assert trade.price > 0


def some_orders(bodies: Any) -> None:
    for body in bodies:
        an_order(body)
        assert body.market == BTC
    unique(bodies, "uuid")


def of_one_market(chance: Any) -> None:
    assert chance.market.id == BTC
    assert chance.market.bid.currency == chance.bid_account.currency == "KRW"
    assert chance.ask_account.currency == "BTC"
    assert max(chance.bid_fee, chance.ask_fee) < 1


def balances(found: Any) -> None:
    rows, _ = found
    unique(rows, "pdno")
    for row in rows:
        assert row.ord_psbl_qty <= row.hldg_qty


def accepted(placed: Any) -> None:
    assert UUID.fullmatch(placed.uuid)


def numbered(ordered: Any) -> None:
    assert ODNO.fullmatch(ordered.ODNO)
    assert int(ordered.ODNO) > 0
    assert BRANCH.fullmatch(ordered.KRX_FWDG_ORD_ORGNO)


def fills(rows: Any) -> None:
    unique(rows, "venue_order_id")
    for row in rows:
        assert row.pdno == SAMSUNG


def resting(rows: Any) -> None:
    unique(rows, "odno")
    for row in rows:
        assert row.psbl_qty <= row.ord_qty


def days(rows: Any) -> None:
    unique(rows, "bass_dt")


def an_upbit_order(volume: str = "0.001") -> NewOrder:
    return limit(BTC, Side.BUY, Decimal(volume), Decimal(100_000_000), "an-order-of-the-test")


def kis_order(venue: Venue, price: int = 50_000, quantity: int = 1) -> Awaitable[object]:
    return venue.trading().order(Side.BUY, SAMSUNG, Decimal(quantity), Decimal(price), "00")


CANDLE = "market candle_date_time_utc opening_price high_price low_price trade_price candle_acc_trade_volume"
ORDER = (
    "uuid market side ord_type state created_at price volume remaining_volume executed_volume paid_fee identifier "
    "trades funds"
)
REFUSAL = "error name message"
OUTPUT = "output output1 output2 rt_cd msg_cd msg1 ctx_area_nk100 ctx_area_fk100 "
KIS_ORDER = OUTPUT + "KRX_FWDG_ORD_ORGNO ODNO ORD_TMD"
CHART = "chart result error timestamp indicators quote open high low close volume meta currency symbol"
PRICED = "chart result error meta currency symbol longName regularMarketPrice regularMarketTime exchangeTimezoneName"
LISTED = OUTPUT + (
    "ord_dt ord_tmd odno orgn_odno sll_buy_dvsn_cd pdno ord_qty ord_unpr tot_ccld_qty tot_ccld_amt avg_prvs rmn_qty "
    "rjct_qty cncl_cfrm_qty cncl_yn"
)

CALLS = (
    Call(
        "upbit-days", (UpbitClient, "candles_days"), ("GET", "/upbit/v1/candles/days"), CANDLE,
        lambda venue: daily(venue.upbit(), BTC),
    ),
    Call(
        "upbit-minutes", (UpbitClient, "candles_minutes"), ("GET", "/upbit/v1/candles/minutes/60"), CANDLE,
        lambda venue: hourly(venue.upbit(), BTC),
    ),
    Call(
        "upbit-ticker", (UpbitClient, "ticker"), ("GET", "/upbit/v1/ticker"), "market trade_price timestamp",
        lambda venue: quote(venue.upbit(), BTC),
    ),
    Call(
        "upbit-tickers", (UpbitClient, "tickers"), ("GET", "/upbit/v1/ticker"), "market trade_price timestamp",
        lambda venue: UpbitClient(venue.http, f"{venue.base}/upbit").tickers([BTC, "KRW-ETH"]),
        lambda rows: unique(rows, "market"),
    ),
    Call(
        "upbit-orderbook", (UpbitClient, "orderbook"), ("GET", "/upbit/v1/orderbook"),
        "market timestamp orderbook_units ask_price bid_price ask_size bid_size",
        lambda venue: quote(venue.upbit(), BTC),
    ),
    Call(
        "upbit-ticks", (UpbitClient, "orderbook_instruments"), ("GET", "/upbit/v1/orderbook/instruments"),
        "market tick_size", lambda venue: quote(venue.upbit(), BTC),
    ),
    Call(
        "upbit-markets", (UpbitClient, "market_all"), ("GET", "/upbit/v1/market/all"), "market korean_name",
        lambda venue: venue.upbit().instrument(BTC),
    ),
    Call(
        "upbit-accounts", (UpbitExchange, "accounts"), ("GET", "/upbit/v1/accounts"),
        "currency balance locked avg_buy_price unit_currency", lambda venue: venue.exchange().accounts(),
        lambda rows: unique(rows, "currency"),
    ),
    Call(
        "upbit-chance", (UpbitExchange, "chance"), ("GET", "/upbit/v1/orders/chance"),
        "bid_fee ask_fee market id bid ask currency min_total max_total bid_types ask_types state bid_account "
        "ask_account balance locked", lambda venue: venue.exchange().chance(BTC), of_one_market,
    ),
    Call(
        "upbit-place", (UpbitExchange, "place"), ("POST", "/upbit/v1/orders"), "uuid",
        lambda venue: venue.exchange().place(an_upbit_order()), accepted, is_order=True,
    ),
    Call(
        "upbit-place-refused", (UpbitExchange, "place"), ("POST", "/upbit/v1/orders"), REFUSAL,
        lambda venue: venue.exchange().place(an_upbit_order("100000")), is_order=True,
    ),
    Call(
        "upbit-test", (UpbitExchange, "test"), ("POST", "/upbit/v1/orders/test"), "uuid",
        lambda venue: venue.exchange().test(an_upbit_order()),
    ),
    Call(
        "upbit-order-done", (UpbitExchange, "order"), ("GET", "/upbit/v1/order"), ORDER,
        lambda venue: venue.exchange().order(uuid=venue.orders["done"]), an_order,
    ),
    Call(
        "upbit-order-waiting", (UpbitExchange, "order"), ("GET", "/upbit/v1/order"), ORDER,
        lambda venue: venue.exchange().order(identifier="waiting"), an_order,
    ),
    Call(
        "upbit-cancel", (UpbitExchange, "cancel"), ("DELETE", "/upbit/v1/order"), ORDER,
        lambda venue: venue.exchange().cancel(uuid=venue.orders["waiting"]), an_order,
    ),
    Call(
        "upbit-open", (UpbitExchange, "open_orders"), ("GET", "/upbit/v1/orders/open"), ORDER,
        lambda venue: venue.exchange().open_orders(BTC), some_orders,
    ),
    Call(
        "upbit-closed", (UpbitExchange, "closed_orders"), ("GET", "/upbit/v1/orders/closed"), ORDER,
        lambda venue: venue.exchange().closed_orders(NOW - timedelta(days=1), NOW + timedelta(hours=1), BTC),
        some_orders,
    ),
    Call(
        "upbit-keys", (UpbitExchange, "api_keys"), ("GET", "/upbit/v1/api_keys"), "access_key expire_at",
        lambda venue: venue.exchange().api_keys(), latest=AGE_END,
    ),
    Call(
        "upbit-key-end", (UpbitExchange, "expires_at"), ("GET", "/upbit/v1/api_keys"), "access_key expire_at",
        lambda venue: venue.exchange().expires_at(), latest=AGE_END,
    ),
    Call(
        "kis-token", (SharedToken, "token"), ("POST", "/kis/oauth2/tokenP"), "access_token access_token_token_expired",
        token, printable,
    ),
    Call(
        "kis-price", (KisClient, "price"), ("GET", f"/kis{QUOTES}inquire-price"), OUTPUT + "stck_prpr aspr_unit",
        lambda venue: quote(venue.kis(), SAMSUNG),
    ),
    Call(
        "kis-book", (KisClient, "asking_price"), ("GET", f"/kis{QUOTES}inquire-asking-price-exp-ccn"),
        OUTPUT + "askp1 bidp1 askp_rsqn1 bidp_rsqn1", lambda venue: quote(venue.kis(), SAMSUNG),
    ),
    Call(
        "kis-days", (KisClient, "daily_chart"), ("GET", f"/kis{QUOTES}inquire-daily-itemchartprice"),
        OUTPUT + "stck_bsop_date stck_oprc stck_hgpr stck_lwpr stck_clpr acml_vol",
        lambda venue: daily(venue.kis(), SAMSUNG),
    ),
    Call(
        "kis-minutes", (KisClient, "minute_chart"), ("GET", f"/kis{QUOTES}inquire-time-itemchartprice"),
        OUTPUT + "stck_bsop_date stck_cntg_hour stck_oprc stck_hgpr stck_lwpr stck_prpr cntg_vol",
        lambda venue: hourly(venue.kis(), SAMSUNG),
    ),
    Call(
        "kis-balance", (KisTrading, "balance"), ("GET", f"/kis{ORDERS}inquire-balance"),
        OUTPUT + "pdno hldg_qty ord_psbl_qty pchs_avg_pric dnca_tot_amt prvs_rcdl_excc_amt",
        lambda venue: venue.trading().balance(), balances,
    ),
    Call(
        "kis-buyable", (KisTrading, "buyable"), ("GET", f"/kis{ORDERS}inquire-psbl-order"),
        OUTPUT + "ord_psbl_cash nrcvb_buy_amt nrcvb_buy_qty",
        lambda venue: venue.trading().buyable(SAMSUNG, Decimal(50_000), "00"),
    ),
    Call(
        "kis-order", (KisTrading, "order"), ("POST", f"/kis{ORDERS}order-cash"), KIS_ORDER, kis_order, numbered,
        is_order=True,
    ),
    Call(
        "kis-order-refused", (KisTrading, "order"), ("POST", f"/kis{ORDERS}order-cash"), KIS_ORDER,
        lambda venue: kis_order(venue, quantity=1_000_000), is_order=True,
    ),
    Call(
        "kis-modify", (KisTrading, "modify"), ("POST", f"/kis{ORDERS}order-rvsecncl"), KIS_ORDER,
        lambda venue: venue.trading().modify("06010", venue.orders["kis"], "00", Decimal(1), Decimal(51_000)),
        numbered, is_order=True,
    ),
    Call(
        "kis-cancel", (KisTrading, "cancel"), ("POST", f"/kis{ORDERS}order-rvsecncl"), KIS_ORDER,
        lambda venue: venue.trading().cancel("06010", venue.orders["kis"], "00"), numbered, is_order=True,
    ),
    Call(
        "kis-fills", (KisTrading, "daily_fills"), ("GET", f"/kis{ORDERS}inquire-daily-ccld"), LISTED,
        lambda venue: venue.trading().daily_fills(NOW.date(), NOW.date(), symbol=SAMSUNG), fills,
    ),
    Call(
        "kis-resting", (KisTrading, "cancellable"), ("GET", f"/kis{ORDERS}inquire-psbl-rvsecncl"), LISTED + " psbl_qty",
        lambda venue: venue.trading().cancellable(), resting,
    ),
    Call(
        "kis-holidays", (KisTrading, "holidays"), ("GET", f"/kis{QUOTES}chk-holiday"), OUTPUT + "bass_dt opnd_yn",
        lambda venue: venue.trading().holidays(NOW.date()), days, latest=AGE_END,
    ),
)  # fmt: skip

YAHOO = ("GET", f"/yahoo/v8/finance/chart/{APPLE}")
YAHOO_CALLS: tuple[tuple[str, str, Callable[[YahooMarket], Awaitable[object]]], ...] = (
    ("yahoo-days", CHART, lambda market: daily(market, APPLE)),
    ("yahoo-hours", CHART, lambda market: hourly(market, APPLE)),
    ("yahoo-quote", PRICED, lambda market: quote(market, APPLE)),
    ("yahoo-name", PRICED, lambda market: market.instrument(APPLE)),
)
CASES = -(-TOTAL // (len(CALLS) + len(YAHOO_CALLS)))


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(redis_server.url, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(TIMEOUT_SECONDS)
    yield http
    await http.close()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    sandbox.book.now = lambda: NOW
    await sandbox.start()
    control = SandboxControl(sandbox.url)
    account = {"access_key": KEY, "secret_key": SECRET, "balances": {"KRW": "50000000", "BTC": "1"}}
    await asyncio.to_thread(control.post, "upbit/accounts", account)
    holdings = {SAMSUNG: {"quantity": 30, "average_price": "61234.5"}, "000660": {"quantity": 2, "average_price": "1"}}
    await asyncio.to_thread(control.post, "kis/accounts", {"cano": CANO, "cash": "100000000", "holdings": holdings})
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def server(sandbox: Sandbox) -> AsyncIterator[MalformedVenue]:
    server = MalformedVenue(sandbox.url)
    await server.start()
    yield server
    await server.stop()


async def orders_at(sandbox: Sandbox, direct: Venue) -> None:
    """Orders for the calls that read, change and cancel some."""
    exchange, trading = direct.exchange(), direct.trading()
    ask = best_bid_and_ask("upbit", sandbox.book.price("upbit", BTC))[1]
    below = ask * 9 // 10 // 1000 * 1000
    done = await exchange.place(limit(BTC, Side.BUY, Decimal("0.01"), ask, "done"))
    waiting = await exchange.place(limit(BTC, Side.BUY, Decimal("0.02"), below, "waiting"))
    await exchange.place(limit(BTC, Side.BUY, Decimal("0.03"), below, "also waiting"))
    price = best_bid_and_ask("kis", sandbox.book.price("kis", SAMSUNG))[1]
    await trading.order(Side.BUY, SAMSUNG, Decimal(3), price, "00")
    rests = await trading.order(Side.BUY, SAMSUNG, Decimal(2), Decimal(50_000), "00")
    direct.orders.update(done=done.uuid, waiting=waiting.uuid, kis=rests.ODNO)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a call: a value, or the error that left it."""

    value: object = None
    error: BaseException | None = None

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Told)
        if self.error is None or other.error is None:
            return self.error is other.error and self.value == other.value
        # a refusal is named, and its text is for people
        names = getattr(self.error, "name", ""), getattr(other.error, "name", "")
        return type(self.error) is type(other.error) and names[0] == names[1]


async def told(asked: Awaitable[object]) -> Told:
    try:
        async with asyncio.timeout(HANG_SECONDS):
            return Told(await asked)
    except BaseException as error:  # noqa: BLE001 - which error leaves is what is asked here
        return Told(error=error)


def fault(call: Call, kind: str, good: Told, found: Told, hits: int) -> str | None:
    """What is wrong with what came of a malformed reply, or None."""
    if call.is_order and hits != 1:
        return f"sent {hits} times"
    if call.covers == (SharedToken, "token") and hits > 1:
        return f"asked {hits} times for a token"
    if found == good:
        return None
    if found.error is not None:
        try:
            plausible(str(found.error), call.latest)
        except AssertionError:
            return f"cannot be stored: {found.error!r}"
        if call.is_order:
            return None if type(found.error) is Unproven else f"an order is {found.error!r}"
        return None if isinstance(found.error, VenueError | BadCandles | BadQuote) else f"untyped {found.error!r}"
    if kind in CONTRADICTIONS:
        return f"believed: {found.value!r}"
    try:
        plausible(found.value, call.latest)
        call.sound(found.value)
    except AssertionError as error:
        return f"let through ({str(error).splitlines()[0]}): {found.value!r}"
    return None


def plausible(value: object, latest: datetime) -> None:
    """Numbers finite, not negative and not beyond reason; times aware and of this age; texts of what can be stored."""
    match value:
        case Decimal():
            assert value.is_finite(), value
            assert 0 <= value < TOO_MUCH, value
        case datetime():
            assert value.utcoffset() is not None, value
            assert EARLIEST <= value <= latest, value
        case date():
            assert EARLIEST.date() <= value <= latest.date(), value
        case Enum():
            pass
        case str():
            assert not any(letter == "\0" or unicodedata.category(letter) == "Cs" for letter in value), ascii(value)
        case BaseModel():
            for name in type(value).model_fields:
                plausible(getattr(value, name), latest)
        case list() | tuple():
            for part in value:
                plausible(part, latest)
        case _ if is_dataclass(value):
            for part in fields(value):
                plausible(getattr(value, part.name), latest)


class Cases:
    """The cases of one call, shared out among lanes; `faults` and `outcomes` are what became of them."""

    def __init__(self, call: Call, server: MalformedVenue, good: Told) -> None:
        self._call = call
        self._server = server
        self._good = good
        self._numbers = iter(range(CASES))
        self.faults: list[str] = []
        self.outcomes: Counter[str] = Counter()

    async def run(self, name: str, ask: Callable[[int], Awaitable[object]]) -> None:
        """Take cases until there are none left, each on the lane of that name."""
        call, lane = self._call, self._server.lane(name)
        for number in self._numbers:
            chance = random.Random(f"{SEED}/{call.name}/{number}")
            kind, spoilt = spoil(self._server.good[call.target], chance, call.read.split())
            lane.target, lane.spoilt = call.target, spoilt
            lane.asked.clear()
            found = await told(ask(number))
            wrong = fault(call, kind, self._good, found, lane.hits)
            if wrong is not None:
                self.faults.append(f"case {number} ({kind}): {wrong[:300]}; HTTP {spoilt.status} {spoilt.body[:200]!r}")
            self.outcomes["equal" if found == self._good else type(found.error or found.value).__name__] += 1

    def verdict(self) -> None:
        """Fail with the first faults of all, if there are any."""
        assert self.outcomes.total() == CASES
        if self.faults:
            shown = "\n".join(self.faults[:SHOWN])
            wrong = f"seed {SEED}, {len(self.faults)} of {CASES} cases of {self._call.name}"
            pytest.fail(f"{wrong}:\n{shown}", pytrace=False)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
async def test_a_malformed_reply_is_never_believed(
    call: Call, sandbox: Sandbox, server: MalformedVenue, http: VenueHttp, redis: Redis, record_property: Any
) -> None:
    orders: dict[str, str] = {}
    await orders_at(sandbox, Venue(sandbox.url, http, redis, -1, orders))
    server.lane("good")
    good = await told(call.ask(Venue(f"{server.url}/good", http, redis, -1, orders)))
    assert good.error is None or call.name.endswith("-refused"), good
    assert server.lanes["good"].hits == 0
    cases = Cases(call, server, good)

    def asking(name: str) -> Callable[[int], Awaitable[object]]:
        return lambda number: call.ask(Venue(f"{server.url}/{name}", http, redis, number, orders))

    async with asyncio.TaskGroup() as lanes:
        for number in range(LANES):
            lanes.create_task(cases.run(f"lane{number}", asking(f"lane{number}")))
    record_property("outcomes", dict(cases.outcomes))
    cases.verdict()


@pytest.mark.parametrize(("name", "read", "ask"), YAHOO_CALLS, ids=[name for name, _, _ in YAHOO_CALLS])
async def test_a_malformed_chart_is_never_believed(
    name: str,
    read: str,
    ask: Callable[[YahooMarket], Awaitable[object]],
    server: MalformedVenue,
    record_property: Any,
) -> None:
    call = Call(name, (YahooMarket, "chart"), YAHOO, read, lambda _: ask(good_market))
    server.lane("good")
    good_market = YahooMarket(f"{server.url}/good/yahoo", TIMEOUT_SECONDS)
    good = await told(ask(good_market))
    await good_market.close()
    assert good.error is None, good
    cases = Cases(call, server, good)
    server.lane("lane")
    market = YahooMarket(f"{server.url}/lane/yahoo", TIMEOUT_SECONDS)

    def asking(_: int) -> Awaitable[object]:
        # a name is kept for a day
        market._names.clear()
        return ask(market)

    # yfinance keeps one session per process, so one lane after the other
    await cases.run("lane", asking)
    await market.close()
    record_property("outcomes", dict(cases.outcomes))
    cases.verdict()


def test_every_call_of_every_client_is_among_them() -> None:
    assert CASES * (len(CALLS) + len(YAHOO_CALLS)) >= TOTAL
    covered = {call.covers for call in CALLS}
    for client in (UpbitClient, UpbitExchange, KisClient, KisTrading):
        calls = {name for name, call in vars(client).items() if asyncio.iscoroutinefunction(call) and name[0] != "_"}
        assert {name for kind, name in covered if kind is client} == calls
