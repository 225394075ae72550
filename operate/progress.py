"""How far a run is: its symbols' rows say what has ended, and Celery what the others are at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from storage import reading


@dataclass(frozen=True, slots=True)
class SymbolProgress:
    """One symbol of a run. `state` is pending (nobody has begun), running, done or failed; `percent` and `step` are
    what its task told while it ran, `outcome` and `error` are how it ended."""

    symbol: str
    task_id: str
    state: str
    percent: int = 0
    step: str = ""
    outcome: str = ""
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run and its symbols in alphabetical order."""

    run_id: UUID
    market: str
    status: str
    symbols: tuple[SymbolProgress, ...]

    @property
    def running(self) -> list[SymbolProgress]:
        return self._in("running")

    @property
    def failed(self) -> list[SymbolProgress]:
        return self._in("failed")

    @property
    def percent(self) -> int:
        """Of all symbols, how many have come to an end, in 100."""
        ended = sum(symbol.ended for symbol in self.symbols)
        return 100 * ended // len(self.symbols) if self.symbols else 100

    @property
    def ended(self) -> bool:
        return all(symbol.ended for symbol in self.symbols)

    def _in(self, state: str) -> list[SymbolProgress]:
        return [symbol for symbol in self.symbols if symbol.state == state]


async def run_progress(engine: AsyncEngine, run_id: UUID) -> RunProgress | None:
    """How far the run is, or None where there is none. Raises what database and result backend raise."""
    run = await reading.run(engine, run_id)
    if run is None:
        return None
    symbols = await _symbols(run_id, await reading.symbols_of(engine, run_id))
    return RunProgress(run_id, run["market"], run["status"], symbols)


async def _symbols(run_id: UUID, rows: Sequence[reading.Row]) -> tuple[SymbolProgress, ...]:
    from tasks import standing
    from tasks.analysis import task_id_of

    ids = {row["symbol"]: task_id_of(run_id, row["symbol"]) for row in rows}
    asked = await standing.of(ids[row["symbol"]] for row in rows if row["state"] == "pending")
    return tuple(_symbol(row, ids[row["symbol"]], asked.get(ids[row["symbol"]])) for row in rows)


def _symbol(row: Mapping[str, Any], task_id: str, told: Any) -> SymbolProgress:
    if told is not None and told.running:
        return SymbolProgress(row["symbol"], task_id, "running", told.percent, told.step)
    percent = 0 if row["state"] == "pending" else 100
    return SymbolProgress(
        row["symbol"], task_id, row["state"], percent, outcome=row["outcome"] or "", error=row["error"] or ""
    )
