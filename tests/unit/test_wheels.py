"""`make wheels` names the package that would have to be compiled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deploy import wheels

WINDOWS_ONLY = "pywin32==311 --hash=sha256:3ce80b34b22b17ccbd937a6e78e7225d80c52f5ab9940fe0506a1a16f3dab503\n"


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed, and pip would take minutes")
def test_a_package_without_a_wheel_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(WINDOWS_ONLY)
    [says] = wheels.faults(lock, ["aarch64"], ["3.13"])
    if "pywin32" not in says or "Failed to fetch" in says:
        pytest.skip(f"the registry of packages does not answer: {says}")
    assert says.startswith("aarch64, Python 3.13: pywin32==311 has no wheel")


def test_both_machines_are_asked_for_with_every_python() -> None:
    command = " ".join(wheels.command(wheels.LOCK, "aarch64", "3.13"))
    assert "aarch64" in command
    assert "--only-binary :all:" in command
    assert wheels.MACHINES == ("aarch64", "x86_64")
    assert wheels.PYTHONS == ("3.11", "3.12", "3.13")
