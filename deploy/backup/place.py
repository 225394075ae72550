"""Where things lie: the layout that a deployment makes, or a checkout of the project."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup.errors import BackupError

RELEASE = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-z]+")
STAMP = "%Y%m%dT%H%M%SZ"
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Place:
    """The root folder, what its `.env` says, and what the environment says, which wins."""

    root: Path
    written: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def env_file(self) -> Path:
        return env_file(self.root)

    @property
    def release(self) -> Path:
        """The folder of the running release; of a checkout, the checkout."""
        current = self.root / "current"
        return current if current.exists() else self.root

    def releases(self) -> list[datetime]:
        """When the releases that are kept here were made, oldest first."""
        folder = self.root / "releases"
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return [read_stamp(found[1]) for name in names if (found := RELEASE.fullmatch(name))]

    def setting(self, name: str) -> str:
        return (self.environment.get(name) or self.written.get(name, "")).strip()


def place_at(root: Path, environment: Mapping[str, str] | None = None) -> Place:
    """The place at `root`. Raises `BackupError` where there is no such folder."""
    root = root.expanduser().resolve()
    if not root.is_dir():
        raise BackupError(f"{root} is no folder; name the one that holds .env or shared/.env with --root")
    return Place(root, read_env(env_file(root)), os.environ if environment is None else environment)


def env_file(root: Path) -> Path:
    shared = root / "shared" / ".env"
    return shared if shared.exists() else root / ".env"


def read_env(path: Path) -> dict[str, str]:
    """The assignments of an env file, {} where there is none. Raises `BackupError` if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{path} cannot be read ({error}); run this as its owner") from None
    found = (_ASSIGNMENT.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: _value(match[2]) for match in found if match}


def _value(text: str) -> str:
    if len(text) >= 2 and text[0] in "'\"" and text.find(text[0], 1) > 0:
        return text[1 : text.find(text[0], 1)]
    return re.sub(r"(^|\s)#.*", "", text).strip()


def read_stamp(text: str) -> datetime:
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC)


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime(STAMP)
