"""A name in `.env` that is misspelt is told of; what others read from the same file is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from doctor.containers import container_faults
from doctor.examination import examine
from settings import Settings, load_settings
from settings.containers import VARIABLES
from settings.misspelt import misspelt, names_in_env

ROOT = Path(__file__).resolve().parents[2]
OF_OTHERS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "B2_ACCOUNT_ID", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME"),
    *("DOCKER_HOST", "FLOWER_AUTH", "FLOWER_OAUTH2_KEY", "FLOWER_PORT", "FLOWER_URL_PREFIX"),
    *("GF_SECURITY_ADMIN_PASSWORD", "GOOGLE_APPLICATION_CREDENTIALS", "HOME", "HOSTNAME", "HTTPS_PROXY"),
    *("HTTP_PROXY", "INVOCATION_ID", "LANG", "LC_ALL", "MALLOC_ARENA_MAX", "OTEL_BSP_SCHEDULE_DELAY"),
    *("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"),
    *("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_RESOURCE_ATTRIBUTES", "PATH", "PGPASSWORD", "PI_PORT", "POSTGRES_DB"),
    *("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "PYTHONUNBUFFERED", "REDIS_HOST", "REDIS_PORT"),
    *("RESTIC_PASSWORD_FILE", "SSL_CERT_FILE", "TEST_DATABASE_URL", "TEST_REDIS_URL", "WATCHDOG_USEC"),
    *("XDG_CACHE_HOME", "XDG_STATE_HOME", "no_proxy"),
)


@pytest.fixture(autouse=True)
def away_from_any_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
        ("trading_mod", "TRADING_MODE"),
        ("TELEGRAM_BOT_TOKEN", "TELEGRAM_TOKEN"),
        ("UPBIT_SECRET", "UPBIT_SECRET_KEY"),
        ("GOOGLE_API_KEY", "GOOGLE_API_KEYS"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DEPLOY_WIHT", "DEPLOY_WITH"),
        ("OTEL_ENVIRONMNT", "OTEL_ENVIRONMENT"),
        ("FLOWER_BASIC_AUHT", "FLOWER_BASIC_AUTH"),
    ],
)
def test_a_name_that_nearly_is_a_setting_is_told_with_the_right_one(wrong: str, right: str) -> None:
    [line] = misspelt([wrong])
    assert line == f"{wrong.upper()} is no setting, so it is not in force: did you mean {right}?"


def test_neither_a_setting_nor_what_others_read_is_taken_for_a_misspelt_one() -> None:
    ours = [*Settings.model_fields, *(variable.name for variable in VARIABLES)]
    assert list(misspelt([*ours, *OF_OTHERS])) == []


def test_the_example_holds_no_name_that_nobody_reads(away_from_any_env_file: Path) -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    commented = (line.removeprefix("#") for line in lines if not line.startswith("# "))
    (away_from_any_env_file / ".env").write_text("\n".join(commented), encoding="utf-8")
    assert len(names_in_env()) > 100
    assert list(misspelt(names_in_env())) == []


def test_autotrader_settings_warns_and_is_content(away_from_any_env_file: Path) -> None:
    (away_from_any_env_file / ".env").write_text("WORKER_CONCURENCY=4\nRESTIC_CACHE_DIR=/x\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "settings"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        cwd=away_from_any_env_file,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "autotrader: warning: WORKER_CONCURENCY is no setting, so it is not in force: did you mean WORKER_CONCURRENCY?"
    ]


async def test_the_doctor_says_it_first(away_from_any_env_file: Path) -> None:
    (away_from_any_env_file / ".env").write_text("KIS_SYMBOL=005930\n", encoding="utf-8")
    report = examine()
    assert str(await anext(report)).startswith("warning settings: KIS_SYMBOL is no setting")
    await report.aclose()  # type: ignore[attr-defined]


GOOD = {"POSTGRES_PASSWORD": "a-password", "REDIS_PASSWORD": "a-password", "FLOWER_AUTH": ".*@example.com"}


def faults(environ: dict[str, str], *overlays: str, **settings: object) -> list[str]:
    given = load_settings().model_copy(update={"kis_symbols": (), "telegram_enabled": False, **settings})
    return list(container_faults(given, environ | {"DEPLOY_WITH": " ".join(overlays)}))


def test_a_password_is_asked_for_only_where_somebody_needs_it() -> None:
    assert faults(GOOD) == faults(GOOD | {"GRAFANA_PASSWORD": "x"}) == []
    for lacking in ({}, {"GRAFANA_PASSWORD": "p@ss/word"}):
        assert any("GRAFANA_PASSWORD must be" in line for line in faults(GOOD | lacking, "monitoring"))
    assert any("REDIS_PASSWORD must be" in line for line in faults(GOOD | {"REDIS_PASSWORD": "short"}))


@pytest.mark.parametrize("chat", ["", "@my_channel", "12 34"])
def test_what_alertmanager_would_not_start_with_is_said_before(chat: str) -> None:
    password = GOOD | {"GRAFANA_PASSWORD": "a-password"}
    [fault] = faults(password, "monitoring", telegram_token=SecretStr("1:x"), telegram_chat_id=chat)
    assert "must be a number" in fault
    assert faults(password, "monitoring", telegram_token=SecretStr("1:x"), telegram_chat_id="-1001234567890") == []
    [fault] = faults(password, "monitoring", telegram_chat_id="1001")
    assert fault.startswith("TELEGRAM_TOKEN is missing, without which Alertmanager does not start")
