"""Who may import whom. A new edge between packages is a decision, so it is made here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ALLOWED = {
    "trading": set[str](),
    "telemetry": set[str](),
    "charts": {"trading"},
    # checks some values by the rules of those who use them
    "settings": {"notifications", "trading"},
    "beat": {"notifications", "settings", "storage", "telemetry"},
    "storage": {"trading", "telemetry"},
    "workers": {"trading", "telemetry", "storage", "settings"},
    "notifications": {"trading", "telemetry", "settings", "storage"},
    "bot": {"notifications", "operate", "settings", "storage", "telemetry", "trading"},
    "replay": {"trading", "workers"},
    "tasks": {"beat", "charts", "notifications", "replay", "settings", "storage", "telemetry", "trading", "workers"},
    "operate": {"beat", "notifications", "settings", "storage", "tasks", "telemetry", "trading", "workers"},
    # of the charts only the scales, which need no Pillow
    "api": {"charts", "notifications", "operate", "settings", "storage", "tasks", "telemetry", "trading", "workers"},
    "doctor": {"beat", "notifications", "settings", "storage", "tasks", "telemetry", "trading", "workers"},
    "sandbox": {"beat", "charts", "notifications", "settings", "storage", "trading"},
    # puts everything together, so nothing imports it
    "cli": {"api", "beat", "bot", "charts", "doctor", "notifications", "operate", "replay", "sandbox", "settings"}
    | {"storage", "tasks", "telemetry", "trading", "workers"},
}
OURS = {*ALLOWED}

INFRASTRUCTURE = {"celery", "redis", "aiohttp", "sqlalchemy", "asyncpg", "telegram", "httpx", "opentelemetry"}


def imports(package: str) -> set[tuple[str, str]]:
    """(file, top-level module imported) of every import in the package, also those inside functions."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            else:
                continue
            found |= {(str(path.relative_to(ROOT)), name.split(".")[0]) for name in names}
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    wrong = {
        (where, module)
        for where, module in imports(package)
        if module in OURS and module != package and module not in ALLOWED[package]
    }
    assert not wrong


def test_trading_knows_no_infrastructure() -> None:
    assert not {(where, module) for where, module in imports("trading") if module in INFRASTRUCTURE}


def test_only_the_command_line_imports_the_sandbox() -> None:
    for package in ALLOWED.keys() - {"cli", "sandbox"}:
        assert "sandbox" not in {module for _, module in imports(package)}


def test_only_the_worker_that_reads_yahoo_carries_pandas() -> None:
    script = "import sys, tasks.analysis; print('pandas' in sys.modules, 'yfinance' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_every_file_of_tests_has_a_name_of_its_own() -> None:
    names = sorted(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert names == sorted(set(names)), "the folders of tests are no packages: pytest cannot collect two of one name"
