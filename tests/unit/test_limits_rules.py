from __future__ import annotations

import json
from datetime import date
from importlib import import_module, resources

import pytest
from aiohttp.test_utils import make_mocked_request

from sandbox.limits import BLOCK_SECONDS, UPBIT_GROUPS, Limits, Refusal
from workers.calls import Call
from workers.limits import bucket_of, groups_of, rules
from workers.limits.local import LocalSlots, Slot
from workers.limits.rules import Bucket

UPBIT = "https://api.upbit.com/v1/x"
KIS = "https://openapi.koreainvestment.com:9443/x"
KIS_MOCK = "https://openapivts.koreainvestment.com:29443/x"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def bucket(service: str, operation: str, url: str, **headers: str) -> Bucket:
    found = bucket_of(Call(service, operation), url, headers)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("operation", "group", "requests", "seconds"),
    [
        ("candles_days", "candle", 10, 1),
        ("candles_minutes", "candle", 10, 1),
        ("ticker", "ticker", 10, 1),
        ("orderbook", "orderbook", 10, 1),
        ("orderbook_instruments", "orderbook", 10, 1),
        ("market_all", "market", 10, 1),
        ("accounts", "default", 30, 1),
        ("cancel_order", "default", 30, 1),
        ("place_order", "order", 12, 1),
        ("test_order", "order-test", 8, 1),
        ("cancel_all", "order-cancel-all", 1, 2),
    ],
)
def test_upbit_operations_have_the_documented_limits(operation: str, group: str, requests: int, seconds: int) -> None:
    found = bucket("upbit", operation, UPBIT)
    assert (found.group, found.requests, found.seconds) == (group, requests, seconds)


def test_kis_is_counted_per_app_key_and_slower_in_the_mock() -> None:
    real = bucket("kis", "price", KIS, appkey="A")
    assert (real.requests, real.seconds) == (18, 1)
    assert bucket("kis", "price", KIS_MOCK, appkey="A").requests == 1
    assert real.lanes == bucket("kis", "order", KIS, appkey="A").lanes
    assert real.lanes != bucket("kis", "price", KIS, appkey="B").lanes


def test_no_key_of_a_venue_is_in_a_key_of_redis() -> None:
    found = bucket("kis", "price", KIS, appkey="PSsecretsecret")
    assert "PSsecret" not in found.lanes + found.gate + found.venue_gate


def test_a_stand_in_does_not_share_the_venues_slots() -> None:
    assert bucket("upbit", "ticker", UPBIT).lanes != bucket("upbit", "ticker", "http://127.0.0.1:1/upbit").lanes


def test_tokens_and_other_services_are_not_limited_here() -> None:
    assert bucket_of(Call("kis", "token"), KIS, {"appkey": "A"}) is None
    assert bucket_of(Call("gemini", "generate"), "https://example.invalid/") is None


def test_an_unlisted_operation_is_limited_all_the_same() -> None:
    assert bucket("upbit", "brand_new", UPBIT).group == "order"


def test_a_limit_begins_with_its_date() -> None:
    def orders(on: date) -> int:
        return rules._bucket("upbit", "order", "https://api.upbit.com", "", on).requests

    assert [orders(date(2026, 8, 21)), orders(date(2026, 8, 22))] == [8, 12]


def test_the_file_names_its_sources_and_only_groups_it_has() -> None:
    venues = json.loads(resources.files("workers.limits").joinpath("limits.json").read_text())["venues"]
    for name, venue in venues.items():
        assert venue["source"], name
        named = {*venue["operations"].values(), venue["unlisted"], *venue.get("hosts", {}).values()} - {None}
        assert named <= set(venue["groups"]), name


@pytest.mark.parametrize("module", ["workers.upbit.client", "workers.upbit.exchange"])
def test_every_operation_of_upbit_is_listed(module: str) -> None:
    venues = json.loads(resources.files("workers.limits").joinpath("limits.json").read_text())["venues"]
    assert set(import_module(module).OPERATIONS) <= set(venues["upbit"]["operations"])


