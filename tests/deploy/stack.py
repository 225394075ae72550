"""A compose stack of a test: the real files of deploy/, under a project, a .env and ports of its own.

Whatever it made is removed with it; what a killed session left is removed by the next one (`sweep_up`).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import ROOT, Engine, EngineFailed, Say

from sandbox.client import SandboxControl, SandboxError
from sandbox.local.server import free_port

PROJECT = "autotrader-test-{pid}-{name}"
TRADE_CHAT, ERROR_CHAT = "1001", "2002"
ONE_SHOT = ("migrate", "reader")
"""Services that do their work and end."""
OFTEN = "8s"
"""How often a test's containers are asked how they are. Each asking costs a tenth of a second of a processor or two."""
QUICK = {
    "VISIBILITY_TIMEOUT_SECONDS": "75",
    "ANALYZE_DEADLINE_SECONDS": "70",
    "SWEEP_DEADLINE_SECONDS": "30",
    "LLM_DEADLINE_SECONDS": "30",
}
"""With these the tasks of a killed worker are delivered again sooner than after two minutes; and still an analysis may
take long, on a machine with much else to do."""
PATIENCE = 360.0
"""Seconds that a container may take to be healthy, on a machine with two slow processors."""


@dataclass
class Stack:
    """Containers of `deploy/compose.yaml` and of the overlays, by the names of their services."""

    engine: Engine
    name: str
    image: str
    folder: Path
    say: Say
    overlays: Sequence[str] = ("sandbox",)
    settings: Mapping[str, str] = field(default_factory=dict)
    extra: Sequence[Path] = ()
    """Compose files of the test's own, after all others."""

    def __post_init__(self) -> None:
        self.project = PROJECT.format(pid=os.getpid(), name=self.name)
        self.env_file = self.folder / ".env"
        self.ports = {name: free_port() for name in ("HTTP_PORT", "HTTPS_PORT", "SANDBOX_PORT")}
        self.read_token, self.operate_token = secrets.token_hex(16), secrets.token_hex(16)
        self.control = SandboxControl(f"http://127.0.0.1:{self.ports['SANDBOX_PORT']}")
        self._trusting: ssl.SSLContext | None = None
        self._often: Path | None = None
        self.write_env()

    # --- what it is started from ---

    def write_env(self, *leave_out: str, **other: str) -> None:
        """The .env; nothing of it is the user's."""
        values = {
            "POSTGRES_PASSWORD": secrets.token_hex(16),
            "REDIS_PASSWORD": secrets.token_hex(16),
            "API_READ_TOKEN": self.read_token,
            "API_OPERATE_TOKEN": self.operate_token,
            "FLOWER_BASIC_AUTH": f"test:{secrets.token_hex(8)}",
            "AUTOTRADER_IMAGE": self.image,
            "SERVER_NAME": "localhost",
            # of a real bot, as it were, at an address that there is not: what compose.sandbox.yaml says has to win
            "TELEGRAM_BASE_URL": "http://telegram.invalid",
            "TELEGRAM_TOKEN": "1000000002:token-of-a-bot-that-must-not-be-used",
            "TELEGRAM_CHAT_ID": "3003",
            "GRAFANA_PASSWORD": secrets.token_hex(16),
            "WORKER_SILENT_SECONDS": "60",
            "BEAT_SILENT_SECONDS": "20",
            **{name: str(port) for name, port in self.ports.items()},
            **self.settings,
            **other,
        }
        lines = [f"{name}={value}" for name, value in values.items() if name not in leave_out]
        self.env_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.env_file.chmod(0o600)

    def compose(self, *args: str, timeout: float = 900) -> str:
        """`docker compose` for this stack."""
        mine = [part for file in self.extra for part in ("-f", str(file))]
        if self._often is not None:
            mine += ["-f", str(self._often)]
        command = [str(ROOT / "deploy" / "stack.sh"), "compose", *mine, *args]
        return self.engine.run(*command, env=self._environ(), timeout=timeout).stdout.strip()

    def _environ(self) -> dict[str, str]:
        """What `make` and deploy/stack.sh are told by."""
        return {
            "ENV_FILE": str(self.env_file),
            "COMPOSE_PROJECT_NAME": self.project,
            "WITH": " ".join(self.overlays),
        }

    def make(self, target: str, **env: str) -> str:
        """`make TARGET` for this stack, as a user types it."""
        self.say(f"{self.project}: make {target}{' WITH=' + ' '.join(self.overlays) if self.overlays else ''}")
        done = self.engine.run("make", "--no-print-directory", target, env={**self._environ(), **env}, timeout=900)
        return done.stdout + done.stderr

    def configured(self) -> dict[str, dict[str, Any]]:
        """Its services as compose reads the files."""
        services: dict[str, dict[str, Any]] = json.loads(self.compose("config", "--format", "json"))["services"]
        return services

    # --- its life ---

    def up(self, *services: str) -> None:
        """Start it and wait until every container is healthy. Raises `EngineFailed` with the logs of who is not."""
        begun = time.monotonic()
        self.say(f"{self.project}: up")
        if self._often is None:
            self._often = self._asked_often()
        try:
            limit = ("--wait", "--wait-timeout", f"{PATIENCE:.0f}")
            self.compose("up", "--detach", *limit, *services, timeout=2 * PATIENCE)
        except EngineFailed as failed:
            raise EngineFailed(["up", self.project], failed.code, self.faults(), failed.stderr) from None
        self.say(f"{self.project}: healthy after {time.monotonic() - begun:.0f} s")

    def _asked_often(self) -> Path:
        """A compose file with which health is asked for every few seconds, so that nobody waits for the next time."""
        asked = [name for name, service in self.configured().items() if "healthcheck" in service]
        file = self.folder / "compose.often.yaml"
        file.write_text(
            json.dumps({"services": {name: {"healthcheck": {"interval": OFTEN}} for name in asked}}), "utf-8"
        )
        return file

    def down(self, *, volumes: bool = False) -> None:
        self.say(f"{self.project}: down{' with its volumes' if volumes else ''}")
        self.compose("down", "--remove-orphans", *(["--volumes", "--timeout", "10"] if volumes else []))

    def remove(self) -> None:
        """All of it, also where the files do not even parse."""
        remove_project(self.engine, self.project)

    def faults(self) -> str:
        """The last lines of every container that is not as it should be."""
        said = []
        for service, container in self.containers().items():
            if not self._well(service, container):
                state = self.engine_state(container)
                said.append(f"--- {service}: {state['Status']}, exit {state['ExitCode']}\n{self.logs(service, 25)}")
        return "\n".join(said)

    # --- its containers ---

    def containers(self) -> dict[str, str]:
        """The ids of its containers, by service, also of those that ended."""
        return containers_of(self.engine, self.project)

    def engine_state(self, container: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.engine.docker("inspect", "--format", "{{json .State}}", container))
        return state

    def inspect(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.engine.docker("inspect", self.containers()[service]))[0]
        return found

    def logs(self, service: str, lines: int = 200) -> str:
        container = self.containers()[service]
        done = self.engine.run("docker", "logs", "--tail", str(lines), container)
        return done.stdout + done.stderr

    def exec(self, service: str, *command: str, timeout: float = 120) -> str:
        return self.engine.docker("exec", self.containers()[service], *command, timeout=timeout)

    def kill_9(self, service: str) -> None:
        """Kill the processes of a container as the kernel does when memory is short: Docker is not asked, and may start
        it again, which it does not for whom `docker kill` has stopped."""
        main = self.inspect(service)["State"]["Pid"]
        for pid in reversed(family(main)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def works(self, service: str) -> bool:
        """Whether its health check succeeds now: asked, not waited for until Docker asks next."""
        found = self.inspect(service)
        if not found["State"]["Running"]:
            return False
        test = (found["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"]
        if test[0] == "NONE":
            return True
        command = ["sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
        with suppress(EngineFailed):
            self.engine.docker("exec", found["Id"], *command, timeout=60)
            return True
        return False

    def not_well(self) -> list[str]:
        """The services that do not run, or are not healthy in Docker's eyes; none where all is well."""
        return [service for service, container in self.containers().items() if not self._well(service, container)]

    def _well(self, service: str, container: str) -> bool:
        state = self.engine_state(container)
        if service in ONE_SHOT:
            return state["Status"] == "exited" and state["ExitCode"] == 0
        return state["Running"] and state.get("Health", {}).get("Status", "healthy") == "healthy"

    # --- what came of it ---

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the database says."""
        wrapped = f"SELECT coalesce(json_agg(found), '[]') FROM ({query}) AS found"
        command = ["psql", "-h", "/var/run/postgresql", "-U", "autotrader", "-d", "autotrader", "-Atc", wrapped]
        rows: list[dict[str, Any]] = json.loads(self.exec("postgres", *command))
        return rows

    def messages(self, chat: str) -> list[str]:
        """The texts that a chat has received at the Telegram stand-in."""
        try:
            received = self.control.get("telegram/messages")
        except SandboxError:
            return []
        return [message["text"] for message in received if str(message["chat_id"]) == chat]

    def get(self, path: str, *, token: str | None = None, method: str = "GET") -> tuple[int, str]:
        """Status and body of `path` through nginx and TLS, as from another machine; 0 while nobody answers."""
        request = urllib.request.Request(f"https://localhost:{self.ports['HTTPS_PORT']}{path}", method=method)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        if self._trusting is None:
            # the authority of its own, as one copies it to a phone
            self._trusting = ssl.create_default_context(cadata=self.exec("certificates", "cat", "/ca/ca.crt"))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._trusting))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=30) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def api(self, path: str) -> Any:
        status, body = self.get(path, token=self.read_token)
        assert status == 200, f"GET {path} through nginx: {status}\n{body[:2000]}"
        return json.loads(body)


def wait_for(what: str | Callable[[], str], holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true value; fails with `what`, or what it says then, after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := holds():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.5)


def family(pid: int) -> list[int]:
    """A process of this machine and all that descend from it, ancestors first."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def containers_of(engine: Engine, project: str) -> dict[str, str]:
    """The containers of a compose project: service → id."""
    form = '{{.Label "com.docker.compose.service"}} {{.ID}}'
    listed = engine.docker("ps", "--all", "--filter", f"label=com.docker.compose.project={project}", "--format", form)
    return dict(line.split() for line in listed.splitlines())


def remove_project(engine: Engine, project: str) -> None:
    """Everything that compose has made for a project."""
    mine = ("--filter", f"label=com.docker.compose.project={project}")
    _each(engine, ("rm", "--force", "--volumes"), engine.docker("ps", "--all", "--quiet", *mine).split())
    _each(engine, ("network", "rm"), engine.docker("network", "ls", "--quiet", *mine).split())
    _each(engine, ("volume", "rm", "--force"), engine.docker("volume", "ls", "--quiet", *mine).split())


def sweep_up(engine: Engine, say: Say) -> None:
    """Remove the stacks of sessions that are gone without having done so."""
    form = '{{.Label "com.docker.compose.project"}}'
    listed: set[str] = set()
    for kind in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
        listed.update(engine.docker(*kind, "--format", form).split())
    pattern = re.compile(PROJECT.format(pid=r"(\d+)", name=r".+"))
    for project in listed:
        if (found := pattern.fullmatch(project)) and not Path(f"/proc/{found[1]}").exists():
            say(f"removing {project}, which a session has left behind")
            remove_project(engine, project)


def _each(engine: Engine, command: Sequence[str], names: Iterable[str]) -> None:
    for name in names:
        with suppress(EngineFailed):
            engine.docker(*command, name)
