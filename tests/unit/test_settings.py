from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from settings import MARKETS, Settings, SettingsError, UnknownMarket, load_settings

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
        ("TRADING_MODE", "live", "TRADING_MODE=live needs an account: set UPBIT_ACCESS_KEY"),
        ("UPBIT_ACCESS_KEY", "a", "UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY go together"),
        ("KIS_ACCOUNT", "1234567801", "must be an account number and its product code, for example 12345678-01"),
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


LIVE = {
    "TRADING_MODE": "live",
    "UPBIT_ACCESS_KEY": "a",
    "UPBIT_SECRET_KEY": "s",
    "KIS_ACCOUNT": "12345678-01",
    "KIS_APP_KEY": "k",
    "KIS_APP_SECRET": "s",
}


@pytest.mark.parametrize(
    ("changed", "live"),
    [
        ({}, ["upbit", "kis"]),
        ({"TRADING_MODE": "paper"}, []),
        ({"KIS_ACCOUNT": ""}, ["upbit"]),
        ({"UPBIT_ACCESS_KEY": "", "UPBIT_SECRET_KEY": ""}, ["kis"]),
        ({"US_ORDERS": "kis"}, ["upbit", "kis", "yfinance"]),
    ],
)
def test_a_market_is_live_only_in_the_live_mode_and_with_an_account(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], live: list[str]
) -> None:
    for name, value in (LIVE | changed).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert [market for market in MARKETS if settings.live(market)] == live


def test_an_account_of_kis_needs_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (LIVE | {"KIS_APP_SECRET": ""}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="KIS_ACCOUNT needs KIS_APP_KEY and KIS_APP_SECRET"):
        load_settings()


def test_live_trading_never_ignores_the_market_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (LIVE | {"IGNORE_MARKET_HOURS": "true"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="IGNORE_MARKET_HOURS is for paper trading only"):
        load_settings()


def test_no_key_or_account_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (LIVE | {"UPBIT_ACCESS_KEY": "an-access-key", "UPBIT_SECRET_KEY": "a-secret-key"}).items():
        monkeypatch.setenv(name, value)
    shown = repr(load_settings()) + str(load_settings())
    assert not any(secret in shown for secret in ("an-access-key", "a-secret-key", "12345678"))
