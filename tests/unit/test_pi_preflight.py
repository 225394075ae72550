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
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.pi import deploy
from deploy.pi.image import context_of, packed, strip, where_to_build
from deploy.pi.launching import STOPPED
from deploy.pi.layout import DeployError, Layout
from deploy.pi.preflight import faults, notes, probe
from deploy.pi.remote import Machine, Unreachable
from deploy.pi.sending import Tree, drop_settings, overlays_of, project_of, send_release, send_settings, tree

ID = "20260102T000000Z-0e3"
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
ROOT = Path(__file__).resolve().parents[2]
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
    found = probe(LOCAL, str(tmp_path))
    assert set(found) == {*GOOD, "user"}
    assert abs(found["time"] - time.time()) < 3600
    assert found["root_writable"]


def test_a_taken_port_is_told_unless_a_release_of_this_folder_may_have_it(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "state").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "shared" / ".env").write_text(f"HTTP_PORT=1\nHTTPS_PORT={port}\n")
        assert probe(LOCAL, str(tmp_path))["ports_taken"] == [port]
        for phase, told in (("ended", [port]), ("forward", []), ("back", [])):
            (tmp_path / "state" / "deploy.json").write_text(json.dumps({"phase": phase}))
            assert probe(LOCAL, str(tmp_path))["ports_taken"] == told
        (tmp_path / "state" / "deploy.json").unlink()
        (tmp_path / "current").symlink_to("releases/any")
        assert probe(LOCAL, str(tmp_path))["ports_taken"] == []


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
        "deploy/compose.sandbox.yaml",
        "deploy/compose.monitoring.yaml",
        "storage/migrations/versions/v0007_x.py",
        "Makefile",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    shutil.copy(ROOT / "deploy" / "stack.sh", folder / "deploy" / "stack.sh")
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
    with pytest.raises(DeployError, match=r"known: .*together"):
        overlays_of(LOCAL, str(root), "monitoringg", here, ID)


