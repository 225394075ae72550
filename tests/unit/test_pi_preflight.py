"""Before anything is sent: each fault of the machine, and of the way to it, with its cure."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.pi.image import context_of, strip, where_to_build
from deploy.pi.layout import DeployError, Layout
from deploy.pi.preflight import faults, notes, probe
from deploy.pi.remote import Machine
from deploy.pi.sending import overlays_of, send_release, send_settings, tree

GOOD: dict[str, Any] = {
    "machine": "aarch64",
    "system": "Linux",
    "python": [3, 13],
    "page_size": 4096,
    "memory_cgroup": True,
    "memory_free": 2_000_000_000,
    "disk_free": 20_000_000_000,
    "docker_disk_free": 20_000_000_000,
    "clock": "yes",
    "time": 1000.0,
    "docker": "26.1.5",
    "docker_says": "",
    "compose": "2.26.1",
    "root_writable": True,
    "env": True,
    "busy": False,
    "current": "",
    "ports_taken": [],
}
LOCAL = Machine("local")


def told(**changed: Any) -> list[str]:
    return list(faults(GOOD | changed, "pi@host", "/opt/autotrader", 1000.0))


def test_a_good_machine_has_no_fault() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"machine": "armv7l"}, ("armv7l", "64-bit")),
        ({"python": [3, 9]}, ("3.9", "upgrade")),
        ({"docker": "", "docker_says": "permission denied"}, ("permission denied", "make provision-pi PI=pi@host")),
        ({"compose": ""}, ("compose plugin", "provision-pi")),
        ({"compose": "1.29.2"}, ("compose plugin", "provision-pi")),
        ({"memory_cgroup": False}, ("cgroup_enable=memory", "cmdline.txt")),
        ({"root_writable": False}, ("/opt/autotrader", "provision-pi")),
        ({"disk_free": 10**9}, ("1.0 GB free", "remove")),
        ({"docker_disk_free": 10**9}, ("docker's folder", "remove")),
        ({"memory_free": 10**8}, ("100 MB", "WITH=together")),
        ({"clock": "no"}, ("not synchronised", "timedatectl")),
        ({"time": 4600.0}, ("+3600 s", "set-ntp")),
        ({"busy": True}, ("another deployment", "status-pi")),
        ({"ports_taken": [80, 443]}, ("80, 443", "HTTP_PORT")),
    ],
)
def test_each_fault_names_its_cure(changed: dict[str, Any], words: tuple[str, ...]) -> None:
    (fault,) = told(**changed)
    for word in words:
        assert word in fault


def test_large_pages_are_noted_and_no_fault() -> None:
    assert told(page_size=16384) == []
    assert "kernel8.img" in next(notes(GOOD | {"page_size": 16384}))


def test_the_probe_runs_here_and_tells_all_that_is_judged(tmp_path: Path) -> None:
    found = probe(LOCAL, str(tmp_path), "autotrader-nobody")
    assert set(found) == {*GOOD, "user"}
    assert abs(found["time"] - time.time()) < 3600
    assert found["root_writable"]


def test_a_machine_that_cannot_be_reached_is_told_with_what_to_do() -> None:
    if shutil.which("ssh") is None:
        pytest.skip("no ssh here")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        machine = Machine("pi@127.0.0.1", port=str(taken.getsockname()[1]), options=("-F", "none"))
        try:
            with pytest.raises(DeployError, match="is sshd on"):
                machine.run(["true"])
        finally:
            machine.close()


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "ssh-keygen -R host"),
        ("Host key verification failed.", "compare the fingerprint"),
        ("pi@host: Permission denied (publickey,password).", "ssh-copy-id pi@host"),
        ("ssh: Could not resolve hostname host: Name or service not known", "no such host"),
        ("ssh: connect to host host port 22: Connection timed out", "is it on"),
        ("kex_exchange_identification: read: what is that", "cannot be reached: kex_exchange"),
    ],
)
def test_what_ssh_says_becomes_a_cure(said: str, cure: str) -> None:
    assert cure in Machine("pi@host").why(said)


def test_without_a_machine_nothing_begins() -> None:
    program = Path(__file__).resolve().parents[2] / "deploy" / "pi" / "deploy.py"
    environment = {key: value for key, value in os.environ.items() if key not in ("PI", "PI_ROOT")}
    done = subprocess.run(
        [sys.executable, program, "status"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "PI=user@host" in done.stderr


def test_an_image_is_built_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    far = Machine("pi@host")
    with pytest.raises(DeployError, match="BUILD=there"):
        where_to_build("there", far, "linux/arm64", "linux/amd64")
    assert where_to_build("pi", far, "linux/amd64", "linux/amd64") == "pi"
    assert where_to_build("auto", LOCAL, "linux/amd64", "linux/amd64") == "here"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert where_to_build("auto", far, "linux/amd64", "linux/amd64") == "pi"


def saved_image(path: Path) -> None:
    """What `docker save` writes."""
    config = {"rootfs": {"diff_ids": ["sha256:base", "sha256:packages", "sha256:code"]}}
    manifest = [{"Config": "c.json", "Layers": ["base/layer.tar", "packages/layer.tar", "code/layer.tar"]}]
    files = {"c.json": json.dumps(config), "manifest.json": json.dumps(manifest)}
    files |= {name: name for name in manifest[0]["Layers"]}  # type: ignore[attr-defined]
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.parametrize(
    ("known", "left"),
    [
        ([], 3),
        ([("sha256:base", "sha256:other")], 2),
        ([("sha256:x",), ("sha256:base", "sha256:packages", "sha256:old")], 1),
        # the same layer upon another is another
        ([("sha256:packages", "sha256:base")], 3),
    ],
)
def test_only_layers_that_are_missing_are_sent(tmp_path: Path, known: list[tuple[str, ...]], left: int) -> None:
    saved, less = tmp_path / "saved.tar", tmp_path / "less.tar"
    saved_image(saved)
    assert strip(saved, less, known) == (left, 3)
    with tarfile.open(less) as tar:
        layers = [name for name in tar.getnames() if name.endswith("layer.tar")]
        assert len(layers) == left
        assert layers[-1] == "code/layer.tar"
        assert {"c.json", "manifest.json"} <= set(tar.getnames())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small copy of the project, committed."""
    folder = tmp_path / "project"
    for name in (
        "deploy/compose.yaml",
        "deploy/compose.together.yaml",
        "storage/migrations/versions/v0007_x.py",
        "Makefile",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / ".gitignore").write_text(".env*\n")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_a_release_is_whole_and_named_for_its_commit(tmp_path: Path, project: Path) -> None:
    here = tree(project)
    id = here.release_id(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert id == f"20260102T030405Z-{here.revision[:7]}"
    assert not here.is_dirty
    root = tmp_path / "root"
    send_release(LOCAL, str(root), here, id, ("together",))
    release = Layout(root).release(id)
    assert [path.read_text() for path in release.files] == ["deploy/compose.yaml", "deploy/compose.together.yaml"]
    assert json.loads((release.folder / "release.json").read_text())["schema"] == "0007"
    assert Layout(root).ids() == [id]
    (project / "new.txt").write_text("new")
    assert tree(project).release_id(datetime(2026, 1, 2, tzinfo=UTC)).endswith("dirty")
    assert context_of(project, ["Makefile"])
    with pytest.raises(DeployError, match="known: together"):
        overlays_of(LOCAL, str(root), "monitoringg", here)


def test_settings_are_sent_once_for_their_owner_alone_and_never_written_over(tmp_path: Path, project: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(DeployError, match="make env"):
        send_settings(LOCAL, str(root), False, False, project)
    (project / ".env").write_text("DEPLOY_WITH=together\n")
    assert "is sent" in send_settings(LOCAL, str(root), False, False, project)
    env = root / "shared" / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    assert overlays_of(LOCAL, str(root), None, tree(project)) == ("together",)
    assert "is the same" in send_settings(LOCAL, str(root), True, False, project)
    (project / ".env.pi").write_text("DEPLOY_WITH=\n")
    assert "SEND_ENV=1" in send_settings(LOCAL, str(root), True, False, project)
    assert env.read_text() == "DEPLOY_WITH=together\n"
    assert "kept beside it" in send_settings(LOCAL, str(root), True, True, project)
    assert env.read_text() == "DEPLOY_WITH=\n"
    assert len(list((root / "shared").glob(".env.2*"))) == 1
