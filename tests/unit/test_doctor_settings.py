"""What the doctor says of settings that are allowed and will not do."""

from __future__ import annotations

import pytest

from doctor.setup import configuration
from settings import Settings


@pytest.mark.parametrize(
    ("symbols", "concurrency", "told"),
    [(6, 8, ""), (7, 8, "set WORKER_CONCURRENCY=9"), (100, 8, "set WORKER_CONCURRENCY=64"), (100, 64, "")],
)
def test_too_few_slots_for_a_sweep_and_the_guard_are_told(symbols: int, concurrency: int, told: str) -> None:
    names = ",".join(f"KRW-S{number}" for number in range(symbols))
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None, upbit_symbols=names, kis_symbols="", yfinance_symbols="", worker_concurrency=concurrency
    )
    found = [str(one) for one in configuration(settings) if one.name == "worker upbit"]
    assert len(found) == bool(told)
    assert told in "".join(found)