def names_in(tar: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return opened.getnames()


def test_the_image_is_built_of_what_it_is_made_of_alone(project: Path) -> None:
    files = ["api/x.py", "api/.env.py", "api/__pycache__/x.pyc", "apis.py", "keys.txt", "tests/x.py", "README.md"]
    files += ["deploy/Dockerfile", "deploy/health.py", "deploy/pi/deploy.py", ".dockerignore"]
    for name in files:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    rules = "# what\n*\n!README.md\n!api\n!deploy/health.py\n**/__pycache__\n**/.env*\n"
    (project / ".dockerignore").write_text(rules)
    assert names_in(context_of(project, files)) == ["api/x.py", "README.md", "deploy/Dockerfile", "deploy/health.py"]
    assert names_in(packed(project, ["keys.txt"])) == ["keys.txt"]
    for wrong, says in ((f"{rules}api/x.py\n", "'api/x.py' is neither"), ("!api\n", "does not begin with")):
        (project / ".dockerignore").write_text(wrong)
        with pytest.raises(DeployError, match=says):
            context_of(project, files)
    (project / ".dockerignore").unlink()
    with pytest.raises(DeployError, match="cannot be read"):
        context_of(project, files)


def test_the_dockerignore_of_the_project_lets_no_settings_tests_or_history_in() -> None:
    made_of = ["api/__init__.py", "pyproject.toml", "deploy/Dockerfile", "deploy/health.py"]
    others = [".gitignore", "deploy/stack.sh", "tests/conftest.py", "Makefile"]
    assert all((ROOT / name).is_file() for name in (*made_of, *others))
    # those of which there is none could not be packed
    secrets = [".env", ".env.pi", "api/.env", ".git/config"]
    assert names_in(context_of(ROOT, [*made_of, *others, *secrets])) == made_of


def test_settings_are_no_part_of_a_release_whatever_git_was_told(tmp_path: Path, project: Path) -> None:
    (project / ".gitignore").write_text("")
    for name in (".env", ".env.pi", ".env.bak", "deploy/.env.old", ".envrc", ".env.example", "deploy/.env.example"):
        (project / name).write_text("GOOGLE_API_KEYS=secret\n")
    here = tree(project)
    assert [name for name in here.files if ".env" in name] == [".env.example", "deploy/.env.example"]
    send_release(LOCAL, str(tmp_path / "root"), here, here.release_id(datetime.now(UTC)), ())
    sent = sorted(path.name for path in (tmp_path / "root").rglob(".env*"))
    assert sent == [".env.example", ".env.example"]


def test_overlays_are_in_the_order_of_make_up(tmp_path: Path, project: Path) -> None:
    here = tree(project)
    wanted = overlays_of(LOCAL, str(tmp_path), "together,sandbox monitoring", here, ID)
    assert wanted == ("monitoring", "sandbox", "together")
    assert overlays_of(LOCAL, str(tmp_path), "", here, ID) == ()


def test_a_rehearsal_is_a_project_of_its_own_and_never_takes_the_place_of_the_real_one(
    tmp_path: Path, project: Path
) -> None:
    assert project_of(()) == project_of(("monitoring",)) == "autotrader"
    assert project_of(("monitoring", "sandbox")) == "autotrader-sandbox"
    assert project_of(("sandbox",), "mine") == "mine"
    here, root = tree(project), tmp_path / "root"
    for overlays, name in (((), "autotrader"), (("sandbox",), "autotrader-sandbox")):
        id = here.release_id(datetime.now(UTC))
        send_release(LOCAL, f"{root}-{name}", here, id, overlays)
        layout = Layout(Path(f"{root}-{name}"))
        assert layout.release(id).project == name
        layout.use(id)
    assert overlays_of(LOCAL, f"{root}-autotrader", "monitoring", here, ID) == ("monitoring",)
    assert overlays_of(LOCAL, f"{root}-autotrader-sandbox", "sandbox", here, ID) == ("sandbox",)
    with pytest.raises(DeployError, match=r"is the real one, and this one a rehearsal .* PI_ROOT="):
        overlays_of(LOCAL, f"{root}-autotrader", "sandbox", here, ID)
    with pytest.raises(DeployError, match="is a rehearsal, and this one the real one"):
        overlays_of(LOCAL, f"{root}-autotrader-sandbox", "", here, ID)


def test_settings_are_sent_once_for_their_owner_alone_and_never_written_over(tmp_path: Path, project: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(DeployError, match="make env"):
        send_settings(LOCAL, str(root), ID, False, False, project)
    (project / ".env").write_text("DEPLOY_WITH=together\n")
    assert "is sent" in send_settings(LOCAL, str(root), ID, False, False, project)
    env = root / "shared" / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    assert overlays_of(LOCAL, str(root), None, tree(project), ID) == ("together",)
    assert "is the same" in send_settings(LOCAL, str(root), ID, True, False, project)
    (project / ".env.pi").write_text("DEPLOY_WITH=\n")
    assert "SEND_ENV=1" in send_settings(LOCAL, str(root), ID, True, False, project)
    assert env.read_text() == "DEPLOY_WITH=together\n"
    assert f"stays until the machine switches to {ID}" in send_settings(LOCAL, str(root), ID, True, True, project)
    assert env.read_text() == "DEPLOY_WITH=together\n"
    new = Layout(root).env_new(ID)
    assert (new.read_text(), new.stat().st_mode & 0o777) == ("DEPLOY_WITH=\n", 0o600)
    # they are those of that release alone
    assert overlays_of(LOCAL, str(root), None, tree(project), ID) == ()
    assert overlays_of(LOCAL, str(root), None, tree(project), "20260103T000000Z-0e4") == ("together",)
    drop_settings(LOCAL, str(root), ID)
    drop_settings(LOCAL, str(root), ID)
    assert [path.name for path in env.parent.iterdir()] == [".env"]
    assert env.read_text() == "DEPLOY_WITH=together\n"


@pytest.mark.parametrize("line", ["export DEPLOY_WITH=sandbox", " DEPLOY_WITH = 'sandbox' # only on paper"])
def test_a_rehearsal_is_one_however_its_setting_is_written(tmp_path: Path, project: Path, line: str) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / ".env").write_text(f"API_TOKEN=secret\n{line}\nTRADING_MODE=paper\n")
    assert overlays_of(LOCAL, str(tmp_path), None, tree(project), ID) == ("sandbox",)


@pytest.fixture
def running(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A machine with settings, that is ready for the project with others."""
    layout = Layout(tmp_path / "root")
    layout.env.parent.mkdir(parents=True)
    layout.env.write_text("DEPLOY_WITH=together\n")
    (project / ".env").write_text("DEPLOY_WITH=\n")
    monkeypatch.setattr(deploy, "tree", lambda: tree(project))
    monkeypatch.setattr(deploy, "_preflight", lambda *_: {"env": True, "machine": "x86_64"})
    monkeypatch.setattr(deploy, "send_settings", partial(send_settings, folder=project))
    return layout


@pytest.mark.parametrize("ends", [Unreachable("it does not answer"), DeployError("no space"), KeyboardInterrupt()])
def test_a_deployment_that_ends_before_the_switch_has_not_touched_the_settings(
    running: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ends: BaseException
) -> None:
    def builds(*_: object) -> None:
        # whatever boots in these minutes reads the old ones
        assert running.env.read_text() == "DEPLOY_WITH=together\n"
        assert [path.name[:9] for path in running.env.parent.iterdir() if path != running.env] == [".env.new-"]
        if isinstance(ends, Unreachable):
            monkeypatch.setattr(Machine, "run", away)
        raise ends

    def away(*_: object, **__: object) -> None:
        raise Unreachable("nothing can be put back")

    monkeypatch.setattr(deploy, "_build_and_send", builds)
    assert deploy.main(["deploy", "--pi", "local", "--root", str(running.root), "--send-env"]) == 1
    assert (str(ends) or "no longer followed") in capsys.readouterr().err
    assert running.env.read_text() == "DEPLOY_WITH=together\n"
    left = [path.name for path in running.env.parent.iterdir() if path != running.env]
    # without a connection it stays there, and nobody reads it
    assert len(left) == isinstance(ends, Unreachable)


@pytest.mark.parametrize(
    ("launched", "ended", "left"), [(75, 0, 0), (0, 75, 0), (0, 2, 0), (0, 1, 0), (0, STOPPED, 1), (0, 0, 1)]
)
def test_settings_of_a_release_that_is_refused_are_removed(
    running: Layout, monkeypatch: pytest.MonkeyPatch, launched: int, ended: int, left: int
) -> None:
    says = f"import sys\nprint('deploy-1')\nsys.exit({launched} if sys.argv[1] == 'launch' else {ended})\n"

    def sends(machine: Machine, root: str, here: Tree, id: str, *_: object) -> None:
        program = running.releases / id / "deploy" / "pi" / "switch.py"
        program.parent.mkdir(parents=True)
        program.write_text(says)

    monkeypatch.setattr(deploy, "_build_and_send", lambda *_: None)
    monkeypatch.setattr(deploy, "send_release", sends)
    code = deploy.main(["deploy", "--pi", "local", "--root", str(running.root), "--send-env"])
    assert code == (1 if launched else ended)
    assert running.env.read_text() == "DEPLOY_WITH=together\n"
    assert len(list(running.env.parent.glob(".env.new-*"))) == left