def test_the_sandbox_enforces_what_the_workers_keep_to() -> None:
    assert set(groups_of("upbit")) == set(UPBIT_GROUPS)
    for group, (requests, seconds, _) in UPBIT_GROUPS.items():
        found = rules._bucket("upbit", group, "https://api.upbit.com", "", date(2026, 11, 22))
        assert (found.requests, found.seconds) == (requests, seconds)


def test_alone_a_process_keeps_to_half_the_rate() -> None:
    clock = Clock()
    slots = LocalSlots(clock)
    candle = bucket("upbit", "candles_days", UPBIT)
    waits = [slots.reserve(candle, 10, None).wait for _ in range(11)]
    assert waits[0] == 0
    assert waits[10] == pytest.approx(2 * candle.window)


def test_alone_a_process_refuses_what_would_wait_too_long_and_takes_no_slot() -> None:
    slots = LocalSlots(Clock())
    candle = bucket("upbit", "candles_days", UPBIT)
    slots.reserve(candle, 10, None)
    assert [slots.reserve(candle, 0.1, None).refusal for _ in range(3)] == ["full"] * 3
    assert slots.reserve(candle, 10, None).wait == pytest.approx(2 * candle.window / candle.requests)


def test_alone_a_process_keeps_a_gate_closed_also_for_those_who_wait() -> None:
    clock = Clock()
    slots = LocalSlots(clock)
    candle = bucket("upbit", "candles_days", UPBIT)
    slots.close(candle.gate, 5)
    assert slots.reserve(candle, 1, None).refusal == "closed"
    assert slots.reserve(candle, 10, Slot(0.0)).wait == pytest.approx(5)
    clock.now += 5
    assert slots.reserve(candle, 10, Slot(0.0)).wait == 0


def asked(limits: Limits, service: str, path: str, method: str = "GET", **headers: str) -> Refusal | None:
    return limits.refusal(service, path, make_mocked_request(method, path, headers=headers))


def test_the_sandboxs_window_slides() -> None:
    clock = Clock()
    limits = Limits(clock)
    for _ in range(10):
        assert asked(limits, "upbit", "/v1/candles/days") is None
        clock.now += 0.09
    assert asked(limits, "upbit", "/v1/ticker") is None
    refusal = asked(limits, "upbit", "/v1/candles/minutes/60")
    assert refusal is not None
    assert refusal.status == 429
    clock.now += 1.1
    assert asked(limits, "upbit", "/v1/candles/days") is None
    assert limits.summary()["upbit/candle"] == {"served": 11, "refused": 1, "most": 11}


def test_the_sandbox_blocks_who_goes_on_and_for_longer_the_next_time() -> None:
    clock = Clock()
    limits = Limits(clock)
    for length in (BLOCK_SECONDS, 2 * BLOCK_SECONDS):
        answers = [asked(limits, "upbit", "/v1/candles/days") for _ in range(30)]
        statuses = [answer.status for answer in answers if answer]
        assert statuses[:9] == [429] * 9
        assert statuses[9:] == [418] * 11
        # every group of that address
        assert asked(limits, "upbit", "/v1/ticker") == Refusal(418, length)
        clock.now += length + 2
        assert asked(limits, "upbit", "/v1/ticker") is None
        clock.now += 2


def test_the_sandbox_counts_kis_per_app_key_but_no_tokens() -> None:
    limits = Limits(Clock())
    answers = [asked(limits, "kis", "/uapi/x", appkey="A") for _ in range(19)]
    assert answers[:18] == [None] * 18
    assert answers[18] == Refusal(None, 1)
    assert asked(limits, "kis", "/uapi/x", appkey="B") is None
    assert asked(limits, "kis", "/oauth2/tokenP", "POST", appkey="A") is None
