"""How close a whole sweep of Upbit comes to what the venue's rate limits allow.

`python -m benchmarks.sweep [--symbols N] [--workers 1|2]` starts Redis, PostgreSQL, the sandbox with enforced limits
and N simulated symbols, and one or two workers as production starts them, and publishes one sweep on paper. It
measures the seconds from the first to the last request that reached the venue, and counts there how many the sweep
made in each group of the limits. The floor is the slowest group's: (requests - burst) / rate.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.limits import TARGET
from benchmarks.servers import READY_SECONDS, Servers, cpu_seconds, servers
from sandbox.candles import COLUMNS
from sandbox.limits import BLOCKED, TOO_MANY_REQUESTS, UPBIT_GROUPS
from sandbox.local.server import free_port
from sandbox.processes import ProcessFailed
from sandbox.simulated import walk
from trading.types import Candle

SEED = 7
# a sweep that takes this much longer than its symbols could need is not measured but stuck
PATIENCE_SECONDS = 60.0
SECONDS_PER_SYMBOL = 1.0
# from a coin of a fraction of a won to one of a hundred million, so that every step of the tick table is met
LEVELS = (0.05, 0.8, 7, 60, 400, 3_000, 8_000, 40_000, 90_000, 300_000, 900_000, 5_000_000, 130_000_000)


@dataclass(frozen=True, slots=True)
class Result:
    """One sweep. `requests` are those that reached the venue, by group of its limits; `throttled` the 429 and 418
    it answered; `done` and `failed` are symbols; `cpu_ms` is the workers' processor time per symbol."""

    symbols: int
    workers: int
    seconds: float
    requests: Mapping[str, int]
    throttled: int
    done: int
    failed: int
    cpu_ms: float

    @property
    def floor(self) -> float:
        """Seconds that the limits make of these requests at least."""
        return max((_floor(group, count) for group, count in self.requests.items()), default=0.0)

    @property
    def ratio(self) -> float:
        return self.seconds / self.floor if self.floor else 0.0

    @property
    def good(self) -> bool:
        return self.ratio <= TARGET and self.throttled == 0 and self.done == self.symbols

    def __str__(self) -> str:
        counts = " ".join(f"{group}={count}" for group, count in sorted(self.requests.items()))
        return (
            f"symbols={self.symbols} workers={self.workers} seconds={self.seconds:.2f} floor={self.floor:.2f} "
            f"ratio={self.ratio:.3f} throttled={self.throttled}\n"
            f"  done={self.done} failed={self.failed} requests: {counts} (target: ratio <= {TARGET})"
        )


def _floor(group: str, count: int) -> float:
    burst, seconds, _ = UPBIT_GROUPS[group]
    return max(0.0, (count - burst) * seconds / burst)


def names(count: int) -> list[str]:
    """The symbols of the simulated venue."""
    return [f"KRW-S{number:03}" for number in range(1, count + 1)]


def write_candles(directory: Path, symbols: Sequence[str]) -> None:
    """Days and hours of every symbol, in the form that the sandbox serves as recorded."""
    folder = directory / "upbit"
    folder.mkdir(parents=True)
    today = datetime.now(UTC).date()
    for number, symbol in enumerate(symbols):
        level = LEVELS[number % len(LEVELS)]
        series = walk("upbit", symbol, SEED, today, level, 0.03, 1e11 / level)
        _write(folder / f"{symbol}.1d.csv", series.daily)
        _write(folder / f"{symbol}.60m.csv", series.hourly)


