"""The ladder: one to four limit orders from the price ranges of an analysis. Nothing is left out without a `Clamp`.

The first order takes the best price of the other side where the analysis calls that price appropriate. The others
rest: buys below the current price and, where more is bought of what is held, below its average less a margin; sells
at or above the current price and at or above the average plus a margin. Of the prices that qualify, the ones nearest
to the market are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from trading.strategy import SymbolStrategy
from trading.ticks import check_quote, round_down, round_up
from trading.types import Clamp, Instrument, Position, PriceRanges, Quote, Side

TickSize: TypeAlias = Callable[[Decimal], Decimal]


@dataclass(frozen=True, slots=True)
class Rung:
    """One limit order; `value` is price x quantity and `fee` the one to expect on it, in the instrument's currency."""

    price: Decimal
    quantity: Decimal
    value: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class Ladder:
    """The orders to place, nearest to the market first, and everything that was cut on the way there."""

    side: Side
    rungs: tuple[Rung, ...]
    clamps: tuple[Clamp, ...]

    @property
    def quantity(self) -> Decimal:
        return sum((rung.quantity for rung in self.rungs), Decimal(0))

    @property
    def cost(self) -> Decimal:
        """What the account must hold for all buys to fill: their values and fees."""
        return sum((rung.value + rung.fee for rung in self.rungs), Decimal(0))


def buy_ladder(
    ranges: PriceRanges,
    position: Position,
    quote: Quote,
    cash: Decimal,
    instrument: Instrument,
    strategy: SymbolStrategy,
    tick_size: TickSize,
) -> Ladder:
    """Buy orders, the highest price first. `cash` is all that they may cost, fees included: what the risk gate left.

    `tick_size` gives the grid of the venue at a price. Raises `BadQuote`.
    """
    check_quote(quote)
    clamps: list[Clamp] = []
    wanted = [ranges.appropriate_buy.min, ranges.appropriate_buy.max, ranges.buy_hope.min, ranges.buy_hope.max]
    prices = _on_grid(wanted, tick_size, grid_down, clamps)
    prices = _keep(
        prices,
        lambda price: price < quote.price,
        "current_price",
        f"is not below the current price {quote.price:f}",
        clamps,
    )
    ask = grid_up(quote.ask, tick_size)
    if strategy.take and ask <= ranges.appropriate_buy.max:
        prices = [ask, *prices]
    prices = _near(prices, quote, strategy, clamps)
    # what is too little to be sold is no position to average
    held = position.quantity * quote.price >= smallest_value(quote.price, instrument)
    if strategy.averaging_rule and held and position.average_price > 0:
        limit = position.average_price * (1 - strategy.averaging_margin)
        prices = _keep(
            prices,
            lambda price: price < limit,
            "averaging_rule",
            f"is not below the average less {strategy.averaging_margin:.2%}, {limit:f}",
            clamps,
        )
    prices = _nearest(sorted(set(prices), reverse=True), strategy.levels, clamps)
    rungs: list[Rung] = []
    left = cash
    for price in prices:
        rung = _buy(price, left, instrument, strategy, clamps)
        if rung is not None:
            rungs.append(rung)
            left -= rung.value + rung.fee
    return Ladder(Side.BUY, tuple(rungs), tuple(clamps))


def sell_ladder(
    ranges: PriceRanges,
    position: Position,
    quote: Quote,
    instrument: Instrument,
    strategy: SymbolStrategy,
    tick_size: TickSize,
) -> Ladder:
    """Sell orders for the whole position, the lowest price first, in equal parts with the remainder in the last.

    Where a part would be below the smallest order, everything is sold at the lowest price. Where the market has
    passed every price of the analysis, everything is sold at the current one. Raises `BadQuote`.
    """
    check_quote(quote)
    clamps: list[Clamp] = []
    held = round_down(position.quantity, instrument.quantity_step)
    if held != position.quantity:
        clamps.append(Clamp("quantity_step", position.quantity, held, "less than one step cannot be sold"))
    floor = position.average_price * (1 + strategy.sell_margin)
    wanted = [ranges.appropriate_sell.min, ranges.appropriate_sell.max, ranges.sell_target.min, ranges.sell_target.max]
    prices = _on_grid(wanted, tick_size, grid_up, clamps)
    prices = _keep(
        prices,
        lambda price: price >= floor,
        "sell_margin",
        f"is below the average plus {strategy.sell_margin:.2%}, {floor:f}",
        clamps,
    )
    prices = _keep(
        prices,
        lambda price: price >= quote.price,
        "current_price",
        f"is below the current price {quote.price:f}",
        clamps,
    )
    bid = grid_down(quote.bid, tick_size)
    if strategy.take and bid >= max(ranges.appropriate_sell.min, floor) and bid > 0:
        prices = [bid, *prices]
    prices = _near(prices, quote, strategy, clamps)
    prices = _nearest(sorted(set(prices)), strategy.levels, clamps)
    current = grid_up(quote.price, tick_size)
    if not prices and current >= floor and all(price < quote.price for price in wanted):
        prices = [current]
    return Ladder(Side.SELL, tuple(_sell(prices, held, instrument, clamps)), tuple(clamps))


def grid_down(price: Decimal, tick_size: TickSize) -> Decimal:
    """The highest price not above `price` that is on the grid of its own band; 0 below the first tick."""
    while price > 0:
        rounded = round_down(price, tick_size(price))
        if rounded == price:
            return price
        # rounding may have led into the band below, which has another tick
        price = rounded
    return Decimal(0)


