"""What a collector that is away costs: tasks per second ÷ those with the collector there, memory, time to stop.

`python -m benchmarks.collector_away [--protocol http/protobuf|grpc] [--tasks N] [--rounds N]` starts three workers as
production starts them: one exports to a collector, one to a port where nobody listens, one to a server that takes the
connection and never answers. They take turns at a queue that was filled before; the ratios are the medians of the
rounds. Then the two without a collector go on until what they have in memory to export has been thrown away several
times over, and all are stopped as a supervisor stops them.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rounds import Course, Worker, course
from benchmarks.servers import READY_SECONDS
from sandbox.black_hole import BlackHole
from sandbox.client import announced_url
from sandbox.local.server import free_port
from sandbox.processes import ProcessFailed

PROTOCOLS = ("http/protobuf", "grpc")
TARGET = 0.95
GROWTH_MIB = 16.0
STOP_SECONDS = 10.0
BODY = "bench.query"
# a task of it makes 3 spans and a log record, and 2048 of each are kept: 683 tasks fill the queue of spans, 2048 that
# of the logs
FILL_TASKS = 2_200


@dataclass(frozen=True, slots=True)
class Result:
    """One worker without a collector beside the one that has it; `before` and `after` are resident MiB."""

    protocol: str
    collector: str
    speeds: Sequence[float]
    with_collector: Sequence[float]
    before: float
    after: float
    stopped_within: float

    @property
    def ratio(self) -> float:
        return median(one / other for one, other in zip(self.speeds, self.with_collector, strict=True))

    @property
    def good(self) -> bool:
        grown = self.after - self.before
        return self.ratio >= TARGET and grown <= GROWTH_MIB and self.stopped_within <= STOP_SECONDS

    def __str__(self) -> str:
        return (
            f"protocol={self.protocol} collector={self.collector} ratio={self.ratio:.3f} "
            f"rss_growth={self.after - self.before:+.1f}MiB stop={self.stopped_within:.1f}s\n"
            f"  {median(self.speeds):.0f}/s against {median(self.with_collector):.0f}/s, resident {self.before:.0f} -> "
            f"{self.after:.0f} MiB "
            f"(targets: ratio >= {TARGET}, growth <= {GROWTH_MIB:g} MiB, stop <= {STOP_SECONDS:g} s)"
        )


def settings(protocol: str, endpoint: str) -> Mapping[str, str]:
    """Telemetry as production configures it, to this collector."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        # more often than the minute of the SDK, so that a short run exports metrics too
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        "PROMETHEUS_PORT": str(free_port()),
    }


def stop(worker: Worker) -> float:
    """Stop the worker as a supervisor does; seconds until it has ended."""
    started = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    # the child is ours and nobody reaps it meanwhile
    while not _has_ended(worker.pid):
        if time.monotonic() - started > 6 * STOP_SECONDS:
            break
        time.sleep(0.02)
    return time.monotonic() - started


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def measure(track: Course, protocol: str, hole: BlackHole, options: argparse.Namespace) -> list[Result]:
    """Both kinds of being away, by one protocol."""
    endpoint = f"{track.sandbox_url}/otlp"
    if protocol == "grpc":
        track.group.start("collector", [sys.executable, "-m", "sandbox.otlp_grpc"], env=track.env)
        endpoint = track.group.wait_for_line("collector", announced_url, READY_SECONDS)
    endpoints = {"up": endpoint, "refused": f"http://127.0.0.1:{free_port()}", "hanging": hole.url}
    # a queue for each, because each answers for its own
    workers = {
        name: track.start_worker(f"{name}-{protocol[:4]}", "benchmarks.measured_app", queue, settings(protocol, url))
        for (name, url), queue in zip(endpoints.items(), ("upbit", "kis", "yfinance"), strict=True)
    }
    speeds: dict[str, list[float]] = {name: [] for name in workers}
    for worker in workers.values():
        track.run(worker, BODY, options.fill)
    for number in range(options.rounds):
        for name in sorted(workers, reverse=bool(number % 2)):
            speeds[name].append(track.run(workers[name], BODY, options.tasks).speed)
    away = [name for name in workers if name != "up"]
    before = {name: workers[name].resident_mib for name in away}
    for _ in range(options.memory_rounds):
        for name in away:
            track.run(workers[name], BODY, options.fill)
    after = {name: workers[name].resident_mib for name in away}
    stopped = {name: stop(worker) for name, worker in workers.items()}
    return [
        Result(protocol, name, speeds[name], speeds["up"], before[name], after[name], stopped[name]) for name in away
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collector_away", description=__doc__)
    parser.add_argument("--protocol", choices=PROTOCOLS, help="only this one")
    parser.add_argument("--tasks", type=int, default=500, help="tasks of a worker in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fill", type=int, default=FILL_TASKS, help="tasks that fill what is kept to be exported")
    parser.add_argument("--memory-rounds", type=int, default=4, help="how many times it is filled again")
    options = parser.parse_args(arguments)
    results = []
    for protocol in [options.protocol] if options.protocol else PROTOCOLS:
        try:
            with course() as track, BlackHole() as hole:
                results += measure(track, protocol, hole, options)
        except ProcessFailed as error:
            sys.stderr.write(f"collector_away: {error}\n")
            return 1
        for result in results[-2:]:
            sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
