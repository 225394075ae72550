"""The folder of a machine that is deployed to: releases, the one in use, settings, dumps and what deployments left.

    ROOT/releases/<id>/  ROOT/current -> releases/<id>  ROOT/shared/.env  ROOT/backups/  ROOT/state/

Python's standard library only: this runs on the machine, before anything else is there.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_ROOT = Path("/opt/autotrader")
# YYYYMMDDTHHMMSSZ-<git short sha>, with "dirty" after it where the tree had changes; it names folders and images
RELEASE_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-z]{1,60}")

ENV_NEW = ".env.new-"


class DeployError(Exception):
    """Why it cannot go on: the fault, then the cure."""


@dataclass(frozen=True, slots=True)
class Release:
    """What `release.json` says. `overlays` are names of deploy/compose.<name>.yaml, in their order."""

    folder: Path
    id: str
    image: str
    revision: str
    project: str
    overlays: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """The compose files, the first of which the others change."""
        names = ["compose.yaml", *(f"compose.{name}.yaml" for name in self.overlays)]
        return [self.folder / "deploy" / name for name in names]

    @property
    def program(self) -> Path:
        """What switches to it and from it."""
        return self.folder / "deploy" / "pi" / "switch.py"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is below the root."""

    root: Path

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def begun(self) -> Path:
        """The first release of a machine while it is deployed: where a boot finds the program that goes on."""
        return self.state / "begun"

    def command(self, word: str) -> str:
        """What to type on the machine."""
        program = Path(__file__).with_name("switch.py")
        return f"`python3 {program} {word}{'' if self.root == DEFAULT_ROOT else f' --root {self.root}'}`"

    @property
    def env(self) -> Path:
        return self.root / "shared" / ".env"

    def env_new(self, release: str) -> Path:
        """The settings that were sent with a release; there only until it is switched to."""
        return self.env.with_name(f"{ENV_NEW}{release}")

    def env_before(self, release: str) -> Path:
        """The settings that were replaced for a release; there only until that has worked, or has not."""
        return self.env.with_name(f".env.before-{release}")

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def history(self) -> Path:
        return self.state / "history.jsonl"

    def log_of(self, deployment: str) -> Path:
        """What a deployment has said, line by line."""
        return self.state / f"{deployment}.log"

    def current_id(self) -> str | None:
        """The release in use, None before the first."""
        return Path(os.readlink(self.current)).name if self.current.is_symlink() else None

    def ids(self) -> list[str]:
        """Every release that is there, the oldest first; one that was only half sent is none."""
        if not self.releases.is_dir():
            return []
        found = (path.parent.name for path in self.releases.glob("*/release.json"))
        return sorted(name for name in found if RELEASE_ID.fullmatch(name))

    def release(self, name: str) -> Release:
        """Raises `DeployError` for one that is not there, or whose description cannot be read."""
        if not RELEASE_ID.fullmatch(name):
            raise DeployError(f"{name!r} is no release: an id looks like 20260131T120000Z-1a2b3c4")
        folder = self.releases / name
        try:
            said = json.loads((folder / "release.json").read_text(encoding="utf-8"))
            return Release(folder, name, *_told(said))
        except FileNotFoundError:
            there = ", ".join(self.ids()) or "none"
            raise DeployError(f"release {name} is not in {self.releases} (there: {there})") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise DeployError(f"{folder}/release.json cannot be read ({why}); deploy it anew") from None

    def use(self, name: str) -> None:
        """Point `current` at a release, in one step: there is never none."""
        _point(self.current, Path("releases") / name)

    def begin(self, name: str) -> None:
        """Note the first release of the machine before anything of it is done."""
        _point(self.begun, self.releases / name)


def _point(link: Path, to: Path) -> None:
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(to)
    os.replace(fresh, link)
    sync_folder(link.parent)


def _told(said: dict[str, Any]) -> tuple[str, str, str, tuple[str, ...]]:
    return str(said["image"]), str(said["revision"]), str(said["project"]), tuple(map(str, said["overlays"]))


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a power cut leaves the old or the new one, never a half."""
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line that is on the disk when this returns."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the disk know the names in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
