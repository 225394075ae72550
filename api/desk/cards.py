"""Analyses as cards: the decision with its reasons, and a chart of the candles it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.desk import drawing
from api.resources import Resources
from storage import sightings
from storage.reading import RANGES, Row
from trading.types import PriceRange

CARD_HEIGHT, CARD_CANDLES = 120.0, 45


@dataclass(frozen=True, slots=True)
class Card:
    """A row of `storage.reading.analyses_page`, and what it looks like. `name` is "" where none is known."""

    row: Row
    name: str
    currency: str
    chart: drawing.PriceShapes


async def cards_of(using: Resources, rows: Sequence[Row]) -> list[Card]:
    """A card for each row; two calls to Redis for all, and no candles while that is away."""
    symbols = [(row["market"], row["symbol"]) for row in rows]
    seen = await sightings.candles_of(using.redis, symbols)
    names = await sightings.names_of(using.redis, symbols)
    cards = []
    for row, symbol in zip(rows, symbols, strict=True):
        sighting = seen.get(symbol)
        currency = sighting.currency if sighting else currency_of(row["market"])
        priced = drawing.Priced(currency, row["price"], row["at"], ranges_of(row))
        chart = drawing.price_chart(
            priced, sighting.candles if sighting else (), CARD_HEIGHT, most=CARD_CANDLES, details=False
        )
        cards.append(Card(row, names.get(symbol, ""), currency, chart))
    return cards


def ranges_of(row: Row) -> dict[str, PriceRange]:
    """The price ranges in the columns of an analysis."""
    return {name: PriceRange(row[f"{name}_min"], row[f"{name}_max"]) for name in RANGES}


def currency_of(market: str) -> str:
    """What a market is traded in, where nothing says it."""
    return "USD" if market == "yfinance" else "KRW"
