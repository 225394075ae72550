"""What a deployment has done: written before and after every step, so that whoever comes after knows where it stands.

One file, ROOT/state/deploy.json, of the deployment that is under way or was the last.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from deploy.pi.layout import DeployError, Layout, append_line, write_whole

Phase = Literal["forward", "back", "ended"]
Outcome = Literal["", "deployed", "rolled back", "failed"]
# how long whoever was killed may have children that still act
LOCK_PATIENCE_SECONDS = 150.0


class Busy(DeployError):
    """Another deployment is under way."""


@dataclass(slots=True)
class Step:
    """A step of either direction; `ended` is "" while it runs or was cut off."""

    name: str
    began: str
    ended: str = ""
    says: str = ""


@dataclass(slots=True)
class Facts:
    """What was so before anything was changed."""

    # the schema's revision, None where there was no database
    revision: str | None = None
    # the volumes of the project and whether it had containers, so that a first deployment that fails leaves no
    # others; None while nobody has looked, and then nothing is removed
    volumes: list[str] | None = None
    containers: bool | None = None
    # processes of the release of before ran: a deployment that fails starts none that somebody had stopped
    acted: bool = True
    # what the versions know, by release
    known: dict[str, list[str]] = field(default_factory=dict)
    # the dump of before, and how many orders were in the journal then
    dump: str = ""
    orders: int | None = None
    # the schema may have been changed
    migrating: bool = False


@dataclass(slots=True)
class Journal:
    """A deployment of `target`, from `previous` (None for the first of a machine)."""

    layout: Layout
    id: str
    kind: Literal["deploy", "rollback"]
    target: str
    previous: str | None
    # what has to finish it: the program of the release that began it
    program: str
    began: str = ""
    phase: Phase = "forward"
    outcome: Outcome = ""
    fault: str = ""
    steps: list[Step] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)

    @property
    def headline(self) -> str:
        """The fault in a line: of a command, also the line that it said."""
        lines = [line.strip() for line in self.fault.splitlines()]
        return " ".join(lines) if len(lines) == 2 else "".join(lines[:1])

    def save(self) -> None:
        """Put it on the disk."""
        said = asdict(self)
        del said["layout"]
        if self.facts.acted or self.phase == "ended":
            # a release that knows no such fact reads the journal too, once it was gone back to
            del said["facts"]["acted"]
        write_whole(self.layout.state / "deploy.json", json.dumps(said, indent=1) + "\n")

    def say(self, text: str) -> None:
        """A line of progress, for whoever follows and for later."""
        line = f"{datetime.now(UTC):%H:%M:%S}  {text}"
        append_line(self.layout.log_of(self.id), line)

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Write that it begins, and that it has ended; what it raises leaves it begun."""
        step, started = Step(name, _now()), time.monotonic()
        self.steps.append(step)
        self.save()
        self.say(f"{title} ...")
        yield step
        step.ended = _now()
        self.save()
        self.say(f"{title}: {step.says or 'done'} ({time.monotonic() - started:.1f} s)")

    def end(self, outcome: Outcome) -> None:
        """Write it into the history, and close it: in this order, for whoever is cut off between the two ends it again,
        and a line that is there twice does no harm."""
        self.phase, self.outcome = "ended", outcome
        line = {
            "at": _now(),
            "id": self.id,
            "kind": self.kind,
            "target": self.target,
            "previous": self.previous,
            "outcome": outcome,
            "fault": self.fault,
        }
        append_line(self.layout.history, json.dumps(line))
        self.save()
        self.layout.begun.unlink(missing_ok=True)


def read_journal(layout: Layout) -> Journal | None:
    """The deployment under way, or the last one; None before the first. Raises `DeployError`."""
    path = layout.state / "deploy.json"
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        steps = [Step(**step) for step in said.pop("steps")]
        return Journal(layout, steps=steps, facts=Facts(**said.pop("facts")), **said)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{path} cannot be read ({error}); look into it before deploying anew") from None


@contextmanager
def alone(layout: Layout, patience: float = 0.0) -> Iterator[int]:
    """The right to change this machine, as a handle that children inherit: it ends with the last who has it.

    Raises `Busy` if somebody else has it for longer than `patience` seconds.
    """
    layout.state.mkdir(parents=True, exist_ok=True)
    # to read, since it may belong to root
    handle = os.open(layout.state / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        latest = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= latest:
                    raise Busy(_who(layout)) from None
                time.sleep(0.2)
        yield handle
    finally:
        os.close(handle)


def _who(layout: Layout) -> str:
    journal = read_journal(layout)
    doing = f"{journal.id} to release {journal.target}, since {journal.began}" if journal else "which has just begun"
    return f"another deployment is under way ({doing}); wait for it, `make status-pi` shows how far it is"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_id(kind: str) -> str:
    """The id of a deployment that begins now."""
    return f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
