"""A machine with docker in memory, which loses its power at any command one likes, and minds what may never be."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.pi import switch
from deploy.pi.layout import Layout, Release
from deploy.pi.stack import CommandFailed, Stack

PROJECT = "autotrader"
OLD, NEW, BROKEN, UNHEALTHY = (
    f"2026010{day}T000000Z-{name}" for day, name in ((1, "01d"), (2, "0e3"), (3, "bad"), (4, "111"))
)
APP = ("beat", "worker-upbit", "notifier", "api")
KNOWN = {OLD: ["0001", "0002"], NEW: ["0001", "0002", "0003"]}
KNOWN |= {BROKEN: [*KNOWN[NEW], "0004"], UNHEALTHY: [*KNOWN[NEW], "0004"]}


class PowerCut(BaseException):
    """Nothing runs after it: no handler, no clean-up."""


@dataclass
class Machine:
    """What is on the disk and in docker; it stays when the power is cut."""

    root: Path
    images: set[str] = field(default_factory=lambda: {f"autotrader:{name}" for name in KNOWN})
    # service -> (image, state)
    containers: dict[str, tuple[str, str]] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    # service -> the settings that it was made with
    settings: dict[str, str] = field(default_factory=dict)
    revision: str | None = None
    orders: int = 3
    # whoever has halted everything, the last on top
    halts: list[str] = field(default_factory=list)
    stuck: bool = False
    # the schema cannot go back
    frozen: bool = False
    bad_settings: str = ""
    calls: int = 0
    # at this command, before or after what it does
    cut_at: tuple[int, bool] | None = None
    said: list[str] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    def has_release(self, name: str) -> None:
        folder = self.root / "releases" / name
        (folder / "deploy").mkdir(parents=True)
        told = {"image": f"autotrader:{name}", "revision": name, "project": PROJECT, "overlays": []}
        (folder / "release.json").write_text(json.dumps(told))

    def is_sent(self, name: str, settings: str) -> None:
        """Settings that came with a release."""
        self.layout.env_new(name).write_text(settings)
        self.layout.env_new(name).chmod(0o600)

    def runs(self, service: str) -> str:
        """The image that a service runs, "" if it does not."""
        image, state = self.containers.get(service, ("", ""))
        return image if state == "running" else ""

    def boot(self) -> None:
        """The power is back: docker starts what had run, in no order and of any release."""
        self.calls, self.cut_at = 0, None

    def switch(self, *arguments: str, cut_at: tuple[int, bool] | None = None) -> int:
        """Run switch.py here; its exit code. Raises `PowerCut`."""
        self.calls, self.cut_at = 0, cut_at
        return switch.main([*arguments, "--root", str(self.root)])


class TwinStack(Stack):
    """Docker's answers, from the machine."""

    machine: Machine

    def run(
        self,
        command: Sequence[str],
        release: Release | None,
        *,
        extra: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        machine = self.machine
        machine.calls += 1
        if machine.cut_at == (machine.calls, False):
            raise PowerCut
        try:
            out = self._does(list(command), release)
        except CommandFailed:
            if machine.cut_at == (machine.calls, True):
                raise PowerCut from None
            if check:
                raise
            return subprocess.CompletedProcess(command, 1, "", "")
        if machine.cut_at == (machine.calls, True):
            raise PowerCut
        return subprocess.CompletedProcess(command, 0, out, "")

    def _does(self, command: list[str], release: Release | None) -> str:
        machine = self.machine
        match command:
            case ["docker", "image", "inspect", _, _, image]:
                if image not in machine.images:
                    raise CommandFailed("no such image")
            case ["docker", "image", "rm", image]:
                machine.images.discard(image)
            case ["docker", "ps", *_]:
                # the images of the stores have no title
                rows = [
                    f"{name}\t{image.partition(':')[0] if ':' in image else ''}\t{state}\t{name}\tFalse"
                    for name, (image, state) in machine.containers.items()
                ]
                return "\n".join(rows)
            case ["docker", "stop", *names]:
                for name in names:
                    if not machine.stuck:
                        machine.containers[name] = (machine.containers[name][0], "exited")
            case ["docker", "volume", "ls", *_]:
                return "\n".join(sorted(machine.volumes))
            case ["docker", "volume", "rm", *names]:
                machine.volumes -= set(names)
                machine.halts.clear()
                machine.revision = None
            case ["docker", "logs", *_]:
                return "it says why"
            case ["docker", "compose", *rest]:
                assert release is not None
                return self._compose(rest[rest.index(str(release.files[-1])) + 1 :], release)
            case [_, program, verb, *rest] if program.endswith("backup.py"):
                return self._backup(verb, rest)
            case _:
                raise AssertionError(f"a command that docker does not know: {command}")
        return ""

    def _compose(self, words: list[str], release: Release) -> str:
        machine = self.machine
        match words:
            case ["config" | "pull", *_]:
                return ""
            case ["down", *_]:
                machine.containers.clear()
            case ["stop"]:
                machine.containers = {name: (image, "exited") for name, (image, _) in machine.containers.items()}
            case ["up", "--no-start", *_]:
                machine.containers["migrate"] = (release.image, "created")
            case ["up", *rest]:
                self._up(release, [name for name in rest if name in ("postgres", "redis")])
            case ["ps", *_]:
                one = {"Service": "api", "State": "running", "Health": "unhealthy", "ID": "api", "ExitCode": 0}
                return json.dumps(one)
            case ["exec", *_, query] if "to_regclass" in query:
                return "t\n" if machine.revision is not None else "f\n"
            case ["exec", *_]:
                if machine.revision is None:
                    raise CommandFailed("no table")
                return str(machine.orders)
            case ["run", *_]:
                # its mounts are made for it
                machine.volumes.add(f"{PROJECT}_state")
                return self._ask(words[words.index("migrate") + 1 :], release)
            case _:
                raise AssertionError(f"a command that compose does not know: {words}")
        return ""

    def _up(self, release: Release, services: list[str]) -> None:
        machine = self.machine
        machine.volumes |= {f"{PROJECT}_postgres", f"{PROJECT}_redis"}
        for name in services or ("postgres", "redis"):
            machine.containers[name] = (name, "running")
        if services:
            return
        head = KNOWN[release.id][-1]
        if machine.revision != head:
            if machine.revision not in (*KNOWN[release.id], None):
                raise CommandFailed(f"migrate: can't locate revision {machine.revision}")
            machine.revision = head
        others = [name for name in APP if machine.runs(name) not in ("", release.image)]
        assert not others, f"two releases at once: {others} still run while {release.id} starts"
        for name in APP:
            machine.containers[name] = (release.image, "running")
            machine.settings[name] = self._layout.env.read_text()
        if machine.layout.current_id() != release.id:
            assert machine.halts, f"{release.id} may trade before it is in use"
        if release.id == UNHEALTHY:
            raise CommandFailed("container autotrader-api-1 is unhealthy")

    def _ask(self, words: list[str], release: Release) -> str:
        machine, known = self.machine, KNOWN[release.id]
        match words:
            case ["release", "facts"]:
                if machine.bad_settings:
                    raise CommandFailed(machine.bad_settings)
                return json.dumps({"known": known, "one_way": [], "mode": "paper"})
            case ["release", "schema", *to]:
                assert machine.runs("postgres"), "nobody is there to ask"
                if to:
                    assert not [name for name in APP if machine.runs(name)], "the schema changes under who trades"
                    if machine.revision not in (*known, None) or to[0] not in known:
                        raise CommandFailed("unknown revision")
                    if machine.frozen and machine.revision is not None and to[0] < machine.revision:
                        raise CommandFailed("rows that the older schema does not allow")
                    machine.revision = to[0]
                return json.dumps({"current": machine.revision})
            case ["release", ("hold" | "lift") as what, id]:
                if machine.revision != known[-1]:
                    raise CommandFailed("not migrated")
                if what == "hold" and id not in machine.halts:
                    machine.halts.append(id)
                elif what == "lift" and id in machine.halts:
                    machine.halts.remove(id)
                return "as asked"
            case ["release", "smoke", *_]:
                assert machine.runs("beat") == release.image
                if release.id == BROKEN:
                    raise CommandFailed("FAULT   canary through upbit: no worker did it")
                return "ok      canary through upbit"
        raise AssertionError(f"a command that autotrader does not know: {words}")

    def _backup(self, verb: str, words: list[str]) -> str:
        machine = self.machine
        if verb == "make":
            path = machine.layout.backups / f"{machine.revision}-pre-deploy.dump"
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(machine.revision))
            return f"{path}\n"
        assert verb == "restore"
        machine.revision = Path(words[0]).read_text()
        machine.halts.append("restore")
        return ""
