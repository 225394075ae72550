"""Deployed over ssh to a machine with systemd: a release that works, one that does not, a power cut, and back.

The machine has the unit that provisioning installs, so that what happens at its boot and shutdown is systemd's doing.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import fakepi
import pytest
from engine import ROOT, Engine
from stack import PATIENCE, Stack, wait_for

# so long a release has on a machine with two slow processors; a broken one is known sooner
WAIT = int(PATIENCE)
BROKEN_WAIT = 40
# of a boot that takes a deployment back, and of a shutdown that stops everything in order
BOOTS = 900.0
STOPS = 300.0
UNIT = "autotrader-stack.service"
CLOCK = "/usr/local/bin/timedatectl"
PROCESSES = ("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")


class Deployed:
    """The machine, what runs on it, and `make deploy-pi` and its like against it."""

    def __init__(self, engine: Engine, pi: fakepi.FakePi, stack: Stack, say: Callable[[str], None]) -> None:
        self.engine, self.pi, self.stack, self.say = engine, pi, stack, say

    def command(self, command: str, *options: str, root: str = "") -> list[str]:
        """What `make deploy-pi` and its like run."""
        given = ["--pi", f"{self.pi.user}@{self.pi.host}", "--root", root or str(self.pi.root)]
        given += ["--port", str(self.pi.port), "--key", str(self.pi.key)]
        # a machine under load takes long to greet
        given += ["--ssh-options", f"-F none -o ConnectTimeout=60 -o UserKnownHostsFile={self.pi.known_hosts}"]
        return [sys.executable, str(ROOT / "deploy" / "pi" / "deploy.py"), command, *given, *options]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.engine.environment, "BUILD_ARGS": "--network host"}

    def make(self, command: str, *options: str, root: str = "") -> subprocess.CompletedProcess[str]:
        begun = time.monotonic()
        done = subprocess.run(
            self.command(command, *options, root=root),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1700,
        )
        self.say(
            f"{done.stdout}{done.stderr}{command} ended with {done.returncode} in {time.monotonic() - begun:.0f} s"
        )
        return done

    @property
    def this_tree(self) -> list[str]:
        """What `deploy` is told, to bring the project as it lies here."""
        return ["--dirty", "--project", self.stack.project, "--with", "sandbox", "--wait", str(WAIT)]

    def cut_off(self, command: str, *options: str, when: str) -> tuple[str, int]:
        """Take the power away once a container of an image runs, boot, and wait for the end that whoever followed it
        sees; what that was, and its exit code."""
        with subprocess.Popen(
            self.command(command, *options),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as following:
            try:
                wait_for(f"{when} runs", lambda: any(image.startswith(when) for image in self.listed()))
                begun = time.monotonic()
                self.pi.power_cut(self.stack.project)
                self.pi.boot(BOOTS)
                self.say(f"booted and recovered after {time.monotonic() - begun:.0f} s")
                said, _ = following.communicate(timeout=BOOTS)
            finally:
                following.kill()
        self.say(said)
        # the connection was lost, and found again
        assert "the connection is lost" in said
        return said, following.returncode

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

    def remove(self, name: str) -> None:
        """A release that `copy` has made."""
        self.pi.ssh(f"rm -r {self.pi.root}/releases/{name}")
        self.engine.docker("image", "rm", f"autotrader:{name}")

    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.pi.root / "releases").iterdir())

    @property
    def current(self) -> str:
        return Path(os.readlink(self.pi.root / "current")).name

    def images(self) -> set[str]:
        """What the processes run."""
        found = [self.stack.inspect(service) for service in PROCESSES]
        return {one["Config"]["Image"] for one in found if one["State"]["Running"]}

    def listed(self) -> list[str]:
        """The images of all services that run, without those of a container that only answers a question."""
        project, service = f"project={self.stack.project}", "oneoff=False"
        labels = [word for one in (project, service) for word in ("--filter", f"label=com.docker.compose.{one}")]
        return self.engine.docker("ps", *labels, "--format", "{{.Image}}").split()

    def halts(self) -> list[dict[str, str]]:
        """Who has halted everything, the newest row, if it still holds."""
        newest = "SELECT state, set_by, until FROM trading_states WHERE market IS NULL ORDER BY seq DESC LIMIT 1"
        held = (
            f"SELECT state, set_by FROM ({newest}) AS newest WHERE state <> 'active' AND coalesce(until > now(), true)"
        )
        return self.stack.rows(held)


@pytest.fixture(scope="module")
def machine(
    engine: Engine,
    new_stack: Callable[..., AbstractContextManager[Stack]],
    say: Callable[[str], None],
) -> Iterator[Deployed]:
    """A machine that was provisioned and has its settings, and no release."""
    fakepi.build_image(engine)
    with new_stack("pi") as stack:
        pi = fakepi.FakePi(engine)
        try:
            pi.create()
            # a container has no clock of its own to synchronise, and the engine's is not asked from in there
            pi.exec("tee", CLOCK, stdin="#!/bin/sh\necho yes\n")
            pi.exec("chmod", "755", CLOCK)
            pi.install(UNIT)
            pi.ssh(f"mkdir -p {pi.root}/shared && cat > {pi.root}/shared/.env", stdin=stack.env_file.read_text())
            yield Deployed(engine, pi, stack, say)
        finally:
            names = [path.name for path in (pi.root / "releases").glob("2*")] if pi.root.exists() else []
            stack.remove()
            pi.remove()
            for name in names:
                engine.run("sh", "-c", f"docker image rm autotrader:{name} || true")


@pytest.fixture(scope="module")
def deployed(machine: Deployed) -> Deployed:
    """The machine with this tree deployed onto it."""
    done = machine.make("deploy", *machine.this_tree)
    assert done.returncode == 0, done.stdout + done.stderr
    return machine


def test_a_first_deployment_that_loses_its_power_is_taken_back_by_the_boot_alone(machine: Deployed) -> None:
    said, code = machine.cut_off("deploy", *machine.this_tree, when="autotrader:2")
    assert code == 1
    assert "found cut off; it is brought to its end" in said
    assert "failed: no release is in use" in said
    assert machine.stack.containers() == {}
    assert machine.engine.docker("volume", "ls", "--quiet", "--filter", f"name={machine.stack.project}") == ""
    assert machine.pi.shown(UNIT, "Result") == "success"
    # the next boot finds nothing to start
    machine.pi.reboot()
    assert machine.pi.shown(UNIT, "ActiveState") == "inactive"
    assert machine.pi.shown(UNIT, "ConditionResult") == "no"


def test_this_tree_is_deployed_and_shown(deployed: Deployed) -> None:
    assert deployed.images() == {f"autotrader:{deployed.current}"}
    assert deployed.halts() == []
    shown = deployed.make("status").stdout
    assert deployed.current in shown
    assert "deployed" in shown
    assert "healthy" in shown


def test_the_first_deployment_starts_the_unit_that_a_boot_had_skipped(deployed: Deployed) -> None:
    assert deployed.pi.shown(UNIT, "ActiveState") == "active"
    assert deployed.pi.shown(UNIT, "Result") == "success"


FULL = "mkdir -p /srv/full && mount -t tmpfs -o size=50m full /srv/full && chown pi: /srv/full"
# what runs under it is told another architecture by the kernel itself
OTHER = """printf '%s\n' '#!/bin/sh' 'exec setarch linux32 /usr/bin/python3 "$@"' > /usr/local/bin/python3
chmod 755 /usr/local/bin/python3"""


@pytest.mark.parametrize(
    ("spoil", "heal", "root", "says"),
    [
        (FULL, "umount /srv/full", "/srv/full", "the disk of /srv/full has 0.1 GB free, 3.0 GB are needed"),
        (OTHER, "rm /usr/local/bin/python3", "", "; a 64-bit Linux is needed (Raspberry Pi OS Lite 64-bit"),
        ("true", "true", "/srv/nowhere", "/srv/nowhere is not there, or not its user's; `make provision-pi"),
    ],
    ids=["full disk", "32 bits", "no folder"],
)
def test_a_machine_that_cannot_be_deployed_to_is_told_before_anything_is_sent(
    deployed: Deployed, spoil: str, heal: str, root: str, says: str
) -> None:
    used = deployed.current
    deployed.pi.exec("sh", "-ec", spoil)
    try:
        done = deployed.make("deploy", "--dirty", "--project", "autotrader-nobody", root=root)
    finally:
        deployed.pi.exec("sh", "-ec", heal)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert says in done.stderr
    assert "built here" not in done.stdout
    assert deployed.current == used


@contextmanager
def with_line(deployed: Deployed, line: str) -> Iterator[int]:
    """A line more in the settings of the machine; which it is."""
    env = f"{deployed.pi.root}/shared/.env"
    kept = deployed.pi.ssh(f"cat {env}").stdout
    deployed.pi.ssh(f"cat > {env}", stdin=f"{kept}{line}\n")
    try:
        yield len(kept.splitlines()) + 1
    finally:
        deployed.pi.ssh(f"cat > {env}", stdin=kept)


def test_settings_that_cannot_be_used_are_named_without_their_value_and_nothing_is_touched(deployed: Deployed) -> None:
    used, next_one = deployed.current, deployed.copy("20991229T000000Z")
    running = deployed.stack.containers()
    with with_line(deployed, 'KIS_APP_SECRET="never-shown') as number:
        done = deployed.make("rollback", "--to", next_one)
    assert done.returncode == 1
    assert f"line {number}: the value of KIS_APP_SECRET begins with a quote that does not end" in done.stdout
    assert "never-shown" not in done.stdout + done.stderr
    with with_line(deployed, "WATCHDOG_SECONDS=often"):
        done = deployed.make("rollback", "--to", next_one)
    assert done.returncode == 1
    assert "nothing had been changed" in done.stdout
    assert "setting WATCHDOG_SECONDS: " in done.stdout.splitlines()[-1]
    assert deployed.current == used
    assert deployed.stack.containers() == running
    deployed.remove(next_one)


def test_a_release_that_never_gets_healthy_gives_way_and_a_users_halt_stays(deployed: Deployed) -> None:
    used = deployed.current
    deployed.stack.exec("api", "autotrader", "halt", "--reason", "the user's own")
    before = deployed.halts()
    assert [row["state"] for row in before] == ["halted"]
    broken = deployed.copy("20991230T000000Z", lambda text: text.replace("command: [beat]", "command: [beat, --no]"))
    done = deployed.make("rollback", "--to", broken, "--wait", str(BROKEN_WAIT))
    assert done.returncode == 1
    assert "No such option: --no" in done.stdout
    assert deployed.current == used
    assert deployed.images() == {f"autotrader:{used}"}
    assert deployed.halts() == before
    assert "rolled back: the release does not get healthy" in deployed.switch("status", check=False)
    deployed.stack.exec("api", "autotrader", "resume")
    assert deployed.halts() == []
    deployed.remove(broken)


def test_a_power_cut_in_the_middle_ends_with_the_release_of_before_by_the_boot_alone(deployed: Deployed) -> None:
    used = deployed.current
    next_one = deployed.copy("20991231T000000Z")
    said, code = deployed.cut_off("rollback", "--to", next_one, "--wait", str(WAIT), when=f"autotrader:{next_one}")
    assert code == 1
    assert "found cut off; it is brought to its end" in said
    assert f"rolled back: release {used} is in use" in said
    assert deployed.pi.shown(UNIT, "Result") == "success"
    assert deployed.pi.exec("systemctl", "is-active", UNIT) == "active"
    assert deployed.current == used
    assert deployed.images() == {f"autotrader:{used}"}
    assert deployed.halts() == []
    assert "rolled back: it was cut off" in deployed.switch("status", check=False)


def test_a_rollback_goes_to_another_release_and_everything_runs_it(deployed: Deployed) -> None:
    used = deployed.current
    (other,) = [name for name in deployed.releases() if name != used]
    done = deployed.make("rollback", "--to", other, "--wait", str(WAIT))
    assert done.returncode == 0
    assert deployed.current == other
    assert deployed.images() == {f"autotrader:{other}"}
    assert deployed.halts() == []
    assert deployed.stack.not_well() == []
    again = deployed.make("rollback", "--to", other)
    assert again.returncode == 2
    assert f"release {other} is in use already" in again.stdout + again.stderr


def test_a_shutdown_stops_everything_in_order(deployed: Deployed) -> None:
    begun = time.monotonic()
    deployed.pi.shut_down(STOPS)
    deployed.say(f"shut down in {time.monotonic() - begun:.0f} s")
    ended = {}
    for service in PROCESSES:
        state = deployed.stack.inspect(service)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), f"{service}: {state}"
        ended[service] = state["FinishedAt"]
    order = sorted(ended, key=lambda service: ended[service])
    assert order[0] == "beat", ended
    assert order[-1] == "notifier", ended
