"""Charts: whatever the data, a picture that a phone shows; and on it what the data says, where it says it."""

from __future__ import annotations

import csv
import os
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from charts import equity, price
from charts.axis import Scale, figure, round_values, spread
from charts.canvas import printable
from charts.errors import BadChart
from charts.theme import AVERAGE, BUY, CURVE, FALL, HEIGHT, RISE, SELL, STOP, WIDTH, Colour, mixed
from trading.types import Candle, PriceRange, Side

SHARED = Path(os.environ.get("SHARED_DIR") or Path(__file__).parents[3] / "shared")
AT = datetime(2026, 11, 22, tzinfo=UTC)
DAY = timedelta(days=1)


def candle(number: int, opened: float, closed: float, spread: float = 1, volume: int = 10) -> Candle:
    high, low = max(opened, closed) + spread, max(min(opened, closed) - spread, 1e-9)
    values = (Decimal(str(value)) for value in (opened, high, low, closed))
    return Candle(AT - (60 - number) * DAY, *values, Decimal(volume))


def rising_then_falling() -> list[Candle]:
    walk = [100 + number if number < 30 else 160 - number for number in range(61)]
    return [candle(number, walk[number], walk[number + 1]) for number in range(60)]


CHART = price.PriceChart(
    title="KRW-BTC  BUY 80%",
    subtitle="upbit",
    currency="KRW",
    candles=rising_then_falling(),
    price=Decimal(101),
    buy=PriceRange(Decimal(96), Decimal(99)),
    sell=PriceRange(Decimal(120), Decimal(124)),
)


def picture(png: bytes) -> Image.Image:
    image = Image.open(BytesIO(png))
    image.load()
    assert (image.format, image.mode) == ("PNG", "RGB")
    # a phone shows it at once, and Telegram takes it
    assert len(png) < 400_000
    return image


def rows_of(image: Image.Image, colour: Colour, most: int = 40) -> list[int]:
    """The heights at which something of about that colour is, below the legend."""
    pixels = np.asarray(image, dtype=int)[200:, :900]
    found = (np.abs(pixels - colour).sum(axis=2) < most).any(axis=1)
    return [int(row) + 200 for row in np.flatnonzero(found)]


def test_a_price_chart_has_its_size_and_both_kinds_of_candles() -> None:
    image = picture(price.draw(CHART))
    assert image.size == (WIDTH, HEIGHT)
    assert len(rows_of(image, RISE)) > 100
    assert len(rows_of(image, FALL)) > 100


def test_the_range_to_sell_in_lies_above_the_one_to_buy_in_and_the_stop_below_both() -> None:
    image = picture(price.draw(replace(CHART, stop=Decimal(92), average=Decimal(110))))
    shaded, lines = [mixed(SELL, 0.7), mixed(BUY, 0.7)], [AVERAGE, STOP]
    sell, buy, average, stop = (rows_of(image, colour, 20) for colour in (*shaded, *lines))
    assert max(sell) < min(average) <= max(average) < min(buy) < max(buy) < min(stop)
    # a range has its height in prices: four units and three
    assert (max(sell) - min(sell)) / (max(buy) - min(buy)) == pytest.approx(4 / 3, rel=0.1)
    assert max(stop) - min(stop) < 6


def test_our_fills_and_orders_are_marked() -> None:
    bare = price.draw(CHART)
    fills = [price.Traded(AT - 10 * DAY, Side.BUY, Decimal(108)), price.Traded(AT - 40 * DAY, Side.SELL, Decimal(118))]
    image = picture(price.draw(replace(CHART, fills=fills)))
    plain = picture(bare)
    assert len(rows_of(image, BUY)) > len(rows_of(plain, BUY)) + 10
    assert len(rows_of(image, SELL)) > len(rows_of(plain, SELL)) + 10
    orders = [price.Resting(Side.BUY, Decimal(104)), price.Resting(Side.SELL, Decimal(130))]
    image = picture(price.draw(replace(CHART, orders=orders)))
    assert len(rows_of(image, BUY)) > len(rows_of(plain, BUY))


def test_a_target_far_away_does_not_flatten_the_candles() -> None:
    far = PriceRange(Decimal(100_000), Decimal(200_000))
    image = picture(price.draw(replace(CHART, sell=far, target=far, stop=Decimal("0.001"))))
    assert len(rows_of(image, RISE)) > 100


@pytest.mark.parametrize(
    "candles",
    [
        [candle(59, 100, 100, spread=0, volume=0)],
        [candle(number, 100, 100, spread=0) for number in range(60)],
        [candle(number, 0.0000123, 0.0000124, spread=0) for number in range(20)],
        [candle(number, 1e12, 1.1e12, spread=1e10) for number in range(200)],
    ],
    ids=["one", "flat", "tiny", "huge"],
)
def test_odd_candles_are_drawn_too(candles: list[Candle]) -> None:
    last = candles[-1].close
    ranges = PriceRange(last * Decimal("0.99"), last), PriceRange(last, last)
    chart = replace(
        CHART, candles=candles, price=last, buy=ranges[0], sell=ranges[1], title="비트코인 🔥", stop=last / 2
    )
    assert picture(price.draw(chart)).size == (WIDTH, HEIGHT)


