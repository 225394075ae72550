"""The plan of chaos: repeatable, and every fault in it."""

from __future__ import annotations

from collections import Counter

from sandbox.chaos.plan import PAPER_FAULTS, UPBIT_ONLY, VENUE_FAULTS, WEIGHTS, Fault, make_plan

SYMBOLS = {"upbit": ("KRW-X01", "KRW-X02"), "kis": ("900001", "900002")}


def test_the_same_seed_makes_the_same_plan() -> None:
    first, again = (make_plan(7, 200, SYMBOLS, tuple(WEIGHTS)) for _ in range(2))
    assert first == again
    assert first != make_plan(8, 200, SYMBOLS, tuple(WEIGHTS))


def test_a_thousand_runs_meet_every_fault() -> None:
    plan = make_plan(1, 1000, SYMBOLS, tuple(WEIGHTS))
    faults = Counter(run.fault for run in plan)
    assert set(faults) == set(Fault)
    assert min(faults.values()) >= 3
    assert faults[Fault.NONE] < 100


def test_both_markets_both_sides_and_every_symbol_occur() -> None:
    plan = make_plan(1, 40, SYMBOLS, tuple(WEIGHTS))
    assert {(run.market, run.rising) for run in plan} == {(market, way) for market in SYMBOLS for way in (True, False)}
    assert {run.symbol for run in plan} == {symbol for symbols in SYMBOLS.values() for symbol in symbols}


def test_kis_has_no_fault_of_client_order_ids() -> None:
    plan = make_plan(1, 1000, SYMBOLS, tuple(WEIGHTS))
    assert not {run.fault for run in plan if run.market == "kis"} & UPBIT_ONLY


def test_on_paper_no_order_is_hit_at_a_venue() -> None:
    assert not set(PAPER_FAULTS) & VENUE_FAULTS
