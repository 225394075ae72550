"""How close a sweep comes to what Upbit's rate limits allow, without a single refusal.

`python -m benchmarks.limits [--symbols N] [--processes 1|2]` starts a Redis and the sandbox with enforced limits, and
collects days, minutes, ticker and order book of N symbols with the real client from one and from two processes that
share the limits. The floor is the slowest group's: 2 candle requests per symbol at 10 a second. The sandbox lists
five markets, so the symbols repeat.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from sandbox.client import SandboxControl, announced_url
from sandbox.local import LocalRedis
from storage.redis import open_redis
from workers.errors import Throttled
from workers.http import open_session
from workers.limits import Limiter
from workers.upbit.client import UpbitClient

ROOT = Path(__file__).resolve().parents[1]
TARGET = 1.05
CANDLE_REQUESTS = 2
CANDLES_PER_SECOND = 10
# as many tasks at once as a worker runs, and as long as it waits at most
TASKS = 8
TIMEOUT_SECONDS = 10.0
# what was asked before falls out of every window
PAUSE_SECONDS = 2.5


@dataclass(frozen=True, slots=True)
class Result:
    """One run: seconds from the start to the last answer, requests refused, and the fullest window at the venue."""

    processes: int
    symbols: int
    seconds: float
    refused: int
    most: int

    @property
    def ratio(self) -> float:
        return self.seconds / (self.symbols * CANDLE_REQUESTS / CANDLES_PER_SECOND)

    @property
    def good(self) -> bool:
        return self.ratio <= TARGET and self.refused == 0

    def __str__(self) -> str:
        return (
            f"{self.processes} process{'es' if self.processes > 1 else ''}, {self.symbols} symbols: "
            f"{self.seconds:.2f} s, ratio {self.ratio:.3f} (target <= {TARGET}), {self.refused} refused, "
            f"at most {self.most} candle requests in any second"
        )


async def again(read: Callable[[], Awaitable[object]]) -> None:
    """Repeat what the venue refused for rate, so that a run is whole and its refusals are counted."""
    while True:
        try:
            await read()
        except Throttled:
            continue
        return


async def collect(redis_url: str, url: str, symbols: Sequence[str], barrier: Barrier | None) -> tuple[float, float]:
    """Collect everything of the symbols, `TASKS` at a time; when it started and ended, by the monotonic clock."""
    redis = open_redis(redis_url)
    http = open_session(TIMEOUT_SECONDS, limiter=Limiter(redis))
    client = UpbitClient(http, f"{url}/upbit")
    await redis.ping()
    waiting = iter(symbols)

    async def work() -> None:
        for symbol in waiting:
            await again(partial(client.candles_days, symbol, 200))
            await again(partial(client.candles_minutes, symbol, 60, 48))
            await again(partial(client.ticker, symbol))
            await again(partial(client.orderbook, symbol))

    if barrier is not None:
        barrier.wait()
    started = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(TASKS):
            tasks.create_task(work())
    ended = time.monotonic()
    await http.close()
    await redis.aclose()
    return started, ended


def _worker(
    redis_url: str, url: str, symbols: Sequence[str], barrier: Barrier, times: Queue[tuple[float, float]]
) -> None:
    times.put(asyncio.run(collect(redis_url, url, symbols, barrier)))


def measure(redis_url: str, url: str, symbols: int, processes: int) -> Result:
    """One run over `symbols` symbols, shared out among `processes` processes."""
    control = SandboxControl(url)
    names = list(islice(cycle(control.get("symbols")["upbit"]), symbols))
    time.sleep(PAUSE_SECONDS)
    control.delete("state")
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_worker, args=(redis_url, url, names[part::processes], barrier, times))
        for part in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("limits: a worker process failed; its error is above")
    spans = [times.get(timeout=5) for _ in workers]
    counts = control.get("summary")["limits"]
    return Result(
        processes=processes,
        symbols=symbols,
        seconds=max(ended for _, ended in spans) - min(started for started, _ in spans),
        refused=sum(group["refused"] for group in counts.values()),
        most=counts["upbit/candle"]["most"],
    )


@contextmanager
def enforcing_sandbox() -> Iterator[str]:
    """The sandbox as a process of its own, with its limits enforced; its URL."""
    command = [sys.executable, "-m", "sandbox", "--enforce-limits"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = announced_url(process.stdout.readline())
            if url is None:
                raise SystemExit("limits: the sandbox did not start; its error is above")
            yield url
        finally:
            process.terminate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a run misses the target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--symbols", type=int, default=60, help="60 takes about 12 s per run, 200 about 41 s")
    parser.add_argument("--processes", type=int, choices=(1, 2), help="only this many; both by default")
    options = parser.parse_args(arguments)
    with LocalRedis() as redis, enforcing_sandbox() as url:
        # the sandbox makes its candles at the first request for them
        asyncio.run(collect(redis.url, url, SandboxControl(url).get("symbols")["upbit"], None))
        results = []
        for processes in [options.processes] if options.processes else [1, 2]:
            results.append(measure(redis.url, url, options.symbols, processes))
            sys.stdout.write(f"{results[-1]}\n")
            sys.stdout.flush()
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
