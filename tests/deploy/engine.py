"""The Docker engine of a test session: the one that answers here, or else one of our own.

`NoEngine` says that this machine can run none; that is the one reason for which `make test-deploy` tests nothing and
does not fail. Whatever else goes wrong is an `EngineFailed`, and a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autotrader"
DAEMON_STARTS = 90.0
"""Seconds in which dockerd must answer."""

Say = Callable[[str], None]


class NoEngine(Exception):
    """This machine runs no containers, and cannot be made to."""


class EngineFailed(Exception):
    """A docker command failed; with what it wrote."""

    def __init__(self, command: Sequence[str], code: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{' '.join(command)} ended with {code}\n{stdout[-4000:]}\n{stderr[-4000:]}".rstrip())
        self.code = code
        self.stdout = stdout
        self.stderr = stderr


@dataclass
class Engine:
    """Docker's command line. `environment` is what other programs (make, scripts) need so that they find the same."""

    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout: float = 600,
        cwd: Path = ROOT,
    ) -> subprocess.CompletedProcess[str]:
        """Run any command with the engine's environment. Raises `EngineFailed` when it ends with an error."""
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment, **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            cwd=cwd,
            check=False,
        )
        if done.returncode:
            raise EngineFailed(command, done.returncode, done.stdout, done.stderr)
        return done

    def docker(self, *args: str, timeout: float = 600, stdin: str | None = None) -> str:
        """What `docker ARGS` writes to its standard output."""
        return self.run("docker", *args, timeout=timeout, stdin=stdin).stdout.strip()

    def compose(
        self,
        *args: str,
        files: Iterable[Path | str] = (),
        project: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 900,
    ) -> str:
        """What `docker compose ARGS` writes to its standard output; `files` are relative to the project's root."""
        command = ["docker", "compose"]
        if project is not None:
            command += ["--project-name", project]
        for file in files:
            command += ["--file", str(ROOT / file)]
        return self.run(*command, *args, env=env, timeout=timeout).stdout.strip()

    def exists(self, image: str) -> bool:
        with suppress(EngineFailed):
            self.docker("image", "inspect", image)
            return True
        return False


@dataclass
class Daemon:
    """A dockerd that we started."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.log.parent, ignore_errors=True)


def find(say: Say) -> tuple[Engine, Daemon | None]:
    """An engine that answers, and the daemon if it had to be started. Raises `NoEngine`."""
    engine = Engine()
    daemon = None
    if not _answers(engine):
        _install(say)
        if not _answers(engine):
            daemon = _start(engine, say)
    version = engine.docker("version", "--format", "{{.Server.Version}}")
    say(f"Docker engine {version}, {'started for this run' if daemon else 'was running'}")
    return engine, daemon


def as_root() -> bool:
    return os.geteuid() == 0


def apt_install(*packages: str) -> bool:
    """Install packages of this machine's own distribution; whether it worked."""
    if not as_root() or shutil.which("apt-get") is None:
        return False
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, env=quiet, capture_output=True, check=False, timeout=900)
    return done.returncode == 0


def _answers(engine: Engine) -> bool:
    try:
        engine.docker("version", "--format", "{{.Server.Version}}", timeout=30)
    except (EngineFailed, FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return True


def _install(say: Say) -> None:
    if shutil.which("dockerd") and shutil.which("docker"):
        return
    if not as_root():
        raise NoEngine("no Docker engine answers, and only root can install and start one")
    say("no Docker engine here: installing docker.io")
    if not apt_install("docker.io", "iptables") and not shutil.which("dockerd"):
        raise NoEngine("no Docker engine answers, and apt-get cannot install docker.io")


def _start(engine: Engine, say: Say) -> Daemon:
    if os.environ.get("DOCKER_HOST"):
        raise NoEngine("DOCKER_HOST is set, and nothing answers there")
    if not as_root():
        raise NoEngine("no Docker engine answers, and only root can start one")
    log = Path(tempfile.mkdtemp(prefix="autotrader-dockerd-")) / "dockerd.log"
    say(f"starting dockerd, its log is {log}")
    with log.open("wb") as output:
        process = subprocess.Popen(["dockerd"], stdout=output, stderr=output, start_new_session=True)
    daemon = Daemon(process, log)
    until = time.monotonic() + DAEMON_STARTS
    while time.monotonic() < until and process.poll() is None:
        if _answers(engine):
            return daemon
        time.sleep(0.5)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
    daemon.stop()
    raise NoEngine(f"dockerd does not start here; the last lines of its log:\n{last}")


def find_compose(engine: Engine, base: str, say: Say) -> None:
    """See that `docker compose` works: Debian's plugin is fetched where the machine has none."""
    if _has_compose(engine):
        return
    config = CACHE / "docker-cli"
    plugin = config / "cli-plugins" / "docker-compose"
    if not plugin.exists():
        say("no `docker compose` here: fetching Debian's")
        plugin.parent.mkdir(parents=True, exist_ok=True)
        _fetch_compose(engine, base, plugin)
    engine.environment["DOCKER_CONFIG"] = str(config)
    if not _has_compose(engine):
        raise EngineFailed(["docker", "compose", "version"], 1, "", f"{plugin} does not run here")


def _has_compose(engine: Engine) -> bool:
    try:
        version = engine.docker("compose", "version", "--short")
    except EngineFailed:
        return False
    return not version.lstrip("v").startswith("1.")


def _fetch_compose(engine: Engine, base: str, plugin: Path) -> None:
    """Out of the package, which need not be installed: it is one static program."""
    script = (
        "cd /tmp && apt-get update -qq && apt-get download -qq docker-compose && dpkg-deb -x docker-compose_*.deb x"
        " && cp x/usr/libexec/docker/cli-plugins/docker-compose /compose"
    )
    container = engine.docker("create", "--network", "host", base, "bash", "-ec", script)
    try:
        engine.docker("start", "--attach", container)
        part = plugin.with_suffix(f".{os.getpid()}")
        engine.docker("cp", f"{container}:/compose", str(part))
        part.chmod(0o755)
        part.replace(plugin)
    finally:
        engine.docker("rm", "--force", container)


def classic_builder(engine: Engine) -> None:
    """Newer clients want buildx to build with BuildKit; without it the builder of the daemon does it."""
    try:
        engine.docker("buildx", "version")
    except EngineFailed:
        engine.environment["DOCKER_BUILDKIT"] = "0"
