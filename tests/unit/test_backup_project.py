"""A backup and a restore act on the containers of the root they are told of, and of no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.backup.errors import BackupError
from deploy.backup.place import place_at
from deploy.backup.project import project_of

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "backup" / "backup.py"
# notes what it is asked, and has no container
DOCKER = '#!/bin/sh\necho "$@" >>"$SAID"\n'


def deployed(root: Path, told: dict[str, object]) -> Path:
    release = root / "releases" / "20261122T000000Z-abc1234"
    release.mkdir(parents=True)
    (release / "release.json").write_text(json.dumps(told), encoding="utf-8")
    (root / "current").symlink_to(Path("releases") / release.name)
    (root / "shared").mkdir()
    (root / "shared" / ".env").write_text("TRADING_MODE=paper\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("command", [("make",), ("list",), ("restore", "latest")])
def test_a_rehearsal_beside_the_real_one_is_the_only_one_asked_for(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "docker").chmod(0o755)
    root = deployed(tmp_path / "autotrader-rehearsal", {"project": "autotrader-sandbox", "overlays": ["sandbox"]})
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *command, "--root", str(root)],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SAID": str(tmp_path / "said")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    asked = (tmp_path / "said").read_text(encoding="utf-8").split()
    projects = {word.partition("project=")[2] for word in asked if "compose.project=" in word}
    assert projects == {"autotrader-sandbox"}
    assert "neither a container of the compose project autotrader-sandbox nor" in done.stderr


def test_the_release_says_it_whatever_the_settings_do(tmp_path: Path) -> None:
    root = deployed(tmp_path / "root", {"project": "autotrader-two", "overlays": []})
    (root / "shared" / ".env").write_text("DEPLOY_WITH=sandbox\nCOMPOSE_PROJECT_NAME=other\n", encoding="utf-8")
    assert project_of(place_at(root, {})) == "autotrader-two"


@pytest.mark.parametrize("told", [{}, None], ids=["it does not say", "no release in use"])
def test_a_deployment_that_does_not_say_it_is_not_guessed_at(tmp_path: Path, told: dict[str, object] | None) -> None:
    root = deployed(tmp_path / "root", told or {})
    if told is None:
        (root / "current").unlink()
    with pytest.raises(BackupError, match=r"does not say which compose project .* name the project with --project"):
        project_of(place_at(root, {}))


@pytest.mark.parametrize(
    ("written", "environment", "project"),
    [
        ("", {}, "autotrader"),
        ("DEPLOY_WITH=monitoring\n", {}, "autotrader"),
        ("export DEPLOY_WITH = 'together,sandbox'\n", {}, "autotrader-sandbox"),
        ("", {"WITH": "sandbox together"}, "autotrader-sandbox"),
        ("DEPLOY_WITH=sandbox\n", {"WITH": ""}, "autotrader"),
        ("DEPLOY_WITH=sandbox\nCOMPOSE_PROJECT_NAME=mine\n", {}, "mine"),
        ("COMPOSE_PROJECT_NAME=mine\n", {"COMPOSE_PROJECT_NAME": "yours"}, "yours"),
    ],
)
def test_of_a_checkout_it_is_the_stack_that_make_up_starts(
    tmp_path: Path, written: str, environment: dict[str, str], project: str
) -> None:
    (tmp_path / ".env").write_text(written, encoding="utf-8")
    assert project_of(place_at(tmp_path, environment)) == project


def test_the_names_are_those_of_the_compose_files() -> None:
    for file, name in (("compose.yaml", "autotrader"), ("compose.sandbox.yaml", "autotrader-sandbox")):
        assert f"name: {name}" in (ROOT / "deploy" / file).read_text(encoding="utf-8").splitlines()
