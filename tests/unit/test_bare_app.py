"""The worker that telemetry is measured against differs from ours in telemetry alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# what makes a task dear or cheap and is no telemetry
SAME = (
    "broker_transport_options", "result_expires", "task_serializer", "accept_content", "task_acks_late",
    "task_reject_on_worker_lost", "worker_prefetch_multiplier", "worker_concurrency", "task_track_started",
    "redis_socket_timeout", "redis_socket_keepalive", "worker_soft_shutdown_timeout",
)  # fmt: skip


def configuration(module: str, tmp_path: Path) -> dict[str, Any]:
    script = f"import json; from {module} import app; print(json.dumps({{k: app.conf[k] for k in {SAME!r}}}))"
    env = {"PYTHONPATH": str(ROOT), "REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql+asyncpg://u@h/d"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    conf: dict[str, Any] = json.loads(done.stdout)
    return conf


@pytest.mark.parametrize("name", SAME)
def test_bare_celery_delivers_as_ours_does(name: str, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    bare, ours = both
    assert bare[name] == ours[name]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("bare")
    return configuration("benchmarks.bare_app", folder), configuration("tasks.app", folder)
