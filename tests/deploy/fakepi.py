"""A stand-in for the machine that is deployed to: systemd, sshd, sudo and apt in a container.

It drives the Docker engine of the host, through its socket, and its `root` is a folder of the host under the same
path, so that what its compose files mount is found by that engine. What a real one has besides: a boot partition
with cmdline.txt, a watchdog device, vcgencmd, an engine of its own, and another architecture.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from engine import Engine, EngineFailed

from deploy.pi import provision_files
from deploy.pi.provision_packages import PACKAGES

IMAGE = "autotrader-fakepi:trixie"
DOCKERFILE = Path(__file__).with_name("fakepi.dockerfile")
DOCKER_SOCKET = Path("/var/run/docker.sock")
BOOTS = 180.0
"""Seconds in which it must have booted."""


def build_image(engine: Engine, base: str = "debian:trixie-slim") -> str:
    """Build the image, from what is cached of it; returns its tag."""
    arguments = {"BASE": base, "PACKAGES": " ".join(PACKAGES), "DOCKER_GID": str(DOCKER_SOCKET.stat().st_gid)}
    given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    engine.docker("build", "--network", "host", "--tag", IMAGE, *given, "-", stdin=DOCKERFILE.read_text(), timeout=1200)
    return IMAGE


class FakePi:
    """One such machine, from `create` to `remove`.

    `network` is "bridge" for a network of its own, in which it may have a firewall, or "host": then its loopback is
    the one on which the engine publishes ports, as on a real machine.
    """

    host = "127.0.0.1"
    user = "pi"

    def __init__(self, engine: Engine, image: str = IMAGE, *, network: str = "bridge") -> None:
        self._engine = engine
        self._image = image
        self._network = network
        self._cut: list[str] = []
        self.name = f"fakepi-{uuid.uuid4().hex[:8]}"
        self.port = _free_port()
        # not under /tmp, which a booting machine empties
        self.folder = Path(tempfile.mkdtemp(prefix="fakepi-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        keys = Path(tempfile.mkdtemp(prefix="fakepi-key-"))
        self.key = keys / "id_ed25519"
        self.known_hosts = keys / "known_hosts"
        self.root = self.folder / "autotrader"

    def create(self) -> FakePi:
        """Make and boot it; `root` is an empty folder of the user's."""
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(self.key))
        self.root.mkdir()
        if self._network == "host":
            network = ["--network", "host"]
            listen = f"Port {self.port}\nListenAddress 127.0.0.1\n"
        else:
            network = ["--publish", f"127.0.0.1:{self.port}:22", "--hostname", "fakepi", "--cap-add", "NET_ADMIN"]
            network += ["--sysctl", "net.ipv4.ip_forward=1"]
            listen = ""
        self._engine.docker(
            *("create", "--name", self.name, *network, "--cap-add", "SYS_ADMIN"),
            *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
            *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),
            *("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns", "host"),
            *("--volume", f"{self.folder}:{self.folder}", "--volume", f"{DOCKER_SOCKET}:/run/docker.sock"),
            self._image,
        )
        self._engine.docker("start", self.name)
        self.exec("tee", "/etc/ssh/sshd_config.d/test.conf", stdin=listen + "UseDNS no\n")
        self.exec("tee", "/home/pi/.ssh/authorized_keys", stdin=self.key.with_suffix(".pub").read_text())
        self.exec("chown", "pi:", str(self.root), "/home/pi/.ssh/authorized_keys")
        host_key = self.exec("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {host_key}\n")
        self._wait_until_booted(BOOTS)
        self.exec("systemctl", "restart", "ssh.service")
        self._wait_for_ssh(BOOTS)
        return self

    def ssh(
        self, command: str, check: bool = True, *, stdin: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on it as its user. Raises `EngineFailed` where `check` and it ends with an error."""
        done = subprocess.run(
            [*self.ssh_command(), command],
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),  # type: ignore[call-overload]
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise EngineFailed(["ssh", command], done.returncode, done.stdout, done.stderr)
        return done  # type: ignore[no-any-return]

    def ssh_command(self) -> list[str]:
        """`ssh` with all options and the destination."""
        options = [
            *("-i", str(self.key), "-p", str(self.port), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "ConnectTimeout=60"),
        ]
        return ["ssh", "-F", "none", *options, f"{self.user}@{self.host}"]

    def exec(self, *command: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run a command on it as root, past sshd. Raises `EngineFailed`."""
        interactive = [] if stdin is None else ["--interactive"]
        return self._engine.docker("exec", *interactive, self.name, *command, stdin=stdin, timeout=timeout)

    def power_cut(self, project: str | None = None) -> None:
        """Off, at once and without a word. With a compose project the containers of it lose their power too."""
        self._cut = []
        if project is not None:
            label = f"label=com.docker.compose.project={project}"
            self._cut = self._engine.docker("ps", "--quiet", "--no-trunc", "--filter", label).split()
        self._engine.docker("kill", self.name, *self._cut)

    def boot(self, timeout: float = BOOTS) -> None:
        """Power is back: wait until all has started (or failed to) and sshd answers.

        Containers that lost their power start again if their restart policy says so, as dockerd has it at its start.
        """
        for container in self._cut:
            # one that removes itself at its end is gone
            found = self._engine.docker("ps", "--all", "--quiet", "--filter", f"id={container}")
            form = "{{.HostConfig.RestartPolicy.Name}}"
            policy = self._engine.docker("inspect", "--format", form, container) if found else ""
            if policy in ("always", "unless-stopped"):
                self._engine.docker("start", container)
        self._cut = []
        self._engine.docker("start", self.name)
        self._wait_until_booted(timeout)
        self._wait_for_ssh(timeout)

    def reboot(self, timeout: float = BOOTS) -> None:
        """An orderly one."""
        self.shut_down()
        self.boot(timeout)

    def shut_down(self, timeout: float = BOOTS) -> None:
        """Off, in order: units have `timeout` seconds to stop."""
        self._engine.docker("stop", "--time", f"{timeout:.0f}", self.name, timeout=2 * timeout)

    def install(self, *units: str) -> None:
        """Install and enable units of deploy/systemd, as provisioning writes them for this root and user."""
        for name in units:
            file = provision_files.unit(name, str(self.root), self.user)
            self.exec("tee", file.path, stdin=file.text)
        self.exec("systemctl", "daemon-reload")
        self.exec("systemctl", "enable", *units)

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.exec("systemctl", "show", "--value", f"--property={name}", unit)

    def remove(self) -> None:
        """The machine, its folder, its keys. A stack that was deployed from it is the engine's, and stays."""
        self._engine.docker("rm", "--force", "--volumes", self.name)
        # what is in it belongs to users that are not ours
        empty = ["run", "--rm", "--volume", f"{self.folder}:/folder", self._image]
        self._engine.docker(*empty, "find", "/folder", "-mindepth", "1", "-delete")
        self.folder.rmdir()
        for path in (self.key, self.key.with_suffix(".pub"), self.known_hosts):
            path.unlink(missing_ok=True)
        self.key.parent.rmdir()

    def journal(self, unit: str) -> str:
        """What a unit wrote since the boot."""
        return self.exec("journalctl", "--boot", "--no-pager", "--output", "cat", "--unit", unit)

    def _wait_until_booted(self, timeout: float) -> None:
        state = ""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                # ends with an error for a machine of which a unit failed, which is for the test to judge
                state = self.exec("sh", "-c", "systemctl is-system-running --wait || true", timeout=timeout)
            except EngineFailed as error:
                state = error.stderr or str(error)
            if state in ("running", "degraded"):
                return
            time.sleep(0.3)
        logs = self._engine.run("docker", "logs", "--tail", "20", self.name)
        raise EngineFailed(["boot", self.name], 1, logs.stdout + logs.stderr, f"{state} after {timeout:g} s")

    def _wait_for_ssh(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        while (done := self.ssh("true", check=False)).returncode:
            if time.monotonic() > until:
                raise EngineFailed(["ssh", self.name], done.returncode, done.stdout, done.stderr)
            time.sleep(0.3)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise EngineFailed([shlex.join(command)], done.returncode, done.stdout, done.stderr)
