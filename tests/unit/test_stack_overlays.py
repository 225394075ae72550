"""deploy/stack.sh reads `.env` as compose does: what is written there as the rehearsal is not the real one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "stack.sh"


@pytest.mark.parametrize(
    "line",
    [
        "DEPLOY_WITH=sandbox",
        "export DEPLOY_WITH=sandbox",
        "  export\tDEPLOY_WITH = sandbox  ",
        'DEPLOY_WITH = "sandbox" # on paper',
        "export DEPLOY_WITH='sandbox'",
        "DEPLOY_WITH=sandbox # on paper",
        "DEPLOY_WITH=sandbox\r",
        "DEPLOY_WITH=\nDEPLOY_WITH=sandbox\n#DEPLOY_WITH=\nNOT_DEPLOY_WITH=collector",
    ],
)
def test_an_overlay_is_used_however_its_line_is_written(tmp_path: Path, line: str) -> None:
    assert files(tmp_path, line) == ["deploy/compose.yaml", "deploy/compose.sandbox.yaml"]


@pytest.mark.parametrize(
    "line", ["DEPLOY_WITH=", "export DEPLOY_WITH= # none", "DEPLOY_WITH=''", "exportDEPLOY_WITH=x"]
)
def test_no_overlay_is_none(tmp_path: Path, line: str) -> None:
    assert files(tmp_path, line) == ["deploy/compose.yaml"]


def files(folder: Path, text: str) -> list[str]:
    (folder / ".env").write_bytes(f"{text}\n".encode())
    done = subprocess.run(
        ["sh", str(SCRIPT), "files"],
        env={"PATH": os.environ["PATH"], "ENV_FILE": str(folder / ".env")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
