"""The rules know nothing of what runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "trading"
FORBIDDEN = (
    "celery", "redis", "sqlalchemy", "aiohttp", "fastapi", "telegram", "opentelemetry",
    "settings", "tasks", "workers", "storage", "notifications", "telemetry", "beat",
)  # fmt: skip


def test_importing_every_rule_loads_no_infrastructure() -> None:
    modules = [f"trading.{path.stem}" for path in PACKAGE.glob("*.py") if path.stem != "__init__"]
    code = f"import sys, {', '.join(modules)}; print(sorted(set({FORBIDDEN!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
