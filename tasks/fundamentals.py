"""What is known of a symbol beside its prices, for an analyst that reads. Nothing fails where it is missing."""

from __future__ import annotations

import logging
from decimal import Decimal

from opentelemetry import trace
from redis.exceptions import RedisError

from telemetry.instruments import fundamentals_told
from trading.fundamentals import complete
from trading.types import Instrument
from workers.errors import VenueError
from workers.ports import MarketData

log = logging.getLogger(__name__)

ALL, SOME, NONE = "all", "some", "none"
OUTCOMES = (ALL, SOME, NONE)

_tracer = trace.get_tracer("autotrader")


async def of(client: MarketData, instrument: Instrument) -> dict[str, Decimal | None]:
    """Every name there is for it, None where the venue does not tell one; counted by how many it told."""
    with _tracer.start_as_current_span("collect_fundamentals") as span:
        try:
            known = await client.fundamentals(instrument.symbol)
        except (VenueError, RedisError) as error:
            log.warning("%s %s: its fundamentals are missing: %s", instrument.market, instrument.symbol, error)
            known = {}
        found = complete(instrument.asset_type, known)
        told = sum(value is not None for value in found.values())
        span.set_attributes({"fundamentals.told": told, "fundamentals.of": len(found)})
    outcome = ALL if told == len(found) else SOME if told else NONE
    fundamentals_told.add(1, {"market": instrument.market, "outcome": outcome})
    if outcome != ALL:
        missing = ", ".join(name for name, value in found.items() if value is None)
        log.info("%s %s: not known: %s", instrument.market, instrument.symbol, missing)
    return found
