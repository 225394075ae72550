"""A process group starts, watches and ends real processes, and outlives none of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.local.identity import Identity
from sandbox.processes import ProcessFailed, ProcessGroup, undisturbed

ROOT = Path(__file__).resolve().parents[2]
ENV = dict(os.environ)

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)",
]
POLITE = [
    sys.executable,
    "-c",
    "import signal, sys, time\n"
    "def end(*_):\n    print(f'ended {time.monotonic()}', flush=True)\n    sys.exit(3)\n"
    "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(600)",
]
FAMILY = [
    sys.executable,
    "-c",
    "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)",
]

SUPERVISOR = f"""
import os, pathlib, sys, time
from signal import SIGKILL, SIGTERM
from sandbox.processes import ProcessGroup
with ProcessGroup(pathlib.Path(sys.argv[1]), on_death=SIGTERM) as group:
    pids = [group.start(name, {SLEEPER!r}, env=dict(os.environ)) for name in ("one", "two")]
    print(*pids, flush=True)
    time.sleep(600)
"""


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ready(line: str) -> bool | None:
    return True if line == "ready" else None


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with two children, whose pids are on its first line."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def children_of(supervisor: subprocess.Popen[str]) -> list[Identity]:
    assert supervisor.stdout is not None
    return [Identity.of(int(pid)) for pid in supervisor.stdout.readline().split()]


def test_a_killed_supervisor_leaves_no_child_alive(supervisor: subprocess.Popen[str]) -> None:
    children = children_of(supervisor)
    assert all(child.alive() for child in children)
    supervisor.kill()
    supervisor.wait()
    assert until(lambda: not any(child.alive() for child in children))


def test_ctrl_c_reaches_the_supervisor_alone(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    children = children_of(supervisor)
    os.killpg(supervisor.pid, signal.SIGINT)
    supervisor.wait()
    assert not any(child.alive() for child in children)
    assert "KeyboardInterrupt" not in (tmp_path / "one.log").read_text()


def test_later_stages_end_before_earlier_ones(tmp_path: Path) -> None:
    group = ProcessGroup(tmp_path)
    for stage, name in enumerate(("sandbox", "worker", "beat")):
        group.start(name, POLITE, env=ENV, stage=stage)
        group.wait_for_line(name, ready, 10)
    assert group.stop() == {"beat": 3, "worker": 3, "sandbox": 3}
    ends = [float((tmp_path / f"{name}.log").read_text().split()[-1]) for name in ("beat", "worker", "sandbox")]
    assert ends == sorted(ends)
    assert group.stop() == {}


def test_what_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    group = ProcessGroup(tmp_path, grace=0.3)
    for name in ("first", "second"):
        group.start(name, STUBBORN, env=ENV)
        group.wait_for_line(name, ready, 10)
    started = time.monotonic()
    assert group.stop() == {"first": -signal.SIGKILL, "second": -signal.SIGKILL}
    assert 0.3 <= time.monotonic() - started < 3


def test_grandchildren_end_with_their_group(tmp_path: Path) -> None:
    group = ProcessGroup(tmp_path, grace=0.2)
    group.start("family", FAMILY, env=ENV)
    grandchild = Identity.of(group.wait_for_line("family", int, 10))
    assert grandchild.alive()
    group.stop()
    assert until(lambda: not grandchild.alive())


def test_an_early_death_is_told_with_the_last_words(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        group.start("doomed", [sys.executable, "-c", "import sys; sys.exit('no such broker')"], env=ENV)
        with pytest.raises(ProcessFailed, match="doomed ended with exit code 1; its last lines:\n  no such broker"):
            group.wait_until(lambda: False, 10, "readiness")


def test_waiting_in_vain_says_for_what(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        group.start("slow", SLEEPER, env=ENV)
        with pytest.raises(ProcessFailed, match=r"the start of slow did not happen within 0\.2 s; it wrote nothing"):
            group.wait_for_line("slow", ready, 0.2)


def test_a_line_is_read_as_what_it_says(tmp_path: Path) -> None:
    def url(line: str) -> str | None:
        return str(json.loads(line)["url"]) if line.startswith("{") else None

    with ProcessGroup(tmp_path) as group:
        code = """import time; print("starting"); print('{"url": "http://x"}', flush=True); time.sleep(600)"""
        group.start("sandbox", [sys.executable, "-c", code], env=ENV)
        assert group.wait_for_line("sandbox", url, 10) == "http://x"


def test_a_step_runs_to_its_end_and_is_forgotten(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        group.run("migrate", [sys.executable, "-c", ""], env=ENV, seconds=10)
        assert group.states() == []
        with pytest.raises(ProcessFailed, match=r"exit code 1; its last lines:\n  no database"):
            group.run("migrate", [sys.executable, "-c", "raise SystemExit('no database')"], env=ENV, seconds=10)
        with pytest.raises(ProcessFailed, match=r"longer than 0\.2 s"):
            group.run("stuck", SLEEPER, env=ENV, seconds=0.2)
        assert group.states() == []


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with (
        ProcessGroup(tmp_path) as group,
        pytest.raises(ProcessFailed, match=r"absent could not be started: .*No such file"),
    ):
        group.start("absent", ["/no/such/program"], env=ENV)


def test_states_show_who_runs(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        pid = group.start("alive", SLEEPER, env=ENV)
        group.start("gone", [sys.executable, "-c", "raise SystemExit(2)"], env=ENV)
        assert until(lambda: group.states()[1].exit_code == 2)
        assert (group.states()[0].pid, group.states()[0].exit_code) == (pid, None)


def test_a_second_ctrl_c_does_not_interrupt_the_stop() -> None:
    with undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
