"""Can this machine be deployed to? Each fault with its cure, before anything is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.pi.layout import DeployError
from deploy.pi.remote import Machine

PLATFORMS = {"aarch64": "linux/arm64", "arm64": "linux/arm64", "x86_64": "linux/amd64", "amd64": "linux/amd64"}
PROBE = Path(__file__).with_name("probe.py")
# the image three times over (sent, unpacked, and the one before), its servers, a dump
DISK_BYTES = 3_000_000_000
# what all processes together need is 450 MB, PostgreSQL and Redis besides
MEMORY_BYTES = 400_000_000
CLOCK_SECONDS = 30
LARGE_PAGES = 16384
PROVISION = "`make provision-pi PI={to}` sets it up"


def probe(machine: Machine, root: str) -> dict[str, Any]:
    """What the machine says of itself. Raises `DeployError`."""
    done = machine.run(["python3", "-", root], given=PROBE.read_text(encoding="utf-8"), check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        provision = PROVISION.format(to=machine.to)
        raise DeployError(f"{machine.to}: its python3 does not answer ({said}); {provision}") from None
    return found


def faults(found: dict[str, Any], to: str, root: str, now: float | None = None) -> Iterator[str]:
    """Why it cannot be deployed to, a sentence each."""
    provision = PROVISION.format(to=to)
    if found["system"] != "Linux" or found["machine"] not in PLATFORMS:
        yield (
            f"{to} is {found['system']} on {found['machine']}; a 64-bit Linux is needed (Raspberry Pi OS Lite 64-bit; "
            "armv7l is the 32-bit one)"
        )
    if tuple(found["python"]) < (3, 11):
        version = ".".join(map(str, found["python"]))
        yield f"its python3 is {version}; 3.11 or newer is needed: upgrade to Debian 12 or 13"
    if not found["docker"]:
        yield f"docker does not answer its user ({found['docker_says']}); {provision}, and log in again for the group"
    elif not found["compose"] or found["compose"].lstrip("v").startswith("1."):
        yield f"docker has no compose plugin (v2); {provision}"
    if not found["memory_cgroup"]:
        yield (
            "its kernel does not limit memory by cgroup: add cgroup_enable=memory to the one line of "
            f"/boot/firmware/cmdline.txt and reboot, or {provision}"
        )
    if not found["root_writable"]:
        yield f"{root} is not there, or not its user's; {provision} (by hand: sudo install -d -o $USER {root})"
    for name, what in {"disk_free": root, "docker_disk_free": "docker's folder"}.items():
        if found["docker"] and found[name] < DISK_BYTES:
            yield (
                f"the disk of {what} has {found[name] / 1e9:.1f} GB free, {DISK_BYTES / 1e9:.1f} GB are needed for the "
                "image and a dump: remove what is not needed (docker image prune, old files in backups/)"
            )
    if found["memory_free"] < MEMORY_BYTES and not found["current"]:
        free, needed = found["memory_free"] / 1e6, MEMORY_BYTES / 1e6
        yield f"{free:.0f} MB of memory are free, {needed:.0f} MB are needed: stop what else runs, or WITH=together"
    ahead = found["time"] - (time.time() if now is None else now)
    if abs(ahead) > CLOCK_SECONDS:
        yield f"its clock is {ahead:+.0f} s off ours: venues refuse its orders; `timedatectl set-ntp true`, then wait"
    elif found["clock"] == "no":
        yield "its clock is not synchronised yet: wait a minute after the start, or see `timedatectl` and the network"
    if found["busy"]:
        yield "another deployment is under way there; `make status-pi` shows how far it is"
    if found["ports_taken"]:
        ports = ", ".join(map(str, found["ports_taken"]))
        yield (
            f"port {ports} is taken there: stop the program that has it (`make down` where `make up` was), or set "
            "HTTP_PORT and HTTPS_PORT in its .env"
        )


def notes(found: dict[str, Any]) -> Iterator[str]:
    """What is good to know, and no fault."""
    if found["page_size"] >= LARGE_PAGES:
        yield (
            "its kernel has 16 KiB pages (Raspberry Pi 5): the images that are used work with them; should a program "
            'end with "Unsupported system page size", set kernel=kernel8.img in /boot/firmware/config.txt'
        )
    if found["clock"] == "":
        yield "nobody there knows whether its clock is synchronised; it is right now"