def grid_up(price: Decimal, tick_size: TickSize) -> Decimal:
    """The lowest price not below `price` that rounding up leads to and that is on the grid of its own band."""
    while (rounded := round_up(price, tick_size(price))) != price:
        price = rounded
    return price


def smallest_value(price: Decimal, instrument: Instrument) -> Decimal:
    """The smallest order at `price`, in the instrument's currency: the venue's minimum, and one quantity step."""
    return max(instrument.min_order_value, price * instrument.quantity_step)


def _on_grid(
    wanted: Iterable[Decimal], tick_size: TickSize, rounding: Callable[[Decimal, TickSize], Decimal], out: list[Clamp]
) -> list[Decimal]:
    prices = []
    for price in wanted:
        rounded = rounding(price, tick_size) if price.is_finite() and price > 0 else Decimal(0)
        if rounded <= 0:
            out.append(Clamp("tick_grid", price, None, f"price {price} has no place on the grid"))
            continue
        if rounded != price:
            out.append(Clamp("tick_grid", price, rounded, f"price {price:f} is off the grid of {tick_size(rounded):f}"))
        prices.append(rounded)
    return prices


def _keep(
    prices: Iterable[Decimal], test: Callable[[Decimal], bool], rule: str, reason: str, out: list[Clamp]
) -> list[Decimal]:
    kept = []
    for price in prices:
        if test(price):
            kept.append(price)
        else:
            out.append(Clamp(rule, price, None, f"price {price:f} {reason}"))
    return kept


def _near(prices: Iterable[Decimal], quote: Quote, strategy: SymbolStrategy, out: list[Clamp]) -> list[Decimal]:
    return _keep(
        prices,
        lambda price: abs(price - quote.price) <= strategy.max_distance * quote.price,
        "max_distance",
        f"is more than {strategy.max_distance:.0%} from the current price {quote.price:f}",
        out,
    )


def _nearest(prices: Sequence[Decimal], levels: int, out: list[Clamp]) -> list[Decimal]:
    out += [Clamp("levels", price, None, f"price {price:f}: {levels} orders at most") for price in prices[levels:]]
    return list(prices[:levels])


def _buy(
    price: Decimal, left: Decimal, instrument: Instrument, strategy: SymbolStrategy, out: list[Clamp]
) -> Rung | None:
    quantity = _level_quantity(price, instrument, strategy)
    if quantity is None:
        out.append(
            Clamp("level_amount", price, None, "neither level_value nor level_quantity is set: nothing is bought")
        )
        return None
    rung = _rung(price, quantity, instrument)
    if not _large_enough(rung, instrument):
        smallest = smallest_value(price, instrument)
        out.append(
            Clamp("minimum_order", rung.value, None, f"an order of {rung.value:f} is below the smallest, {smallest:f}")
        )
        return None
    cost = rung.value + rung.fee
    if cost <= left:
        return rung
    rung = _rung(price, _affordable(price, left, instrument), instrument)
    reason = f"the order needs {cost:f} {instrument.currency} with its fee, {left:f} are left"
    if not _large_enough(rung, instrument):
        out.append(Clamp("cash", cost, None, reason))
        return None
    out.append(Clamp("cash", cost, rung.value + rung.fee, reason))
    return rung


def _level_quantity(price: Decimal, instrument: Instrument, strategy: SymbolStrategy) -> Decimal | None:
    if strategy.level_value is not None:
        return _affordable(price, strategy.level_value, instrument)
    if strategy.level_quantity is not None:
        return round_down(strategy.level_quantity, instrument.quantity_step)
    return None


def _affordable(price: Decimal, money: Decimal, instrument: Instrument) -> Decimal:
    """The most units whose value and fee `money` pays for."""
    quantity = round_down(max(money, Decimal(0)) / (price * (1 + instrument.fee_rate)), instrument.quantity_step)
    # the division is rounded to 28 digits, so the last step may be one too many
    while quantity > 0 and price * quantity * (1 + instrument.fee_rate) > money:
        quantity -= instrument.quantity_step
    return quantity


def _sell(prices: Sequence[Decimal], held: Decimal, instrument: Instrument, out: list[Clamp]) -> list[Rung]:
    if not prices or held <= 0:
        return []
    share = round_down(held / len(prices), instrument.quantity_step)
    # the first rung is the cheapest and the last has the remainder, so the first is the smallest in value
    if len(prices) > 1 and not _large_enough(_rung(prices[0], share, instrument), instrument):
        out.append(
            Clamp(
                "split",
                Decimal(len(prices)),
                Decimal(1),
                f"{held:f} in {len(prices)} parts are below the smallest order: all at {prices[0]:f}",
            )
        )
        prices, share = prices[:1], held
    quantities = [share] * (len(prices) - 1)
    rungs = [
        _rung(price, quantity, instrument)
        for price, quantity in zip(prices, [*quantities, held - sum(quantities, Decimal(0))], strict=True)
    ]
    if not _large_enough(rungs[0], instrument):
        out.append(
            Clamp(
                "minimum_order",
                rungs[0].value,
                None,
                f"the position is worth {rungs[0].value:f}, the smallest order {instrument.min_order_value:f}",
            )
        )
        return []
    return rungs


def _rung(price: Decimal, quantity: Decimal, instrument: Instrument) -> Rung:
    value = price * quantity
    return Rung(price, quantity, value, value * instrument.fee_rate)


def _large_enough(rung: Rung, instrument: Instrument) -> bool:
    return rung.quantity > 0 and rung.value >= instrument.min_order_value
