"""A release as containers: what is asked of docker, and how long it may take."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.pi.layout import DeployError, Layout, Release

# what a command may take before it counts as hanging; a start waits for health as long as WAIT_SECONDS besides
PATIENCE_SECONDS = 900.0
WAIT_SECONDS = 300
SMOKE_SECONDS = 90
# of what a command that failed has said
LINES_SHOWN = 20
# Who is stopped when: the beat first, so that nothing new is begun; the notifier last, so that all is told.
STAGES = {"beat": 0, "notifier": 2, "sandbox": 3}
# set by compose, or where docker keeps what it needs; nothing else of this environment changes what a release is
PASSED_ON = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "LANG", "XDG_RUNTIME_DIR")
# as the Dockerfile has it
TITLE = "autotrader"
_LABELS = ("org.opencontainers.image.title", "com.docker.compose.service", "com.docker.compose.oneoff")
_PR_SET_PDEATHSIG = 1
_IS_THERE = "\"SELECT to_regclass('orders') IS NOT NULL\""
_ORDERS = '"SELECT count(*) FROM orders"'


class CommandFailed(DeployError):
    """A command ended with another code than 0; the message has the end of what it said."""


@dataclass(frozen=True, slots=True)
class Container:
    """One of the project's, as docker lists it. `title` is what its image calls itself, by a label, whatever became of
    the image's name since; `oneoff` is one of `compose run`."""

    id: str
    title: str
    state: str
    service: str
    oneoff: bool

    @property
    def acts(self) -> bool:
        return self.state not in ("exited", "created", "dead")


