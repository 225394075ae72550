"""`python -m sandbox.chaos --runs N --seed S`: no fault doubles or loses an order, or exit code 1 with the evidence."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import asyncpg
from redis.exceptions import RedisError

from sandbox.chaos.check import Evidence, Finding, check
from sandbox.chaos.drive import Driver
from sandbox.chaos.evidence import gather, order_story, published_again, run_outcomes
from sandbox.chaos.house import READY_SECONDS, VISIBILITY, House, Mode
from sandbox.chaos.plan import PAPER_FAULTS, WEIGHTS, PlannedRun, make_plan
from sandbox.chaos.report import MOST_SHOWN, fault_table, findings_text, orders_table, verdict
from sandbox.client import SandboxError
from sandbox.local import LocalServerError
from sandbox.processes import ProcessFailed

# of each market: as many runs at a time, and each has so many runs one after the other
MOST_SYMBOLS = 20
RUNS_PER_SYMBOL = 4
# after the last run: an order is called absent after half a minute, and a killed task comes back after the time-out
SETTLE_SECONDS = 90.0 + 2 * VISIBILITY
LOOK_SECONDS = 3.0
FEWEST_ORDERS = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chaos and return the exit code: 0 where nothing was doubled, lost or left open, and orders did flow."""
    options = _parser().parse_args(arguments)
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    count = options.symbols or max(2, min(MOST_SYMBOLS, options.runs // (2 * RUNS_PER_SYMBOL)))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with House(options.mode, count, options.logs) as house:
            faults = tuple(WEIGHTS) if options.mode == "live" else PAPER_FAULTS
            plan = make_plan(seed, options.runs, house.symbols, faults)
            return asyncio.run(_run(house, plan, seed, options.minutes * 60.0))
    except (LocalServerError, ProcessFailed, SandboxError) as error:
        sys.stderr.write(f"chaos: {error}\n")
        return 1


async def _run(house: House, plan: Sequence[PlannedRun], seed: int, seconds: float) -> int:
    started = time.monotonic()
    _say(f"seed={seed} mode={house.mode} runs={len(plan)} symbols={2 * house.count} logs={house.logs}")
    await _ready(house)
    async with Driver(house, _say) as driver:
        await driver.work_off(plan, started + seconds)
        evidence, findings = await _settled(house, driver)
    outcomes = await run_outcomes(house)
    stories = {
        finding.order_id: await order_story(house, finding.order_id)
        for finding in findings[:MOST_SHOWN]
        if finding.order_id
    }
    pending = {run.run_id for run in evidence.runs if run.state == "pending"}
    orders, runs = len(evidence.venue), sum(record.run_id not in pending for record in driver.records)
    lines = [*fault_table(driver.records, outcomes), *orders_table(evidence)]
    deaths = sum(worker.deaths for worker in house.workers.values())
    starts = sum(worker.starts for worker in house.workers.values())
    lines.append(f"workers: {starts} starts, {deaths} ended by themselves")
    lines.append(f"analyses whose message was gone and was published again: {published_again(house)}")
    lines.append(f"seed={seed} orders={orders} seconds={time.monotonic() - started:.0f}")
    lines += findings_text(findings, driver.records, stories)
    few = orders < FEWEST_ORDERS * len(plan)
    if few:
        lines.append(f"only {orders} orders reached the venues, at least {FEWEST_ORDERS:.0%} of the runs are needed")
    if runs < len(plan):
        lines.append(f"only {runs} of {len(plan)} runs came to an end in time")
    for line in (*lines, verdict(findings, runs)):
        _say(line)
    return 1 if findings or few or runs < len(plan) else 0


async def _ready(house: House) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not house.ready():
        if time.monotonic() > deadline:
            raise ProcessFailed(f"the workers were not ready within {READY_SECONDS:g} s; see {house.logs}")
        await asyncio.sleep(0.2)


async def _settled(house: House, driver: Driver) -> tuple[Evidence, list[Finding]]:
    """Look until nothing is left to complain about twice in a row, or the time is over: then what is left counts."""
    deadline = time.monotonic() + SETTLE_SECONDS
    clean = 0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        driver.check_background()
        try:
            evidence = await gather(house)
        except (OSError, asyncpg.PostgresError, RedisError):
            if time.monotonic() > deadline:
                raise
            continue
        findings = check(evidence)
        clean = 0 if findings else clean + 1
        if clean == 2 or time.monotonic() > deadline:
            return evidence, findings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.chaos", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=1000, help="how many analyses, each with its fault")
    parser.add_argument("--seed", type=int, help="of the plan of faults; without it a new one, which is printed")
    parser.add_argument("--mode", choices=("live", "paper"), default="live", type=_mode)
    parser.add_argument("--symbols", type=_positive, help="of each market; by default a few runs for each")
    parser.add_argument("--minutes", type=float, default=30.0, help="no run is begun after that")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the logs there; they are removed otherwise")
    return parser


def _mode(text: str) -> Mode:
    return "paper" if text == "paper" else "live"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few: use 1 or more")
    return number


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _interrupt(*_: int | FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
