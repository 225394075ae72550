"""What the sandbox says of companies: invented, of a likely size, and no accounts of anybody.

A symbol that is not here has none, as a fund has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal


@dataclass(frozen=True, slots=True)
class Company:
    """Shares in the market, earnings and book value per share in the currency of the market."""

    shares: int
    eps: Decimal
    bps: Decimal

    def value(self, price: Decimal) -> Decimal:
        """What all shares are worth at `price`."""
        return self.shares * price

    def per(self, price: Decimal) -> Decimal:
        """Price to a year's earnings."""
        return _cents(price / self.eps)

    def pbr(self, price: Decimal) -> Decimal:
        """Price to book value."""
        return _cents(price / self.bps)


KIS = {
    "005930": Company(5_900_000_000, Decimal(5000), Decimal(58000)),
    "000660": Company(728_000_000, Decimal(27000), Decimal(107000)),
    "035420": Company(158_000_000, Decimal(12000), Decimal(165000)),
    "035720": Company(442_000_000, Decimal(450), Decimal(23000)),
}
YAHOO = {
    "AAPL": Company(14_900_000_000, Decimal("6.5"), Decimal("4.4")),
    "MSFT": Company(7_400_000_000, Decimal("13.5"), Decimal("46.0")),
    "NVDA": Company(24_400_000_000, Decimal("3.1"), Decimal("3.4")),
    "TSLA": Company(3_220_000_000, Decimal("1.8"), Decimal("23.1")),
}


def _cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)
