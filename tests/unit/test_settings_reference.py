"""`.env.example` and docs/configuration.md say what the settings are, and who reads them is true of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from pydantic import SecretStr

from settings import Settings, reference
from settings.containers import VARIABLES

ROOT = Path(__file__).resolve().parents[2]

# where each process begins; the packages that it hands names to as text are added by hand
ENTRIES = {
    "worker": ("tasks", "workers"),
    "beat": ("beat", "tasks/app.py"),
    "notifier": ("notifications/notifier.py", "bot", "operate"),
    "api": ("api",),
    "flower": ("tasks/app.py", "deploy/flower"),
    "commands": ("cli", "operate", "doctor", "deploy/signoz"),
}
# read through a method or property of the settings, under these names
THROUGH = {
    "celery_broker_url": "broker_url",
    "celery_result_backend": "result_backend",
    "google_api_keys": "google_keys",
    "restic_repository": "copied_away",
    "notify_kinds": "verbosity",
    "notify_quiet_hours": "quiet_hours",
    "error_reporting_chat_id": "error_chat_id",
    "otel_exporter_otlp_endpoint": "otlp_endpoint",
    "signoz_enabled": "otlp_endpoint",
    "signoz_endpoint": "otlp_endpoint",
    "us_orders": "live",
    "upbit_access_key": "live",
    "upbit_secret_key": "live",
    "kis_account": "live",
    "kis_app_key": "live",
    "kis_app_secret": "live",
    "kis_environment": "account",
    **{f"{market}_{what}": what for market in ("upbit", "kis", "yfinance") for what in ("symbols", "sweep_minutes")},
    **{f"{what}_{currency}": what for what in ("order_value", "paper_cash") for currency in ("krw", "usd")},
}
# the strategy of a symbol and the Celery app are made in `tasks`, the tokens of Flower by its own configuration
MADE_ELSEWHERE = {"flower_basic_auth": "FLOWER_"}


def files_of(part: str) -> set[Path]:
    path = ROOT / part
    return {path} if path.is_file() else set(path.rglob("*.py"))


@cache
def imported_by(file: Path) -> frozenset[Path]:
    """Our files that a file imports, also inside functions."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = ROOT / name.replace(".", "/")
            found |= {path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()}
    return frozenset(found)


@cache
def source_of(process: str) -> str:
    """All of our code that a process can reach, without the settings themselves."""
    waiting = {file for part in ENTRIES[process] for file in files_of(part)}
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= imported_by(file) - seen
    ours = (file for file in seen if "settings" not in file.relative_to(ROOT).parts)
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(ours))


def test_the_example_file_is_not_stale() -> None:
    assert reference.ENVIRONMENT.read_text(encoding="utf-8") == reference.example(), "run: python -m settings.reference"


def test_the_page_is_not_stale() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run: python -m settings.reference"


def test_every_setting_belongs_to_one_group_and_has_a_meaning() -> None:
    named = [name for group in reference.GROUPS for name in group.model_fields]
    assert sorted(named) == sorted(Settings.model_fields)
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("process", sorted(ENTRIES))
def test_a_process_reads_what_is_said_to_be_read_by_it(process: str) -> None:
    said = {name for name, field in Settings.model_fields.items() if process in reference.readers(field)}
    code = source_of(process)
    names = {name: (MADE_ELSEWHERE.get(name) or rf"\.(?:{name}|{THROUGH.get(name, name)})\b") for name in said}
    assert not {name for name, pattern in names.items() if not re.search(pattern, code)}


def test_every_secret_is_marked_and_nothing_else() -> None:
    marked = set(re.findall(r"\| `([A-Z_]+)` 🔒 \|", reference.page()))
    ours = {name.upper() for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    assert marked == ours | {variable.name for variable in VARIABLES if variable.secret}


def test_the_example_file_names_no_setting_twice() -> None:
    names = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", reference.example(), flags=re.MULTILINE)
    expected = [*(name.upper() for name in Settings.model_fields), *(variable.name for variable in VARIABLES)]
    assert sorted(names) == sorted(expected)
