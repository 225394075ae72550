"""Whoever trades is started again after a restore, however far the stopping came."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.backup.errors import BackupError
from deploy.backup.server import Server
from deploy.backup.traders import stopped

IN_THE_STACK = Server("autotrader", {}, container="postgres")
# two of ours run; `stop` does once what STOP says
DOCKER = """#!/bin/sh
case $1 in
  ps) case "$*" in *service=worker-upbit*) echo "upbit running" ;; *service=beat*) echo "beat running" ;; esac ;;
  inspect) echo '[{"State": {"Running": true}}]' ;;
  stop) echo "$@" >> "$SAID"; [ -e "$SAID.once" ] || { : > "$SAID.once"; eval "$STOP"; } ;;
  start) echo "$@" >> "$SAID" ;;
esac
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where docker notes whom it has stopped and started."""
    (tmp_path / "docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setenv("STOP", "")
    return tmp_path / "said"


def test_they_are_stopped_from_the_beat_on_and_started_in_the_other_order(said: Path) -> None:
    with stopped(IN_THE_STACK, "autotrader"):
        assert said.read_text().splitlines() == ["stop beat upbit"]
    assert said.read_text().splitlines() == ["stop beat upbit", "start upbit beat"]


@pytest.mark.parametrize(
    ("stop", "raised"),
    [("echo 'upbit: cannot be stopped' >&2; exit 1", BackupError), ("kill -INT $PPID; sleep 5", KeyboardInterrupt)],
    ids=["one does not stop", "Ctrl-C"],
)
def test_a_stop_that_fails_or_is_cut_off_leaves_nobody_stopped(
    said: Path, monkeypatch: pytest.MonkeyPatch, stop: str, raised: type[BaseException]
) -> None:
    monkeypatch.setenv("STOP", stop)
    with pytest.raises(raised), stopped(IN_THE_STACK, "autotrader"):
        pytest.fail("the restore began all the same")
    # the second stop waits for the first, which docker goes on with, so that it ends nobody who was started again
    assert said.read_text().splitlines() == ["stop beat upbit", "stop beat upbit", "start upbit beat"]
