"""What each process carries: nothing that only another one uses. Each is loaded in a Python of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# what nobody needs who runs for weeks: other processes, tools, sources, and what is imported only because it is there
NOBODY = frozenset(
    (
        *("flower", "tornado", "prompt_toolkit", "rich", "pygments", "yaml", "cryptography", "grpc", "alembic"),
        *("google.genai", "pydantic_ai", "pandas", "yfinance", "curl_cffi", "exchange_calendars", "sandbox", "pytest"),
    )
)
DRAWING = frozenset(("PIL",))
TELEGRAM = frozenset(("telegram", "httpx", "bot"))
HTTP = frozenset(("fastapi", "starlette", "uvicorn", "api"))
NUMBERS = frozenset(("numpy", "talib"))
DATABASE = frozenset(("sqlalchemy", "aiohttp"))
VENUES = frozenset(("workers.kis.market", "workers.kis.wire", "workers.upbit.market", "workers.llm.analyst"))

LOADS = {
    "worker": "import tasks.running, tasks.worker, celery.apps.worker; tasks.running.load_tasks()",
    "beat": "import tasks.running, celery.apps.beat, beat.scheduler",
    "notifier": "import bot.process, notifications.notifier, telemetry.starting",
    "api": "import api.process, telemetry.starting",
}
WITHOUT = {
    "worker": NOBODY | DRAWING | TELEGRAM | HTTP | VENUES,
    "beat": NOBODY | DRAWING | TELEGRAM | HTTP | NUMBERS | DATABASE | VENUES | {"asyncpg", "workers"},
    # SQLAlchemy comes with the first command that asks for more than a row
    "notifier": NOBODY | DRAWING | HTTP | NUMBERS | DATABASE | VENUES | {"celery", "kombu", "tasks", "operate"},
    "api": NOBODY | DRAWING | TELEGRAM | NUMBERS | VENUES | {"tasks"},
}


@pytest.mark.parametrize("process", sorted(LOADS))
def test_a_process_carries_only_what_it_uses(process: str) -> None:
    lines = [
        "import sys",
        "from cli.processes import _go_lean",
        "_go_lean()",
        LOADS[process],
        "print(*sorted(name for name, module in sys.modules.items() if module is not None))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert not WITHOUT[process] & set(done.stdout.split())
