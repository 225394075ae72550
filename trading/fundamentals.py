"""What a venue tells of a symbol beside its prices: the names of the numbers, and which of them are told at all.

In the instrument's currency, but for the ratios `per` and `pbr` and for `volume_24h`, which is in units of the coin.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

COMPANY = ("market_cap", "per", "pbr", "eps", "bps", "week52_high", "week52_low")
# a company can lose, and owe more than it has
SIGNED = frozenset(("per", "pbr", "eps", "bps"))
COIN = ("week52_high", "week52_low", "volume_24h", "turnover_24h")


def told(**values: Decimal | None) -> dict[str, Decimal]:
    """Those that are known: a venue writes 0 for what it does not know, such as the earnings of a fund. What cannot be
    negative and is, is not known either."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and value.is_finite() and (value > 0 or (value < 0 and name in SIGNED))
    }


def complete(asset_type: str, known: Mapping[str, Decimal]) -> dict[str, Decimal | None]:
    """Every name there is for that kind of instrument, None for what is not known."""
    return {name: known.get(name) for name in (COIN if asset_type == "crypto" else COMPANY)}
