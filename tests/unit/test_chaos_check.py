"""The comparison of chaos finds what is planted, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from sandbox.chaos.check import Balance, Evidence, Finding, JournalOrder, Kind, RunSymbol, VenueOrder, check

D = Decimal

SENT = JournalOrder(
    id="1",
    market="upbit",
    client_order_id="upbit-b1-1-a",
    venue_order_id="u-1",
    symbol="KRW-BTC",
    side="buy",
    leg=1,
    origin="run-1",
    state="filled",
    quantity=D(2),
    price=D(100),
    filled=D(2),
    value=D(200),
    fee=D(1),
)
THERE = VenueOrder(
    market="upbit",
    venue_order_id="u-1",
    client_order_id="upbit-b1-1-a",
    symbol="KRW-BTC",
    side="buy",
    quantity=D(2),
    price=D(100),
    traded=D(2),
    value=D(200),
    fee=D(1),
    open=False,
)
NOT_CREATED = replace(
    SENT,
    id="0",
    client_order_id="upbit-b1-0-a",
    venue_order_id=None,
    state="not_created",
    filled=D(0),
    value=D(0),
    fee=D(0),
)
RESTING = replace(SENT, state="accepted", filled=D(0), value=D(0), fee=D(0))
RESTING_THERE = replace(THERE, traded=D(0), value=D(0), fee=D(0), open=True)
AT_KIS = replace(SENT, id="k", market="kis", venue_order_id="20261122-01", client_order_id="kis-b1-1-a")
THERE_AT_KIS = replace(THERE, market="kis", venue_order_id="20261122-01", client_order_id=None)


def found(
    journal: Sequence[JournalOrder],
    venue: Sequence[VenueOrder],
    runs: Sequence[RunSymbol] = (),
    balances: Sequence[Balance] = (),
) -> list[Kind]:
    return [finding.kind for finding in findings(journal, venue, runs, balances)]


def findings(
    journal: Sequence[JournalOrder],
    venue: Sequence[VenueOrder],
    runs: Sequence[RunSymbol] = (),
    balances: Sequence[Balance] = (),
) -> list[Finding]:
    return check(Evidence(venue, journal, runs, balances))


def test_what_adds_up_is_no_finding() -> None:
    runs = [RunSymbol("run-1", "upbit", "KRW-BTC", "done"), RunSymbol("run-2", "upbit", "KRW-BTC", "failed")]
    balances = [Balance("upbit", "KRW", D(1000), D(799)), Balance("upbit", "KRW-BTC", D(1), D(3))]
    assert found([NOT_CREATED, SENT, AT_KIS], [THERE, THERE_AT_KIS], runs, balances) == []


def test_an_order_that_rests_in_both_is_no_finding() -> None:
    assert found([RESTING], [RESTING_THERE]) == []


# doubled


def test_a_second_venue_order_for_one_journal_order_is_doubled() -> None:
    again = replace(THERE, venue_order_id="u-2")
    assert found([SENT], [THERE, again]) == [Kind.DOUBLED]


def test_a_second_attempt_is_doubled_if_the_first_one_exists() -> None:
    second = replace(SENT, id="2", client_order_id="upbit-b1-2-a", venue_order_id="u-2")
    there = replace(THERE, venue_order_id="u-2", client_order_id="upbit-b1-2-a")
    assert found([SENT, second], [THERE, there]) == [Kind.DOUBLED]


def test_a_second_attempt_is_doubled_if_the_first_one_was_wrongly_given_up() -> None:
    late = replace(THERE, venue_order_id="u-0", client_order_id="upbit-b1-0-a")
    assert found([NOT_CREATED, SENT], [late, THERE])[0] is Kind.DOUBLED


def test_an_order_without_an_id_that_equals_a_known_one_is_doubled() -> None:
    assert found([AT_KIS], [THERE_AT_KIS, replace(THERE_AT_KIS, venue_order_id="20261122-02")]) == [Kind.DOUBLED]


@pytest.mark.parametrize("balance", [Balance("upbit", "KRW", D(1000), D(598)), Balance("upbit", "KRW-BTC", D(1), D(5))])
def test_cash_spent_twice_is_doubled(balance: Balance) -> None:
    assert found([SENT], [THERE], balances=[balance]) == [Kind.DOUBLED]


# lost


def test_a_venue_order_that_the_journal_does_not_know_is_lost() -> None:
    stranger = replace(THERE, venue_order_id="u-9", client_order_id="upbit-b1-1-z", price=D(99))
    assert found([SENT], [THERE, stranger]) == [Kind.LOST]


def test_an_order_that_was_adopted_as_a_strangers_is_lost() -> None:
    assert found([replace(SENT, origin=None)], [THERE]) == [Kind.LOST]


@pytest.mark.parametrize("state", ["not_created", "throttled", "rejected"])
def test_an_order_given_up_that_the_venue_has_is_lost(state: str) -> None:
    assert found([replace(NOT_CREATED, state=state)], [replace(RESTING_THERE, client_order_id="upbit-b1-0-a")])[0] is (
        Kind.LOST
    )


@pytest.mark.parametrize("order", [SENT, RESTING, replace(SENT, state="cancelled")])
def test_an_order_that_the_venue_does_not_have_is_lost(order: JournalOrder) -> None:
    assert found([order], []) == [Kind.LOST]


def test_an_order_cancelled_before_it_was_sent_is_not_lost() -> None:
    unsent = replace(NOT_CREATED, state="cancelled")
    assert found([unsent], []) == []


@pytest.mark.parametrize(
    "there",
    [
        replace(THERE, traded=D(1), value=D(100)),
        replace(THERE, value=D(201)),
        replace(THERE, fee=D(2)),
        replace(THERE, open=True),
    ],
)
def test_fills_that_differ_are_lost(there: VenueOrder) -> None:
    assert found([SENT], [there]) == [Kind.LOST]


def test_an_estimated_fee_may_differ() -> None:
    assert found([AT_KIS], [replace(THERE_AT_KIS, fee=D(2))]) == []


@pytest.mark.parametrize("balance", [Balance("upbit", "KRW", D(1000), D(801)), Balance("upbit", "KRW-BTC", D(1), D(2))])
def test_cash_and_units_that_the_fills_do_not_explain_are_lost(balance: Balance) -> None:
    assert found([SENT], [THERE], balances=[balance]) == [Kind.LOST]


def test_a_run_that_never_ended_is_lost() -> None:
    assert found([], [], [RunSymbol("run-1", "upbit", "KRW-BTC", "pending")]) == [Kind.LOST]


# unresolved


@pytest.mark.parametrize("state", ["planned", "sending", "unknown"])
def test_an_order_that_nobody_has_settled_is_unresolved(state: str) -> None:
    assert found([replace(NOT_CREATED, state=state)], []) == [Kind.UNRESOLVED]


def test_an_order_that_has_ended_at_the_venue_alone_is_unresolved() -> None:
    assert found([RESTING], [replace(RESTING_THERE, open=False)]) == [Kind.UNRESOLVED]


def test_a_finding_names_the_run_and_the_order() -> None:
    (finding,) = findings([replace(NOT_CREATED, state="unknown")], [])
    assert (finding.origin, finding.order_id, finding.symbol) == ("run-1", "0", "KRW-BTC")
    assert "upbit-b1-0-a" in finding.what
