"""A report's figures: each market apart, each sale in its own day, and nothing invented where a cost is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from trading.breaker import Equity, Flow
from trading.earnings import Seen, drawdown, holdings_of, profit_of, worth_of
from trading.pnl import Trade, book
from trading.reports import Gap, Sweeps, bounds, last_ended
from trading.round_trips import RoundTrip, round_trips
from trading.types import Fill, Side
from trading.uptime import Swept, longest_gap, sweeps

# Thursday 2026-03-05 09:00 KST
START = datetime(2026, 3, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + 24 * HOUR


def trade(
    number: int,
    side: Side,
    units: str,
    price: str,
    at: datetime,
    *,
    symbol: str = "KRW-BTC",
    asset_type: str = "crypto",
    fee: str = "1",
) -> Trade:
    made = Fill(f"t{number}", Decimal(units), Decimal(price), Decimal(fee), at)
    return Trade("upbit", symbol, asset_type, "KRW", side, made)


def points(*seen: tuple[int, int]) -> list[Equity]:
    return [Equity(START + hours * HOUR, Decimal(total)) for hours, total in seen]


SEEN = Seen(START + HOUR, Decimal(60), Decimal(40))


def test_a_day_and_a_week_begin_at_nine_in_korea() -> None:
    assert bounds("day", START) == (START, END)
    assert bounds("day", START - timedelta(microseconds=1)) == (START - 24 * HOUR, START)
    assert START.astimezone(bounds("day", START)[0].tzinfo).hour == 9
    monday = START - 3 * 24 * HOUR
    assert bounds("week", START) == (monday, monday + 7 * 24 * HOUR)
    assert bounds("week", monday - timedelta(seconds=1))[1] == monday
    assert last_ended("day", START + HOUR) == START - 24 * HOUR
    assert last_ended("week", START) == monday - 7 * 24 * HOUR


def test_a_sale_is_measured_against_what_was_bought_before_the_period() -> None:
    profit = profit_of(
        [
            trade(1, Side.BUY, "2", "100", START - 48 * HOUR, fee="2"),
            trade(2, Side.SELL, "1", "90", START - HOUR),
            trade(3, Side.SELL, "0.5", "120", START, fee="3"),
            trade(4, Side.BUY, "1", "110", START + 2 * HOUR, fee="4"),
            trade(5, Side.SELL, "1", "500", END),
        ],
        START,
        END,
    )
    # an average of 101 with its fee: half a unit sold for 60 less 50.5 less the sale's fee
    assert profit.realised == Decimal("6.5")
    assert profit.rate == Decimal("6.5") / Decimal("50.5")
    assert (profit.fees, profit.taxes, profit.fills, profit.bought, profit.sold) == (7, 0, 2, 110, 60)
    assert [(one.symbol, one.realised, one.sales) for one in profit.symbols] == [("KRW-BTC", Decimal("6.5"), 1)]


def test_the_korean_sale_is_taxed() -> None:
    profit = profit_of(
        [
            trade(1, Side.BUY, "10", "1000", START, asset_type="equity_kr", fee="0"),
            trade(2, Side.SELL, "10", "1100", START + HOUR, asset_type="equity_kr"),
        ],
        START,
        END,
    )
    assert (profit.taxes, profit.realised) == (Decimal(22), Decimal(1000) - 22 - 1)
    assert profit.rate == Decimal(977) / 10_000


def test_what_was_not_bought_here_is_named_and_spoils_no_other_figure() -> None:
    told = [
        trade(1, Side.BUY, "1", "100", START, fee="0"),
        trade(2, Side.SELL, "1", "110", START + HOUR, fee="0"),
        trade(3, Side.SELL, "5", "10", START + HOUR, symbol="KRW-XRP"),
    ]
    profit = profit_of(told, START, END)
    assert (profit.unbooked, profit.realised, profit.fees) == (("KRW-XRP",), 10, 1)
    assert holdings_of(told, END, {}) == ()
    assert profit_of(told[2:], START + 2 * HOUR, END).unbooked == ()


def test_a_trade_told_twice_counts_once() -> None:
    bought = trade(1, Side.BUY, "1", "100", START)
    assert profit_of([bought, bought], START, END).fills == 1


def test_a_round_trip_ends_when_nothing_is_held_and_has_the_profit_of_all_its_sales() -> None:
    told = [
        trade(1, Side.BUY, "2", "100", START, fee="0"),
        trade(2, Side.SELL, "1", "80", START + HOUR, fee="0"),
        trade(3, Side.SELL, "1", "130", START + 2 * HOUR, fee="0"),
        trade(4, Side.BUY, "1", "100", START + 3 * HOUR, fee="0"),
        trade(5, Side.SELL, "1", "90", START + 4 * HOUR, fee="0"),
        trade(6, Side.BUY, "1", "90", START + 5 * HOUR, fee="0"),
        trade(7, Side.SELL, "0.5", "95", START + 6 * HOUR, fee="0"),
    ]
    assert round_trips(reversed(told)) == [
        RoundTrip(START + 2 * HOUR, Decimal(10)),
        RoundTrip(START + 4 * HOUR, Decimal(-10)),
    ]
    profit = profit_of(told, START + 3 * HOUR, END)
    assert (profit.round_trips, profit.won) == (1, 0)


def test_a_holding_is_worth_the_last_price_known() -> None:
    told = [
        trade(1, Side.BUY, "2", "100", START, fee="0"),
        trade(2, Side.BUY, "3", "10", START, symbol="KRW-XRP", fee="0"),
        trade(3, Side.BUY, "9", "10", END, symbol="KRW-SOL"),
    ]
    btc, xrp = holdings_of(told, END, {"KRW-BTC": Decimal(110)})
    assert (btc.symbol, btc.worth, btc.rate) == ("KRW-BTC", 220, Decimal("0.1"))
    # never analysed: what its last fill says
    assert (xrp.symbol, xrp.price, xrp.worth, xrp.rate) == ("KRW-XRP", 10, 30, 0)


def test_an_account_runs_from_what_the_last_report_showed() -> None:
    worth = worth_of(SEEN, points((-30, 50), (-1, 80), (5, 40), (23, 100), (25, 999)), START, END)
    assert worth is not None
    assert (worth.start, worth.total, worth.rate, worth.drawdown) == (80, 100, Decimal("0.25"), Decimal("0.5"))


def test_an_account_that_is_new_counts_from_when_it_was_seen_and_one_never_seen_not_at_all() -> None:
    worth = worth_of(SEEN, points((3, 80), (9, 100)), START, END)
    assert worth is not None
    assert (worth.start, worth.rate) == (80, Decimal("0.25"))
    assert worth_of(None, points((3, 1)), START, END) is None
    assert worth_of(SEEN, points((25, 1)), START, END) is None
    empty = worth_of(SEEN, points((-1, 0), (1, 0)), START, END)
    assert empty is not None
    assert (empty.start, empty.rate, empty.drawdown) == (0, None, None)


def test_a_deposit_is_no_profit() -> None:
    paid_in = Flow(START + 2 * HOUR, Decimal(1000))
    worth = worth_of(SEEN, points((-1, 100), (3, 1100), (4, 1210)), START, END, flows=[paid_in])
    assert worth is not None
    assert worth.rate is not None
    assert abs(worth.rate - Decimal("0.1")) < Decimal("1e-12")


def test_a_drawdown_is_the_deepest_fall_from_a_high_before_it() -> None:
    assert drawdown([]) == 0
    assert drawdown(map(Decimal, ("1.1", "1.2", "1.3"))) == 0
    assert drawdown(map(Decimal, ("0.9", "1.2", "0.6", "1.5", "1.2"))) == Decimal("0.5")


def swept(minutes: int, *, ended: bool = True, closed: bool = False, market: str = "upbit") -> Swept:
    at = START + timedelta(minutes=minutes)
    return Swept(market, at, at + timedelta(seconds=1), ended, closed)


def test_what_was_due_and_has_no_row_was_not_carried_out() -> None:
    runs = [swept(0), swept(30, closed=True), swept(60, ended=False), swept(97), swept(24 * 60)]
    found = sweeps(runs, {"upbit": 30, "kis": 60, "yfinance": 0}, {"upbit": START - HOUR}, START, END)
    # what was asked for between two slots is none of them
    assert found["upbit"] == Sweeps(48, 2, 1)
    # one that never ran was not there to run
    assert (found["kis"], found["yfinance"]) == (Sweeps(0, 0, 0), Sweeps(None, 0, 0))
    assert sweeps(runs, {"upbit": 30}, {"upbit": START + 7 * HOUR}, START, END)["upbit"].expected == 34


def test_the_longest_gap_is_of_the_time_the_system_was_there() -> None:
    opened = [START + hours * HOUR for hours in (20, 2, 3)]
    assert longest_gap(opened, START - HOUR, START, END) == Gap(START + 3 * HOUR, START + 20 * HOUR)
    assert longest_gap([START + 20 * HOUR], None, START, END) == Gap(START + 20 * HOUR, END)
    assert longest_gap([], START - HOUR, START, END) == Gap(START, END)
    assert longest_gap([], None, START, END) is None


@st.composite
def histories(draw: st.DrawFn) -> list[Trade]:
    """Fills over a fortnight of two symbols, in which no more is sold than was bought."""
    held = {"A": Decimal(0), "B": Decimal(0)}
    made, at = [], START - timedelta(days=6)
    for number in range(draw(st.integers(0, 25))):
        at += timedelta(minutes=draw(st.integers(1, 1500)))
        symbol = draw(st.sampled_from(["A", "B"]))
        units = Decimal(draw(st.integers(1, 9)))
        side = Side.SELL if held[symbol] >= units and draw(st.booleans()) else Side.BUY
        held[symbol] += units if side is Side.BUY else -units
        made.append(trade(number, side, str(units), str(draw(st.integers(1, 500))), at, symbol=symbol))
    return draw(st.permutations(made))


@settings(max_examples=40, deadline=None)
@given(histories())
def test_a_report_agrees_with_the_book_and_its_days_make_the_week(trades: list[Trade]) -> None:
    monday, sunday = bounds("week", START)
    days = [profit_of(trades, monday + day * 24 * HOUR, monday + (day + 1) * 24 * HOUR) for day in range(7)]
    week = profit_of(trades, monday, sunday)
    assert week.unbooked == ()
    for name in ("realised", "fees", "taxes", "bought", "sold", "fills", "round_trips", "won"):
        parts = sum((getattr(day, name) for day in days), Decimal(0))
        assert abs(parts - getattr(week, name)) < Decimal("1e-12"), name
    sales = [sale for sale in book(trades).realised if monday <= sale.at < sunday]
    assert abs(week.realised - sum((sale.profit for sale in sales), Decimal(0))) < Decimal("1e-12")
    assert abs(week.realised - sum((one.realised for one in week.symbols), Decimal(0))) < Decimal("1e-12")
    late = replace(trade(99, Side.BUY, "1", "1", sunday), symbol="A")
    assert profit_of([*trades, late], monday, sunday) == week