def test_without_candles_or_points_there_is_no_chart() -> None:
    with pytest.raises(BadChart):
        price.draw(replace(CHART, candles=[]))
    with pytest.raises(BadChart):
        equity.draw(accounts([]))


def accounts(*points: list[tuple[datetime, Decimal]], change: Decimal | None = Decimal("0.01")) -> equity.EquityChart:
    return equity.EquityChart(
        title="Accounts",
        subtitle="paper",
        since=AT - 7 * DAY,
        told_since=AT - DAY,
        until=AT,
        accounts=[equity.Account(f"m{n}", "KRW" if n % 2 else "USD", seen, change) for n, seen in enumerate(points)],
    )


def walk(count: int) -> list[tuple[datetime, Decimal]]:
    chance = random.Random(count)
    return [(AT - 7 * DAY * (count - n) / count, Decimal(chance.randint(90, 110))) for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, 500, 5_000])
def test_a_curve_of_any_length_is_drawn(count: int) -> None:
    image = picture(equity.draw(accounts(walk(count))))
    assert image.width == WIDTH
    assert len(rows_of(image, CURVE, 60)) >= (200 if count > 2 else 1)


def test_each_account_has_a_panel_of_its_own_and_one_never_seen_has_none() -> None:
    two, three = (picture(equity.draw(accounts(*([walk(50)] * n), []))) for n in (2, 3))
    assert three.height > two.height + 200


def test_the_curve_is_where_the_worth_is() -> None:
    up = [(AT - 7 * DAY + n * DAY, Decimal(100 + n)) for n in range(8)]
    image = picture(equity.draw(accounts(up, change=None)))
    pixels = np.asarray(image, dtype=int)[150:]

    def height_at(x: int) -> float:
        return float(np.flatnonzero(np.abs(pixels[:, x] - CURVE).sum(axis=1) < 90).mean())

    assert height_at(200) > height_at(450) > height_at(800)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.decimals("0.00000001", "1e12", allow_nan=False), min_size=1, max_size=8),
    st.decimals("0.00000001", "1e12", allow_nan=False),
    st.lists(st.decimals("0", "1e12", allow_nan=False), min_size=4, max_size=4),
    st.text(max_size=30),
)
def test_any_prices_make_a_chart(prices: list[Decimal], last: Decimal, ends: list[Decimal], title: str) -> None:
    candles = [Candle(AT - n * DAY, one, one, one, one, abs(one)) for n, one in enumerate(prices)][::-1]
    low, high, lower, higher = sorted(ends)
    chart = price.PriceChart(
        title=title,
        subtitle=title,
        currency="USD",
        candles=candles,
        price=last,
        buy=PriceRange(low, high),
        sell=PriceRange(lower, higher),
        stop=low,
        fills=[price.Traded(AT, Side.SELL, last)],
        orders=[price.Resting(Side.BUY, low)] * 9,
    )
    assert picture(price.draw(chart)).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("name", ["upbit/KRW-BTC", "upbit/KRW-DOGE", "kis/005930", "yfinance/AAPL"])
def test_recorded_candles_make_a_chart(name: str) -> None:
    path = SHARED / "data" / "candles" / f"{name}.1d.csv"
    if not path.exists():
        pytest.skip(f"no recorded candles at {path}; set SHARED_DIR")
    with path.open(encoding="utf-8", newline="") as file:
        candles = [
            Candle(
                datetime.fromisoformat(row["time"]).replace(tzinfo=UTC),
                *(Decimal(row[field]) for field in ("open", "high", "low", "close", "volume")),
            )
            for row in csv.DictReader(file)
        ]
    last = candles[-1].close
    near = PriceRange(last * Decimal("0.97"), last * Decimal("0.99"))
    image = picture(price.draw(replace(CHART, candles=candles, price=last, buy=near, sell=near)))
    assert len(rows_of(image, RISE)) > 50
    assert len(rows_of(image, FALL)) > 50


def test_labels_are_in_characters_that_every_machine_draws() -> None:
    assert printable("비트코인 KRW-BTC 🔥") == "???? KRW-BTC ?"


@pytest.mark.parametrize(
    ("value", "currency", "shown"),
    [
        (142_500_000, "KRW", "142,500,000"),
        (1234.5, "USD", "1,234.50"),
        (999.5, "KRW", "999.5"),
        (0.012345, "KRW", "0.01235"),
        (0, "KRW", "0"),
        (-1500.4, "KRW", "-1,500"),
    ],
)
def test_figures_have_the_digits_of_their_currency(value: float, currency: str, shown: str) -> None:
    assert figure(value, currency) == shown


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12))
def test_round_values_lie_between_the_ends(low: float, height: float) -> None:
    values = round_values(low, low + height, 6)
    assert len(values) <= 14
    slack = abs(low) * 1e-6 + height * 1e-6
    assert all(low - slack <= value <= low + height + slack for value in values)


@given(st.lists(st.floats(0, 600), min_size=1, max_size=8))
def test_labels_do_not_lie_on_each_other(wanted: list[float]) -> None:
    placed = sorted(spread(wanted, 30, 0, 600))
    assert all(later - earlier >= 30 - 1e-6 for earlier, later in pairwise(placed))
    assert placed[-1] <= 600 + 1e-6


def test_a_scale_of_one_value_has_it_in_the_middle() -> None:
    assert Scale(5, 5, 100, 0).at(5) == 50
