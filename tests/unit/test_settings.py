from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from settings import Settings, SettingsError, UnknownMarket, load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def away_from_any_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_symbols_are_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBIT_SYMBOLS", " KRW-BTC, KRW-XRP ,")
    assert load_settings().symbols("upbit") == ("KRW-BTC", "KRW-XRP")


def test_the_example_file_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    example = Settings(_env_file=ROOT / ".env.example")  # type: ignore[call-arg]
    assert example.model_dump(exclude={"database_url"}) == load_settings().model_dump(exclude={"database_url"})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("REDIS_URL", "localhost:6379", "setting REDIS_URL: must start with redis://"),
        ("DATABASE_URL", "postgres://x/y", "setting DATABASE_URL: must start with postgresql+asyncpg://"),
        ("UPBIT_SWEEP_MINUTES", "hourly", "setting UPBIT_SWEEP_MINUTES: Input should be a valid integer"),
        ("VISIBILITY_TIMEOUT_SECONDS", "60", "must be greater than the longest deadline (90 s)"),
        ("TRADING_MODE", "live", "TRADING_MODE=live is not available in this version"),
        ("TELEGRAM_TOKEN", "1:a", "TELEGRAM_CHAT_ID is missing"),
    ],
)
def test_a_malformed_setting_is_one_line_with_name_and_cure(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_process_with_a_malformed_setting_exits_1_without_a_stack(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tasks", "report"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "REDIS_URL": "nonsense"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().startswith("autotrader: setting REDIS_URL: must start with")


def test_an_unknown_market_names_those_there_are() -> None:
    with pytest.raises(UnknownMarket, match="unknown market 'binance': use one of upbit, kis, yfinance"):
        load_settings().symbols("binance")


def test_the_seeds_signoz_names_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNOZ_ENDPOINT", "collector:4317")
    assert load_settings().otlp_endpoint == "http://collector:4317"
    monkeypatch.setenv("SIGNOZ_INSECURE", "false")
    assert load_settings().otlp_endpoint == "https://collector:4317"
    monkeypatch.setenv("SIGNOZ_ENABLED", "false")
    assert load_settings().otlp_endpoint == ""
