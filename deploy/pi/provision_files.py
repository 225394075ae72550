"""The files that a provisioned machine has, as texts: where each goes, and what it has to be filled with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.pi.provision_probe import CannotProvision

HERE = Path(__file__).resolve().parent / "machine"
UNITS = Path(__file__).resolve().parents[1] / "systemd"

DEFAULT_ROOT = "/opt/autotrader"
# as in the units of deploy/systemd
DEFAULT_USER = "User=autotrader"
MEMORY_CGROUP = "cgroup_enable=memory"
# Logs of containers are bounded, and they go on while Docker itself is restarted or updated.
DOCKER = {"log-driver": "local", "log-opts": {"max-size": "10m", "max-file": "3"}, "live-restore": True}


@dataclass(frozen=True, slots=True)
class File:
    """A file to write: what it is for, its place there and its text."""

    title: str
    path: str
    text: str


def template(name: str, **values: str) -> str:
    """A file of deploy/pi/machine, with @NAME@ filled in."""
    text = (HERE / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def unit(name: str, root: str, user: str) -> File:
    """A unit of deploy/systemd, for this root folder and this user."""
    text = (UNITS / name).read_text(encoding="utf-8")
    text = text.replace(DEFAULT_ROOT, root).replace(DEFAULT_USER, f"User={user}")
    return File(f"unit {name}", f"/etc/systemd/system/{name}", text)


def ssh_ports(*ports: str) -> str:
    """The ports that stay open for ssh: the one that it was reached at, as the machine sees it, and 22."""
    return ", ".join(sorted({"22", *(port for port in ports if port)}, key=int))


def docker_settings(there: str | None) -> str:
    """/etc/docker/daemon.json with our keys, and whatever else stands in it. Raises `CannotProvision`."""
    try:
        known = json.loads(there) if there and there.strip() else {}
    except ValueError as error:
        raise CannotProvision(f"/etc/docker/daemon.json is no JSON ({error}); correct or remove it") from None
    if not isinstance(known, Mapping):
        raise CannotProvision("/etc/docker/daemon.json holds no JSON object; correct or remove it")
    return json.dumps({**known, **DOCKER}, indent=2) + "\n"


def kernel_line(there: str) -> str:
    """cmdline.txt with the memory cgroup on: one line, the rest of it untouched. Raises `CannotProvision`."""
    words = there.split()
    if len(there.strip().splitlines()) != 1 or not any(word.startswith("root=") for word in words):
        raise CannotProvision("/boot/firmware/cmdline.txt is not one line with root= in it; correct that first")
    if MEMORY_CGROUP in words:
        return there
    kept = [word for word in words if word not in ("cgroup_disable=memory",)]
    return " ".join([*kept, MEMORY_CGROUP]) + "\n"