def _write(path: Path, candles: Sequence[Candle]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for candle in candles:
            prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
            rows.writerow([f"{candle.time:%Y-%m-%dT%H:%M:%SZ}", *(f"{value:f}" for value in prices)])


@dataclass(frozen=True, slots=True)
class System:
    """What a sweep runs on: the servers, the environment of its workers, and their processes."""

    servers: Servers
    env: Mapping[str, str]
    workers: Sequence[int]

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the workers so far."""
        return sum(cpu_seconds(pid) for pid in self.workers)

    @property
    def database_url(self) -> str:
        return self.env["DATABASE_URL"].replace("+asyncpg", "")


@contextmanager
def running(symbols: Sequence[str], workers: int, app: str, exporting: bool) -> Iterator[System]:
    """Everything started, its workers of `app` waiting for the sweep; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="autotrader-candles-") as candles:
        write_candles(Path(candles), symbols)
        with servers("sweep", "--enforce-limits", "--candles", candles) as started:
            env = {"UPBIT_SYMBOLS": ",".join(symbols), "LOG_FORMAT": "json" if exporting else "console"}
            if exporting:
                env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"{started.sandbox_url}/otlp"
            pids = []
            for number in range(1, workers + 1):
                port = {"PROMETHEUS_PORT": str(free_port())} if exporting else {}
                pids.append(started.start_worker(f"upbit{number}", app, "upbit", {**env, **port}))
            yield System(started, {**started.env, **env}, pids)


def measure(count: int, workers: int, *, app: str = "tasks", exporting: bool = False) -> Result:
    """One sweep of `count` symbols by `workers` processes of the Celery app `app`, which export to the sandbox's
    collector and serve Prometheus text if they are `exporting`.

    Raises `ProcessFailed` if it does not come to its end.
    """
    with running(names(count), workers, app, exporting) as system:
        group, sandbox = system.servers.group, system.servers.sandbox
        sandbox.delete("state")
        cpu = system.cpu_seconds
        publish = [sys.executable, "-m", "celery", "-A", "tasks", "call", "tasks.analysis.sweep"]
        publish += ["--args", '["upbit"]', "--queue", "upbit"]
        group.run("publish", publish, env=system.env, cwd=system.servers.directory, seconds=READY_SECONDS)
        states = _wait_for_the_end(system, PATIENCE_SECONDS + SECONDS_PER_SYMBOL * count)
        cpu = system.cpu_seconds - cpu
        asked = [row for row in sandbox.get("requests") if row["service"] == "upbit"]
        limits = sandbox.get("summary")["limits"]
    times = [row["at"] for row in asked]
    return Result(
        symbols=count,
        workers=workers,
        seconds=max(times) - min(times) if times else 0.0,
        requests={
            name.removeprefix("upbit/"): counts["served"] + counts["refused"]
            for name, counts in limits.items()
            if name.startswith("upbit/")
        },
        throttled=sum(row["status"] in (TOO_MANY_REQUESTS, BLOCKED) for row in asked),
        done=states["done"],
        failed=states["failed"],
        cpu_ms=cpu / count * 1e3,
    )


def _wait_for_the_end(system: System, seconds: float) -> Counter[str]:
    """How many symbols ended in which state, once the run has ended."""
    deadline = time.monotonic() + seconds
    while not _rows(system, "SELECT 1 FROM runs WHERE status = 'finished'"):
        system.servers.group.check()
        if time.monotonic() > deadline:
            left = _rows(system, "SELECT count(*) AS n FROM run_symbols WHERE state NOT IN ('done', 'failed')")
            raise ProcessFailed(f"the sweep did not end within {seconds:g} s; {left[0]['n']} symbols are left")
        time.sleep(0.2)
    rows = _rows(system, "SELECT state, count(*) AS n FROM run_symbols GROUP BY state")
    return Counter({row["state"]: row["n"] for row in rows})


def _rows(system: System, query: str) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(system.database_url)
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a sweep misses the target, was throttled or did not do all of its symbols."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument(
        "--symbols", type=_count, default=200, help="200 take about 41 s per run, as the limits have it"
    )
    parser.add_argument("--workers", type=int, choices=(1, 2), help="only this many; both by default")
    options = parser.parse_args(arguments)
    results = []
    for workers in [options.workers] if options.workers else [1, 2]:
        try:
            results.append(measure(options.symbols, workers))
        except ProcessFailed as error:
            sys.stderr.write(f"sweep: {error}\n")
            return 1
        sys.stdout.write(f"{results[-1]}\n")
        sys.stdout.flush()
    return 0 if all(result.good for result in results) else 1


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 999:
        raise argparse.ArgumentTypeError(f"{count} symbols: use 1 to 999")
    return count


if __name__ == "__main__":
    sys.exit(main())
