"""Whether every package of requirements.lock has a wheel for the machines this runs on: `make wheels`.

Where one is missing, pip would compile it: on a Raspberry Pi for an hour, in the image not at all. uv is asked what it
would install on each of them, which takes seconds; where there is no uv, pip is, which takes minutes. A package without
a wheel is named, and ends it with 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
PYTHONS = ("3.11", "3.12", "3.13")
# what wheels may be built for, up to manylinux_2_28; Debian 12 has glibc 2.36, 13 has 2.41
GLIBC = (17, 24, 26, 27, 28)
MACHINES = ("aarch64", "x86_64")
MISSING = re.compile(r"No matching distribution found for (\S+)|Because (\S+) has no wheels")


def platforms(machine: str) -> list[str]:
    """The tags of wheels that run there, as pip wants them named."""
    return [*(f"manylinux_2_{minor}_{machine}" for minor in GLIBC), f"manylinux2014_{machine}", f"linux_{machine}"]


def command(lock: Path, machine: str, python: str) -> list[str]:
    """What asks for that machine; it writes nothing."""
    what = ("--dry-run", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", "nowhere")
    if uv := shutil.which("uv"):
        where = ("--python-platform", f"{machine}-manylinux_2_28", "--python-version", python)
        return [uv, "pip", "install", *what, *where, "-r", str(lock)]
    pip = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--ignore-installed")
    where = ("--implementation", "cp", "--python-version", python)
    tags = (part for tag in platforms(machine) for part in ("--platform", tag))
    return [*pip, *what, *where, *tags, "-r", str(lock)]


def fault(lock: Path, machine: str, python: str) -> str:
    """What is missing there, or "". Whatever else hinders the question is a fault, too."""
    # uv makes the folder that it is to write nothing into
    with TemporaryDirectory() as folder:
        asks = command(lock.resolve(), machine, python)
        # uv trusts only its own authorities unless it is told; the name of that was changed once
        trusts = {"UV_NATIVE_TLS": "true", "UV_SYSTEM_CERTS": "true"}
        done = subprocess.run(
            asks, cwd=folder, env={**os.environ, **trusts}, capture_output=True, text=True, check=False
        )
    if done.returncode == 0:
        return ""
    missing = MISSING.search(done.stderr)
    what = f"{missing[1] or missing[2]} has no wheel" if missing else done.stderr.strip()[-2000:]
    return f"{machine}, Python {python}: {what}"


def faults(lock: Path, machines: Iterable[str] = MACHINES, pythons: Sequence[str] = PYTHONS) -> list[str]:
    """One line for each machine and Python that lacks a wheel."""
    asked = [(machine, python) for machine in machines for python in pythons]
    with ThreadPoolExecutor(2) as threads:
        return [found for found in threads.map(lambda of: fault(lock, *of), asked) if found]


def main() -> int:
    found = faults(LOCK)
    for line in found:
        sys.stderr.write(f"wheels: {line}\n")
    if not found:
        sys.stdout.write(f"every package has wheels for {', '.join(MACHINES)} and Python {', '.join(PYTHONS)}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