class Stack:
    """The containers of a project. `lock` is inherited by every command, so that the last of them ends it."""

    def __init__(self, layout: Layout, lock: int | None = None, wait_seconds: int = WAIT_SECONDS) -> None:
        self._layout = layout
        self._lock = lock
        self._wait_seconds = wait_seconds

    def has_image(self, release: Release) -> bool:
        return self._docker("image", "inspect", "--format", "{{.Id}}", release.image, check=False).returncode == 0

    def remove_image(self, release: Release) -> None:
        """Take the release's tag away; layers that another has stay."""
        self._docker("image", "rm", release.image, check=False)

    def check_files(self, release: Release) -> None:
        """Raise `CommandFailed` unless compose can read all files with the machine's `.env`."""
        self.compose(release, "config", "--quiet")

    def fetch_images(self, release: Release) -> None:
        """Pull what is not there yet, while the release of before still runs. Raises `CommandFailed`."""
        self.compose(release, "pull", "--quiet", "--policy", "missing")

    def up(self, release: Release, *services: str) -> None:
        """Start what does not run as it should, and wait until all of it is healthy. Raises `CommandFailed`."""
        self._up_well(release, *([] if services else ["--remove-orphans"]), *services)

    def start(self, release: Release, *services: str) -> None:
        """Start what does not run, and leave what runs as it is, whatever has changed. Raises `CommandFailed`."""
        self._up_well(release, "--no-recreate", *services)

    def _up_well(self, release: Release, *words: str) -> None:
        self.compose(release, "up", "-d", "--wait", "--wait-timeout", str(self._wait_seconds), *words)

    def start_anyhow(self, release: Release) -> None:
        """Start it without waiting for health. Raises `CommandFailed`."""
        self.compose(release, "up", "-d", "--remove-orphans")

    def down(self, release: Release) -> None:
        """Stop and remove the containers; the volumes stay."""
        self.compose(release, "down", "--remove-orphans")

    def ask(self, release: Release, *arguments: str) -> str:
        """What a command of the release's own image prints. Raises `CommandFailed`."""
        return self.compose(release, "run", "--rm", "-T", "--no-deps", "migrate", *arguments)

    def put_back(self, release: Release, dump: str) -> None:
        """Restore a dump; the database of before is kept under another name. Raises `CommandFailed`."""
        # the restore migrates with the image of this container, which must be the release's own
        self.compose(release, "up", "--no-start", "--no-deps", "--force-recreate", "migrate")
        self.backup(release, "restore", dump)

    def orders(self, release: Release) -> int | None:
        """How many orders the journal has, 0 where it has no table yet; None where that cannot be told."""
        psql = 'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -Atc'
        try:
            if self.compose(release, "exec", "-T", "postgres", "sh", "-c", f"{psql} {_IS_THERE}").strip() == "f":
                return 0
            return int(self.compose(release, "exec", "-T", "postgres", "sh", "-c", f"{psql} {_ORDERS}"))
        except (CommandFailed, ValueError):
            return None

    def containers(self, project: str) -> list[Container]:
        """Every container of the project, also those that have ended."""
        title, service, oneoff = (f'{{{{.Label "{name}"}}}}' for name in _LABELS)
        listed = self._docker(
            *("ps", "--all", "--no-trunc", "--filter", f"label=com.docker.compose.project={project}"),
            *("--format", f"{{{{.ID}}}}\t{title}\t{{{{.State}}}}\t{service}\t{oneoff}"),
        ).stdout
        rows = [line.split("\t") for line in listed.splitlines()]
        return [Container(id, title, state, service, oneoff == "True") for id, title, state, service, oneoff in rows]

    def acting(self, release: Release) -> list[Container]:
        """The containers of any release of the project that could trade or fire a schedule."""
        return [one for one in self.containers(release.project) if one.acts and one.title == TITLE]

    def stop_all(self, release: Release) -> int:
        """Have every process of every release end in order, each with its own time for it; how many there were.

        Raises `DeployError` if one still runs then: two beats or two traders there never are.
        """
        there = self.acting(release)
        for one in there:
            if one.oneoff:
                self._docker("rm", "--force", one.id, check=False)
        for stage in range(max(STAGES.values()) + 1):
            ids = [one.id for one in there if not one.oneoff and STAGES.get(one.service, 1) == stage]
            if ids:
                # without --time, for each container brings the grace that its compose file gives it
                self._docker("stop", *ids, check=False)
        if left := self.acting(release):
            names = ", ".join(sorted(one.service for one in left))
            raise DeployError(f"{names} did not stop; `docker ps` shows the containers, `docker rm -f` ends one")
        return len(there)

    def volumes(self, project: str) -> list[str]:
        label = f"label=com.docker.compose.project={project}"
        return self._docker("volume", "ls", "--quiet", "--filter", label).stdout.split()

    def remove_volumes(self, names: Sequence[str]) -> None:
        if names:
            self._docker("volume", "rm", *names)

    def unhealthy(self, release: Release) -> str:
        """The services that do not run as they should, each with the end of its log."""
        told = []
        listed = self.compose(release, "ps", "--all", "--format", "json", check=False)
        for line in listed.splitlines():
            one = json.loads(line) if line.startswith("{") else {}
            well = one.get("State") == "running" and one.get("Health", "") in ("", "healthy")
            if not one or well or (one.get("State") == "exited" and one.get("ExitCode") == 0):
                continue
            log = self._docker("logs", "--tail", "12", one["ID"], check=False)
            said = "\n".join(f"    {text}" for text in (log.stdout + log.stderr).strip().splitlines())
            told.append(f"  {one['Service']}: {one.get('Status') or one.get('State')}\n{said}")
        return "\n".join(told)

    def backup(self, release: Release, *arguments: str) -> str:
        """What the release's backup program prints. Raises `CommandFailed`."""
        program = str(release.folder / "deploy" / "backup" / "backup.py")
        python = shutil.which("python3") or "python3"
        given = [python, program, *arguments, "--root", str(self._layout.root), "--project", release.project]
        return self.run(given, release, extra=self.environment(release)).stdout.strip()

    def compose(self, release: Release, *arguments: str, check: bool = True) -> str:
        """What `docker compose` prints for a release. Raises `CommandFailed`."""
        return self.run(self.words(release, *arguments), release, extra=self.environment(release), check=check).stdout

    def words(self, release: Release, *arguments: str) -> list[str]:
        """The command line of `docker compose` for a release, in its `environment`."""
        files = [part for path in release.files for part in ("-f", str(path))]
        # as deploy/stack.sh: what compose.sandbox.yaml keeps from starting, unless the overlay is there that it is for
        files += ["--profile", "monitoring"] if "monitoring" in release.overlays else []
        return ["docker", "compose", "--env-file", str(self._layout.env), "-p", release.project, *files, *arguments]

    def environment(self, release: Release) -> dict[str, str]:
        """What the compose files of a release read besides `.env`."""
        return {
            "AUTOTRADER_IMAGE": release.image,
            "ENV_FILE": str(self._layout.env),
            "COMPOSE_PROJECT_NAME": release.project,
            "COMPOSE_FILE": os.pathsep.join(map(str, release.files)),
            # what root would leave in a release, its owner could not remove
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(["docker", *arguments], None, check=check)

    def run(
        self,
        command: Sequence[str],
        release: Release | None,
        *,
        extra: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises `CommandFailed`."""
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | dict(extra or {})
        try:
            done = subprocess.run(
                command,
                cwd=release.folder if release else Path("/"),
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                # a log may have anything in it
                errors="replace",
                timeout=PATIENCE_SECONDS + self._wait_seconds,
                pass_fds=() if self._lock is None else (self._lock,),
                preexec_fn=_end_with_parent,
            )
        except FileNotFoundError:
            raise CommandFailed(f"{command[0]} is not installed; `make provision-pi` sets the machine up") from None
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{_short(command)} hangs; is docker well? (systemctl status docker)") from None
        if check and done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-LINES_SHOWN:]
            raise CommandFailed("\n".join([f"{_short(command)} ended with {done.returncode}:", *said]))
        return done


def _short(command: Sequence[str]) -> str:
    """A command without the files and names that are the same in each."""
    words, skipped = [], False
    for word in command:
        if skipped or word in ("-f", "-p", "--env-file"):
            skipped = not skipped
            continue
        words.append(Path(word).name if word.startswith("/") else word)
    return " ".join(words[:10])


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
