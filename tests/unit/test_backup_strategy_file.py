"""The strategy file is in the backup, where the processes see it, or its absence is told."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from deploy.backup.belongings import gather
from deploy.backup.dumps import companion
from deploy.backup.place import place_at
from deploy.backup.server import Server

# `docker cp` of a file gives a tar of it; INSIDE is the folder /etc/autotrader of the containers
DOCKER = """#!/bin/sh
case $1 in
  ps) case "$*" in *service=worker-kis*) echo "kis running" ;; esac ;;
  inspect) echo '[{"Config": {"Env": ["STRATEGY_FILE='"$NAMED"'"]}}]' ;;
  cp) for word; do case $word in kis:*) path=${word#kis:} ;; esac; done
      tar -C "$INSIDE" -cf - "${path#/etc/autotrader/}" ;;
  exec) echo "0|0" ;;
esac
"""
IN_THE_STACK = Server("autotrader", {}, container="postgres")
PATH = "/etc/autotrader/strategy.json"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("bin", "inside", "root/backups"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin" / "docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "bin" / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("INSIDE", str(tmp_path / "inside"))
    monkeypatch.setenv("NAMED", PATH)
    (tmp_path / "root" / ".env").write_text(f"STRATEGY_FILE={PATH}\n", encoding="utf-8")
    return tmp_path / "root"


def kept(root: Path, server: Server) -> dict[str, bytes]:
    dump = root / "backups" / "20261122T012000Z-0009.dump"
    gather(place_at(root, {}), server, dump, "autotrader")
    with tarfile.open(companion(dump)) as tar:
        return {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}


def test_of_the_stack_it_is_taken_from_a_container(root: Path) -> None:
    (root.parent / "inside" / "strategy.json").write_text('{"all": {}}', encoding="utf-8")
    assert kept(root, IN_THE_STACK)["strategy.json"] == b'{"all": {}}'


def test_one_that_no_container_has_is_told_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    assert "strategy.json" not in kept(root, IN_THE_STACK)
    assert f"STRATEGY_FILE IS NOT IN THIS BACKUP: {PATH} is in no container of the stack" in caplog.text


def test_a_rehearsal_that_has_none_is_told_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # what the overlay has taken away
    monkeypatch.setenv("NAMED", "")
    assert "strategy.json" not in kept(root, IN_THE_STACK)
    assert "STRATEGY_FILE" not in caplog.text


def test_without_containers_it_is_a_file_here(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    here, nobody = root / "mine.json", Server("autotrader", {"PGHOST": "127.0.0.1", "PGPORT": "1"})
    here.write_text("{}", encoding="utf-8")
    (root / ".env").write_text(f"STRATEGY_FILE={here}\n", encoding="utf-8")
    assert kept(root, nobody)["mine.json"] == b"{}"
    here.unlink()
    assert "mine.json" not in kept(root, nobody)
    assert f"STRATEGY_FILE IS NOT IN THIS BACKUP: {here} is no file here" in caplog.text
