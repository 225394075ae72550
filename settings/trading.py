from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from settings.declaring import BEAT, EVERY, TRADING, WORKER, Listed, setting, split
from settings.markets import check_market


class TradingSettings(BaseModel):
    """What is traded"""

    model_config = ConfigDict(defer_build=True)

    trading_mode: Literal["paper", "live"] = setting(
        "paper",
        "paper: simulated fills at real quotes. live: real money in the markets whose account is named below, once "
        "each is armed with `autotrader arm MARKET --for 8h`; the others stay on paper. A database is never shared by "
        "the two.",
        by=TRADING,
    )
    upbit_symbols: Listed = setting(
        ("KRW-BTC", "KRW-ETH"),
        "The coins, by the names of Upbit's KRW market. Empty = none.",
        by=EVERY,
    )
    kis_symbols: Listed = setting(
        ("005930", "000660"),
        "The Korean stocks, by their six digits. Empty = none.",
        by=EVERY,
    )
    yfinance_symbols: Listed = setting(
        ("AAPL", "MSFT"),
        "The US stocks, by their tickers. Empty = none.",
        by=EVERY,
    )
    upbit_sweep_minutes: int = setting(
        60,
        "Minutes between two sweeps of Upbit. 0 = only at start.",
        by=EVERY,
        ge=0,
        le=1440,
    )
    kis_sweep_minutes: int = setting(
        30,
        "Minutes between two sweeps of Korean stocks. 0 = only at start.",
        by=EVERY,
        ge=0,
        le=1440,
    )
    yfinance_sweep_minutes: int = setting(
        30,
        "Minutes between two sweeps of US stocks. 0 = only at start.",
        by=EVERY,
        ge=0,
        le=1440,
    )
    sweep_at_start: bool = setting(True, "Whether the beat sweeps each market when it starts.", by=BEAT)
    guard_seconds: int = setting(
        10,
        "Seconds between two looks at the positions, for stops and targets.",
        by=BEAT,
        ge=1,
        le=600,
    )
    resolve_seconds: int = setting(
        5,
        "Seconds between two looks at the orders that are unproven or rest.",
        by=BEAT,
        ge=1,
        le=600,
    )
    ignore_market_hours: bool = setting(
        False,
        "Analyse also while a market is closed. Paper only: live trading refuses to start with it.",
        by=TRADING,
    )

    @field_validator("upbit_symbols", "kis_symbols", "yfinance_symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        return split(value)

    def symbols(self, market: str) -> tuple[str, ...]:
        """The enabled symbols of a market. Raises `UnknownMarket`."""
        check_market(market)
        symbols: tuple[str, ...] = getattr(self, f"{market}_symbols")
        return symbols

    def sweep_minutes(self, market: str) -> int:
        """Minutes between two sweeps; 0 means the beat never fires one. Raises `UnknownMarket`."""
        check_market(market)
        minutes: int = getattr(self, f"{market}_sweep_minutes")
        return minutes


class AmountSettings(BaseModel):
    """How much of it"""

    model_config = ConfigDict(defer_build=True)

    strategy_profile: str = setting(
        "base",
        "The limits, stops and ladders to start from.",
        by=TRADING,
        form="base, conservative or aggressive",
    )
    strategy_file: str = setting(
        "",
        "A JSON file that replaces some of them, for all symbols or for one. Empty = none.",
        by=TRADING,
        form="/etc/autotrader/strategy.json",
    )
    min_confidence: int = setting(
        55,
        "Analyses below this confidence are not traded on, where the strategy file does not say otherwise.",
        by=TRADING,
        ge=0,
        le=100,
    )
    order_value_krw: Decimal = setting(
        Decimal(300_000),
        "What each buy order of a ladder is worth in KRW, its fee included, where the strategy file does not say "
        "otherwise.",
        by=TRADING,
        gt=0,
    )
    order_value_usd: Decimal = setting(Decimal(1_000), "The same in USD.", by=TRADING, gt=0)
    paper_cash_krw: Decimal = setting(
        Decimal(10_000_000),
        "What a new paper account holds in KRW, per market. A later change does not touch an account that exists.",
        by=WORKER,
        ge=0,
    )
    paper_cash_usd: Decimal = setting(Decimal(10_000), "The same in USD.", by=WORKER, ge=0)

    def order_value(self, currency: str) -> Decimal:
        """How much one order is worth, in that currency."""
        return self.order_value_usd if currency == "USD" else self.order_value_krw

    def paper_cash(self, currency: str) -> Decimal:
        """What a new paper account holds, in that currency."""
        return self.paper_cash_usd if currency == "USD" else self.paper_cash_krw
