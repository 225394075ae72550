"""What telemetry costs: tasks per second with all of it ÷ without, the same pool, broker and task.

`python -m benchmarks.telemetry_overhead [--tasks N] [--rounds N]` starts Redis, PostgreSQL and the sandbox's collector,
and two workers with 8 threads each: ours as production starts it (traces, metrics and logs exported over OTLP,
Prometheus text, logs of INFO as JSON, events on, secrets redacted), and bare Celery with the delivery and the event
loop of ours but none of that (`benchmarks.bare_app`). In both Python's search for cycles passes over what was there at
their start (`telemetry.process.settle_memory`), so that what this gains is not taken for cheap telemetry. They take
turns at a queue that was filled before; the ratio of a body is the median of its rounds.

The bodies, and what each says:
  sweep  the real thing: a sweep of Upbit by our own tasks (`benchmarks.sweep`), as fast as the venue's limits let it,
         by a worker with all telemetry and by the same app without any (`benchmarks.silent_app`). The promise is for
         this one, and is the overall ratio: what telemetry takes must not make the product slower. The processor time
         that it takes is printed beside it.
  venue  waits 0.1 s, then asks PostgreSQL and Redis; this and the next two are `benchmarks.bodies`, against bare
         Celery. At 8 threads it is most of what one Python process can do, and processor time counts. Reported, not
         promised.
  query  asks PostgreSQL and Redis, and waits for nothing else: the pool is never idle, and what is measured is
         processor time against processor time. Reported, not promised.
  empty  does nothing at all: the worst case. Reported, not promised.

`benchmarks.telemetry_parts` prints what the processor time goes to, and says why the others stay below 0.90.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import sweep
from benchmarks.rounds import Course, Round, Worker, course
from sandbox.local.server import free_port
from sandbox.processes import ProcessFailed

TARGET = 0.90
PROMISED = "sweep"
BODIES = (PROMISED, "venue", "query", "empty")
SILENT_APP = "benchmarks.silent_app"


@dataclass(frozen=True, slots=True)
class Result:
    """The rounds of both workers with one body."""

    body: str
    ours: Sequence[Round]
    bare: Sequence[Round]

    @property
    def ratios(self) -> list[float]:
        return [one.speed / other.speed for one, other in zip(self.ours, self.bare, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    def __str__(self) -> str:
        (our_speed, our_cpu), (bare_speed, bare_cpu) = _medians(self.ours), _medians(self.bare)
        return (
            f"body={self.body} ratio={self.ratio:.3f} telemetry={our_speed:.1f}/s without={bare_speed:.1f}/s\n"
            f"  processor time of a task: {our_cpu:.0f} us, without {bare_cpu:.0f} us, ratio {bare_cpu / our_cpu:.3f}; "
            f"rounds: {' '.join(f'{ratio:.3f}' for ratio in self.ratios)}"
        )


def _medians(rounds: Sequence[Round]) -> tuple[float, float]:
    return median(one.speed for one in rounds), median(one.cpu_us for one in rounds)


def telemetry(course: Course) -> Mapping[str, str]:
    """All telemetry, as production configures it."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{course.sandbox_url}/otlp",
        "PROMETHEUS_PORT": str(free_port()),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
    }


def measure_sweeps(symbols: int, rounds: int) -> Result:
    """Let sweeps with and without telemetry take turns. Raises `ProcessFailed` where a symbol was not done."""
    taken: dict[bool, list[Round]] = {True: [], False: []}
    for number in range(rounds):
        for loud in (True, False) if number % 2 else (False, True):
            done = sweep.measure(symbols, 1, app="tasks" if loud else SILENT_APP, exporting=loud)
            if done.done < symbols or done.throttled:
                raise ProcessFailed(f"a sweep is not whole: {done}")
            taken[loud].append(Round(symbols / done.seconds, done.cpu_ms * 1e3))
    return Result(PROMISED, taken[True], taken[False])


def measure(course: Course, ours: Worker, bare: Worker, body: str, tasks: int, rounds: int) -> Result:
    """Let the two take turns; who goes first alternates."""
    taken: dict[str, list[Round]] = {ours.name: [], bare.name: []}
    for number in range(rounds + 1):
        for worker in (ours, bare) if number % 2 else (bare, ours):
            turn = course.run(worker, f"bench.{body}", tasks)
            # the first round fills pools and caches
            if number:
                taken[worker.name].append(turn)
    return Result(body, taken[ours.name], taken[bare.name])


def said(result: Result) -> Result:
    """The result, printed as soon as it is there."""
    sys.stdout.write(f"{result}\n")
    sys.stdout.flush()
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if the ratio of the promised body misses the target."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.telemetry_overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=int, default=500, help="tasks of a worker in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--symbols", type=int, default=60, help="symbols of a sweep")
    parser.add_argument("--sweeps", type=int, default=3, help="sweeps of each kind")
    parser.add_argument("--body", choices=BODIES, help="only this body")
    options = parser.parse_args(arguments)
    results = []
    bodies = [options.body] if options.body else list(BODIES)
    try:
        if PROMISED in bodies:
            bodies.remove(PROMISED)
            results.append(said(measure_sweeps(options.symbols, options.sweeps)))
        if bodies:
            with course() as track:
                ours = track.start_worker("ours", "benchmarks.measured_app", "upbit", telemetry(track))
                bare = track.start_worker("bare", "benchmarks.bare_app", "bare", {})
                results += [said(measure(track, ours, bare, body, options.tasks, options.rounds)) for body in bodies]
    except ProcessFailed as error:
        sys.stderr.write(f"telemetry_overhead: {error}\n")
        return 1
    overall = [result.ratio for result in results if result.body == PROMISED]
    for ratio in overall:
        sys.stdout.write(f"overall ratio={ratio:.3f} (body {PROMISED}; target >= {TARGET})\n")
    return 0 if all(ratio >= TARGET for ratio in overall) else 1


if __name__ == "__main__":
    sys.exit(main())
