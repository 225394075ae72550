"""`python -m sandbox.faultmatrix`: every fault is told of at Telegram, and nothing else is; or exit 1."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from sandbox.client import SandboxError
from sandbox.faultmatrix import panels
from sandbox.faultmatrix.fault import Fault
from sandbox.faultmatrix.faults import FAULTS
from sandbox.faultmatrix.house import FACTORS, READ_TOKEN, SHORTENED, House
from sandbox.faultmatrix.injuries import api_traffic
from sandbox.faultmatrix.matrix import QUIET_SECONDS, Row, quiet, run
from sandbox.faultmatrix.programs import MissingProgram, find
from sandbox.faultmatrix.report import as_json, panel_lines, table
from sandbox.local import LocalServerError
from sandbox.processes import ProcessFailed

PASSED, FAILED, INTERRUPTED = 0, 1, 130
# from the start: two sweeps
PANEL_SECONDS = 200.0
TRAFFIC_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix and return the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        for fault in FAULTS.values():
            sys.stdout.write(f"{fault.name:<24}{'quick  ' if fault.quick else '       '}{fault.what}\n")
        return PASSED
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    try:
        chosen = _chosen(options.only, options.quick)
        with House(find(), FACTORS, options.logs) as house:
            return _matrix(house, chosen, options, started)
    except (MissingProgram, LocalServerError, ProcessFailed, SandboxError) as error:
        sys.stderr.write(f"fault-matrix: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("fault-matrix: interrupted; everything is stopped\n")
        return INTERRUPTED


def _matrix(house: House, chosen: Sequence[Fault], options: argparse.Namespace, started: float) -> int:
    _tell(f"everything runs after {time.monotonic() - started:.0f} s; the logs are in {house.logs}")
    _tell("waiting is made shorter by " + " ".join(f"{name}={value}" for name, value in SHORTENED.items()))
    _tell("and durations of rules by " + " ".join(f"{name}={value:g}" for name, value in FACTORS.items()))
    loud = quiet(house, options.quiet)
    _tell(f"healthy for {options.quiet:g} s: " + ("nothing was told" if not loud else f"TOLD: {'; '.join(loud)}"))
    rows: list[Row] = []
    for fault in chosen:
        _tell(f"{fault.name}: {fault.what}")
        rows.append(run(house, fault, _tell))
        _tell(f"  {'as it must be' if rows[-1].passed else 'FAILED'}")
    shown = _panels(house, started) if options.panels else None
    seconds = time.monotonic() - started
    if options.json:
        sys.stdout.write(as_json(rows, loud, shown, seconds) + "\n")
    else:
        for line in (*table(rows), *panel_lines(shown)):
            sys.stdout.write(line + "\n")
    failed = [row.fault for row in rows if not row.passed]
    verdict = f"faults={len(rows)} detected={sum(bool(row.seen) for row in rows)} failed={len(failed)}"
    _tell(f"{verdict} quiet={'no' if loud else 'yes'} seconds={seconds:.0f}")
    return FAILED if failed or loud or (shown is not None and shown.empty) else PASSED


def _panels(house: House, started: float) -> panels.Panels:
    _tell("asking every query of the dashboards, once each panel had time to have data")
    house.wait(lambda: time.monotonic() - started > PANEL_SECONDS, PANEL_SECONDS)
    # the panel of the API shows the requests of the last minutes, and nobody else makes any
    with api_traffic(f"{house.api_url}/analysis-results/", READ_TOKEN, clients=1):
        house.wait(lambda: False, TRAFFIC_SECONDS)
        return panels.evaluate(house.monitoring)


def _chosen(only: Sequence[str], quick: bool) -> list[Fault]:
    if only:
        return [FAULTS[name] for name in only]
    return [fault for fault in FAULTS.values() if fault.quick or not quick]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.faultmatrix", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(FAULTS), metavar="NAME", help="one fault; repeatable")
    parser.add_argument("--quick", action="store_true", help="the few faults that the tests run")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout; progress is on stderr")
    parser.add_argument("--panels", action="store_true", help="also evaluate every query of the Grafana dashboards")
    parser.add_argument("--quiet", type=float, default=QUIET_SECONDS, metavar="S", help="seconds to watch it healthy")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the logs there; they are removed otherwise")
    return parser


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _interrupt(*_: int | FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
