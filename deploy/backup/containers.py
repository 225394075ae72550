"""The containers of the compose stack, found by the labels that compose gives them: whichever overlays are in use, and
also when the files of the stack are away."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from deploy.backup.errors import BackupError
from deploy.backup.running import run


def find_container(project: str, service: str) -> str:
    """The id of a service's container, "" where it or Docker is not there; a stopped one counts."""
    if not shutil.which("docker"):
        return ""
    labels = (f"project={project}", f"service={service}", "oneoff=False")
    filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
    try:
        found = run(["docker", "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.State}}", *filters])
    except BackupError as error:
        if "permission denied" in str(error).lower():
            raise BackupError("Docker refuses this user; run this with sudo, or join the group docker") from None
        return ""
    rows = sorted(found.split("\n"), key=lambda row: not row.endswith(" running"))
    return next((row.split()[0] for row in rows if row), "")


def inspect(container: str) -> dict[str, Any]:
    """What Docker knows of a container."""
    found: dict[str, Any] = json.loads(run(["docker", "inspect", container]))[0]
    return found


def variables(inspected: Mapping[str, Any]) -> dict[str, str]:
    """The environment a container was made with."""
    return dict(pair.split("=", 1) for pair in inspected["Config"]["Env"] if "=" in pair)


def copy_out(container: str, path: str) -> bytes:
    """A folder or a file of a container as a tar archive, b"" where it has none; a link is followed."""
    words = ["docker", "cp", "--follow-link", f"{container}:{path}", "-"]
    done = subprocess.run(words, capture_output=True, check=False)
    return b"" if done.returncode else done.stdout
