"""The analyst of a worker judges by the thresholds of the strategy file."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sandbox.simulated import walk
from settings import Settings
from tasks.analysts import Material, judge
from trading import indicators
from trading.types import Analysis, Decision, Instrument, Position, Quote

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
COIN = Instrument(
    "upbit", "KRW-BTC", "비트코인", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)


def material(seed: int) -> Material:
    series = walk("upbit", "KRW-BTC", seed, NOW.date(), 100_000_000, 0.03, 1e3)
    price = series.daily[-1].close
    quote = Quote("KRW-BTC", price, price - 1000, price + 1000, Decimal(1000), NOW)
    return Material(
        COIN, series.daily, series.hourly, quote, indicators.compute(series.daily), Position(Decimal(0), Decimal(0))
    )


async def judged(seed: int, **values: Any) -> Analysis:
    runtime: Any = SimpleNamespace(settings=Settings(_env_file=None, **values))  # type: ignore[call-arg]
    return (await judge(runtime, uuid.uuid4(), material(seed))).analysis


async def test_a_threshold_of_the_file_refuses_what_the_usual_one_lets_pass(tmp_path: Path) -> None:
    file = tmp_path / "strategy.json"
    file.write_text(json.dumps({"all": {"checks": {"near": "0.000001"}}}), encoding="utf-8")
    decided = [seed for seed in range(40) if (await judged(seed)).decision is not Decision.HOLD]
    assert decided
    for seed in decided:
        strict = await judged(seed, strategy_file=str(file))
        assert (strict.decision, strict.rejected_by) == (Decision.HOLD, "price_distance")
