"""The venues' own lists as the comparison reads them."""

from __future__ import annotations

from decimal import Decimal

from sandbox.chaos.check import Finding, Kind
from sandbox.chaos.evidence import kis_order, upbit_order
from sandbox.chaos.report import verdict


def test_an_upbit_order_is_summed_up_from_its_trades() -> None:
    order = upbit_order(
        {
            "uuid": "u-1",
            "identifier": "upbit-b1-1-a",
            "market": "KRW-BTC",
            "side": "bid",
            "volume": "3",
            "price": "100",
            "state": "cancel",
            "paid_fee": "0.1",
            "trades": [{"volume": "1", "price": "100"}, {"volume": "0.5", "price": "99"}],
        }
    )
    assert (order.side, order.traded, order.value, order.open) == ("buy", Decimal("1.5"), Decimal("149.5"), False)


def test_a_kis_order_is_numbered_by_its_day_in_korea() -> None:
    row = {
        "odno": "0000000007",
        "symbol": "005930",
        "side": "01",
        "quantity": 10,
        "price": "70000",
        "at": "2026-11-22T15:30:00+00:00",
        "filled": 3,
        "amount": "210000",
        "cancelled": 2,
    }
    order = kis_order(row)
    assert (order.venue_order_id, order.side, order.open) == ("20261123-0000000007", "sell", True)
    assert not kis_order({**row, "expired": 5}).open


def test_the_last_line_counts_what_was_found() -> None:
    found = [Finding(kind, "", "upbit", "KRW-BTC") for kind in (Kind.LOST, Kind.LOST, Kind.DOUBLED)]
    assert verdict(found, 40) == "orders_doubled=1 orders_lost=2 unresolved=0 runs=40"
