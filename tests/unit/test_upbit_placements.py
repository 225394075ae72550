"""Upbit's word on an order as a placement: its state by what it traded, and fees that never change once told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trading.types import OrderState
from workers.calls import Call
from workers.errors import BadReply
from workers.upbit.placements import placement
from workers.upbit.private_wire import OrderBody
from workers.wire import parse_one


def body(**changes: object) -> OrderBody:
    """The documented order with two trades, changed."""
    document: dict[str, object] = {
        "uuid": "a08f09b1-1718-42e2-9358-f0e5e083d3ee",
        "side": "bid",
        "ord_type": "limit",
        "price": "17417000.0",
        "state": "done",
        "market": "KRW-BTC",
        "created_at": "2018-04-05T14:09:14+09:00",
        "volume": "1.0",
        "remaining_volume": "0.0",
        "paid_fee": "151.5",
        "executed_volume": "1.0",
        "trades": [
            {
                "uuid": "t1",
                "price": "101000.0",
                "volume": "0.77368323",
                "funds": "78142.00623",
                "created_at": "2018-04-05T14:09:15+09:00",
            },
            {
                "uuid": "t2",
                "price": "101000.0",
                "volume": "0.22631677",
                "funds": "22857.99377",
                "created_at": "2018-04-05T14:09:15+09:00",
            },
        ],
    }
    return parse_one(OrderBody, document | changes, Call("upbit", "order"))


def trade(number: int, volume: str, price: str = "100000") -> dict[str, str]:
    return {
        "uuid": f"t{number}",
        "price": price,
        "volume": volume,
        "funds": str(Decimal(price) * Decimal(volume)),
        "created_at": "2018-04-05T14:09:15+09:00",
    }


def test_the_fees_of_the_documented_order_are_those_documented_for_its_trades() -> None:
    word = placement(body())
    assert word.state is OrderState.FILLED
    assert [(fill.trade_id, fill.quantity, fill.fee) for fill in word.fills] == [
        ("t1", Decimal("0.77368323"), Decimal("117.213009345")),
        ("t2", Decimal("0.22631677"), Decimal("34.286990655")),
    ]
    assert sum(fill.fee for fill in word.fills) == Decimal("151.5")


def test_the_fee_of_a_fill_that_was_told_does_not_change_when_others_follow() -> None:
    volumes = ["0.00000007", "0.33333333", "0.1", "0.56666660"]
    told: dict[str, Decimal] = {}
    for count in range(1, len(volumes) + 1):
        trades = [trade(number, volume, f"{100_000 + 7 * number}") for number, volume in enumerate(volumes[:count])]
        paid = sum(Decimal(row["funds"]) for row in trades) * Decimal("0.0005")
        executed = sum(Decimal(volume) for volume in volumes[:count])
        word = placement(body(state="wait", trades=trades, paid_fee=str(paid), executed_volume=str(executed)))
        assert word.state is (OrderState.PARTLY_FILLED if count < len(volumes) else OrderState.FILLED)
        fees = {fill.trade_id: fill.fee for fill in word.fills}
        assert sum(fees.values()) == paid
        assert told.items() <= fees.items()
        told = fees
    assert len(told) == len(volumes)


@pytest.mark.parametrize(
    ("changes", "text"), [({"paid_fee": "200000"}, "a fee of 200000"), ({"volume": "0.9"}, "1.00000000 of 0.9 traded")]
)
def test_what_cannot_be_is_no_reply_of_upbit(changes: dict[str, object], text: str) -> None:
    with pytest.raises(BadReply, match=text):
        placement(body(**changes))


@pytest.mark.parametrize(
    ("changes", "state", "fills"),
    [
        ({"state": "wait"}, OrderState.FILLED, 2),
        ({"state": "cancel"}, OrderState.FILLED, 2),
        ({"state": "cancel", "volume": "2"}, OrderState.CANCELLED, 2),
        ({"state": "wait", "volume": "2"}, OrderState.PARTLY_FILLED, 2),
        # a market buy names no volume and ends as cancel
        ({"state": "cancel", "volume": None, "ord_type": "price"}, OrderState.FILLED, 2),
        ({"state": "wait", "volume": None, "ord_type": "price"}, OrderState.PARTLY_FILLED, 2),
        # it traded, and its trades are not all told yet
        ({"trades": []}, OrderState.ACCEPTED, 0),
        ({"trades": None}, OrderState.ACCEPTED, 0),
        ({"state": "cancel", "volume": "2", "trades": []}, OrderState.ACCEPTED, 0),
        ({"state": "wait", "volume": "2", "executed_volume": "1.5"}, OrderState.ACCEPTED, 0),
        ({"state": "cancel", "executed_volume": "0", "trades": []}, OrderState.CANCELLED, 0),
        ({"state": "wait", "executed_volume": "0", "trades": []}, OrderState.ACCEPTED, 0),
        ({"state": "watch", "executed_volume": "0", "trades": []}, OrderState.ACCEPTED, 0),
        ({"state": "new state", "executed_volume": "0", "trades": []}, OrderState.ACCEPTED, 0),
    ],
)
def test_an_order_is_judged_by_what_it_traded(changes: dict[str, object], state: OrderState, fills: int) -> None:
    word = placement(body(**changes))
    assert (word.state, len(word.fills)) == (state, fills)
    assert (word.reason is not None) == (state is OrderState.CANCELLED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"volume": "2"}, "partly_filled: 1 of 2 traded, the rest is cancelled"),
        ({"executed_volume": "0", "trades": [], "time_in_force": "ioc"}, "not_crossed: "),
        ({"executed_volume": "0", "trades": []}, "not_traded: "),
    ],
)
def test_a_cancelled_order_says_why(changes: dict[str, object], reason: str) -> None:
    assert str(placement(body(state="cancel", **changes)).reason).startswith(reason)
