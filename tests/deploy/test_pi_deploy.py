"""Deployed over ssh to a machine with systemd: a release that works, one that does not, and a power cut in between."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import fakepi
import pytest
from engine import ROOT, Engine
from stack import PATIENCE, Stack, wait_for

# so long a release has on a machine with two slow processors; a broken one is known sooner
WAIT = int(PATIENCE)
BROKEN_WAIT = 60
CLOCK = "/usr/local/bin/timedatectl"
PROCESSES = ("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")


class Deployed:
    """The machine, what runs on it, and `make deploy-pi` and its like against it."""

    def __init__(self, engine: Engine, pi: fakepi.FakePi, stack: Stack, say: Callable[[str], None]) -> None:
        self.engine, self.pi, self.stack, self.say = engine, pi, stack, say

    def make(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        given = ["--pi", f"{self.pi.user}@{self.pi.host}", "--root", str(self.pi.root), "--port", str(self.pi.port)]
        given += ["--key", str(self.pi.key), "--ssh-options", f"-F none -o UserKnownHostsFile={self.pi.known_hosts}"]
        done = subprocess.run(
            [sys.executable, str(ROOT / "deploy" / "pi" / "deploy.py"), command, *given, *options],
            env={**os.environ, **self.engine.environment, "BUILD_ARGS": "--network host"},
            capture_output=True,
            text=True,
            check=False,
            timeout=1700,
        )
        self.say(done.stdout + done.stderr)
        return done

    def switch(self, *words: str, check: bool = True) -> str:
        """switch.py of the release in use, on the machine."""
        program = f"{self.pi.root}/current/deploy/pi/switch.py"
        command = shlex.join(["python3", program, *words, "--root", str(self.pi.root)])
        return self.pi.ssh(command, check=check, timeout=1200).stdout.strip()

    def copy(self, stamp: str, change: Callable[[str], str] = lambda text: text) -> str:
        """A release like the one in use, of another name, with other compose files."""
        used = self.current
        name = f"{stamp}-c0ffee"
        folder = self.pi.root / "releases" / name
        self.pi.ssh(f"cp -r {self.pi.root}/releases/{used} {folder}")
        said = json.loads((folder / "release.json").read_text())
        said |= {"id": name, "image": f"autotrader:{name}"}
        self._write(folder / "release.json", json.dumps(said))
        self._write(folder / "deploy" / "compose.yaml", change((folder / "deploy" / "compose.yaml").read_text()))
        self.engine.docker("tag", f"autotrader:{used}", f"autotrader:{name}")
        return name

    def _write(self, path: Path, text: str) -> None:
        self.pi.ssh(f"cat > {shlex.quote(str(path))}", stdin=text)

    @property
    def current(self) -> str:
        return Path(os.readlink(self.pi.root / "current")).name

    def images(self) -> set[str]:
        """What the processes run."""
        found = [self.stack.inspect(service) for service in PROCESSES]
        return {one["Config"]["Image"] for one in found if one["State"]["Running"]}

    def halts(self) -> list[dict[str, str]]:
        """Who has halted everything, the newest row, if it still holds."""
        newest = "SELECT state, set_by, until FROM trading_states WHERE market IS NULL ORDER BY seq DESC LIMIT 1"
        held = (
            f"SELECT state, set_by FROM ({newest}) AS newest WHERE state <> 'active' AND coalesce(until > now(), true)"
        )
        return self.stack.rows(held)


@pytest.fixture(scope="module")
def deployed(
    engine: Engine,
    new_stack: Callable[..., AbstractContextManager[Stack]],
    say: Callable[[str], None],
) -> Iterator[Deployed]:
    """A machine onto which this tree was deployed."""
    fakepi.build_image(engine)
    with new_stack("pi") as stack:
        pi = fakepi.FakePi(engine)
        try:
            pi.create()
            # a container has no clock of its own to synchronise, and the engine's is not asked from in there
            pi.exec("tee", CLOCK, stdin="#!/bin/sh\necho yes\n")
            pi.exec("chmod", "755", CLOCK)
            pi.ssh(f"mkdir -p {pi.root}/shared && cat > {pi.root}/shared/.env", stdin=stack.env_file.read_text())
            made = Deployed(engine, pi, stack, say)
            options = ["--dirty", "--project", stack.project, "--with", "sandbox", "--wait", str(WAIT)]
            done = made.make("deploy", *options)
            assert done.returncode == 0, done.stdout + done.stderr
            yield made
        finally:
            names = [path.name for path in (pi.root / "releases").glob("2*")] if pi.root.exists() else []
            stack.remove()
            pi.remove()
            for name in names:
                engine.run("sh", "-c", f"docker image rm autotrader:{name} || true")


def test_this_tree_is_deployed_and_shown(deployed: Deployed) -> None:
    assert deployed.images() == {f"autotrader:{deployed.current}"}
    assert deployed.halts() == []
    shown = deployed.make("status").stdout
    assert deployed.current in shown
    assert "deployed" in shown
    assert "healthy" in shown


def test_a_release_that_never_gets_healthy_gives_way_and_a_users_halt_stays(deployed: Deployed) -> None:
    used = deployed.current
    deployed.stack.exec("api", "autotrader", "halt", "--reason", "the user's own")
    before = deployed.halts()
    assert [row["state"] for row in before] == ["halted"]
    broken = deployed.copy("20991230T000000Z", lambda text: text.replace("command: [beat]", "command: [beat, --no]"))
    program = f"{deployed.pi.root}/releases/{broken}/deploy/pi/switch.py"
    begun = deployed.pi.ssh(
        f"python3 {program} deploy {broken} --root {deployed.pi.root} --wait {BROKEN_WAIT}", check=False, timeout=1500
    )
    assert begun.returncode == 1
    assert deployed.current == used
    assert deployed.images() == {f"autotrader:{used}"}
    assert deployed.halts() == before
    shown = deployed.switch("status", check=False)
    assert "rolled back: the release does not get healthy" in shown
    deployed.stack.exec("api", "autotrader", "resume")


def test_a_power_cut_in_the_middle_ends_with_the_release_of_before(deployed: Deployed) -> None:
    used = deployed.current
    next_one = deployed.copy("20991231T000000Z")
    program = f"{deployed.pi.root}/releases/{next_one}/deploy/pi/switch.py"
    deployed.pi.ssh(f"python3 {program} launch deploy {next_one} --root {deployed.pi.root} --wait {WAIT}")
    journal = deployed.pi.root / "state" / "deploy.json"

    def starts() -> bool:
        steps = json.loads(journal.read_text())["steps"]
        return any(step["name"] == "start" for step in steps)

    wait_for("the new release starts", starts)
    deployed.pi.power_cut(deployed.stack.project)
    deployed.pi.boot()
    begun = time.monotonic()
    deployed.switch("recover", "--wait", str(WAIT))
    deployed.switch("up", "--wait", str(WAIT))
    deployed.say(f"recovered after {time.monotonic() - begun:.0f} s")
    assert deployed.current == used
    assert deployed.images() == {f"autotrader:{used}"}
    assert deployed.halts() == []
    assert "rolled back: it was cut off" in deployed.switch("status", check=False)
    shutil.rmtree(deployed.pi.root / "releases" / next_one)
