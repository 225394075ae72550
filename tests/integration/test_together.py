"""The processes of `autotrader run`: one that ends is started again, and all are stopped in order, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0

# each member writes what happens to it into one file, as one line
SCRIPT = """
import os, signal, sys, time
from cli.together import Family, stages
from telemetry import starting

def say(*words):
    os.write(out, (" ".join(map(str, words)) + "\\n").encode())

def member(name):
    def run():
        say("start", name, os.getpid())
        starting.shift_prometheus_port(1)
        while True:
            try:
                time.sleep(60)
            except SystemExit:
                say("stop", name)
                raise
    return run

def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("start stubborn", os.getpid())
    time.sleep(600)

def broken():
    say("start broken", os.getpid())
    sys.exit("autotrader: a setting is wrong")

out = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
members = {name: member(name) for name in ("notifier", "worker-upbit", "beat")}
if "stubborn" in sys.argv:
    members["stubborn"] = stubborn
if "broken" in sys.argv:
    members["broken"] = broken
tell = lambda name, why: say("told", name, why)
Family(stages(members), 1.0 if "stubborn" in sys.argv else 30.0, tell).run()
say("all have ended")
"""


class Running:
    """The family, and what its members have written."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._file = directory / "said"
        self.process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(self._file), *options], cwd=ROOT)

    def said(self) -> list[str]:
        return self._file.read_text().splitlines() if self._file.exists() else []

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[2]) for line in self.said() if line.startswith(f"start {name} ")]

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}; said {self.said()}"
            time.sleep(0.05)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*options: str) -> Running:
        started.append(Running(tmp_path, *options))
        names = ("notifier", "worker-upbit", "beat", *options)
        started[-1].wait("the start", lambda: all(started[-1].pids(name) for name in names))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.wait(SECONDS)
        for pid in [int(line.split()[2]) for line in running.said() if line.startswith("start ")]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_process_is_started_again_and_the_others_are_left_alone(family: Callable[..., Running]) -> None:
    running = family()
    (before,) = running.pids("worker-upbit")
    os.kill(before, signal.SIGKILL)
    running.wait("the second start", lambda: len(running.pids("worker-upbit")) == 2)
    assert alive(running.pids("worker-upbit")[1])
    assert len(running.pids("beat")) == len(running.pids("notifier")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_beat_is_stopped_first_and_the_notifier_last(family: Callable[..., Running], number: int) -> None:
    running = family()
    running.process.send_signal(number)
    assert running.process.wait(SECONDS) == 0
    stops = [line for line in running.said() if not line.startswith("start")]
    assert stops == ["stop beat", "stop worker-upbit", "stop notifier", "all have ended"]


def test_a_process_that_does_not_end_is_killed(family: Callable[..., Running]) -> None:
    running = family("stubborn")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(SECONDS) == 0
    assert not alive(running.pids("stubborn")[0])


def test_nobody_outlives_the_process_that_all_are_forked_from(family: Callable[..., Running]) -> None:
    running = family()
    running.process.kill()
    pids = [running.pids(name)[0] for name in ("notifier", "worker-upbit", "beat")]
    running.wait("their end", lambda: not any(map(alive, pids)))


def test_a_process_that_ends_after_each_start_is_told_and_not_only_logged(family: Callable[..., Running]) -> None:
    running = family("broken")
    running.wait("the third end", lambda: any(line.startswith("told") for line in running.said()))
    (told,) = [line for line in running.said() if line.startswith("told")]
    assert told.startswith("told broken broken ended 3 times")
    assert "exit code 1" in told
    assert len(running.pids("beat")) == 1
