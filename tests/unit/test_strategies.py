"""The strategy of a symbol: the narrower setting wins, and a mistake in the file is one line with its cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from settings import Settings
from tasks import strategies
from trading.strategy import BadStrategy, SymbolStrategy
from trading.thresholds import Thresholds

Write = Callable[[object], str]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Write a strategy file, as JSON or as the text that is given; returns its path."""

    def write(content: object) -> str:
        file = tmp_path / "strategy.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(file)

    return write


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def strategy_of(path: str, symbol: str = "KRW-BTC", **values: Any) -> SymbolStrategy:
    market, currency = ("yfinance", "USD") if symbol == "AAPL" else ("upbit", "KRW")
    return strategies.strategy_of(settings(strategy_file=path, **values), market, symbol, currency)


def fault(path: str, **values: Any) -> str:
    """What a process would say at start of this file."""
    with pytest.raises(BadStrategy) as caught:
        strategies.check(settings(strategy_file=path, **values))
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


def test_without_a_file_a_symbol_has_its_profile_and_the_amounts_of_the_environment() -> None:
    plain = strategy_of("", order_value_krw=123_000, min_confidence=61)
    assert plain == SymbolStrategy(level_value=Decimal(123_000), min_confidence=61)
    bold = strategy_of("", strategy_profile="aggressive")
    assert (bold.stop_loss_rate, bold.max_trades_per_day) == (Decimal("0.08"), 10)


def test_the_narrower_setting_wins(written: Write) -> None:
    path = written(
        {
            "all": {"stop_loss_rate": "0.06", "max_trades_per_day": 7, "min_confidence": 62},
            "markets": {"upbit": {"KRW-BTC": {"max_trades_per_day": 8, "min_confidence": 63}}},
        }
    )
    values: dict[str, Any] = {"strategy_profile": "conservative", "min_confidence": 61}
    own, other = strategy_of(path, **values), strategy_of(path, "KRW-ETH", **values)
    # the profile where nothing else is said, `all` over it, the symbol's own over both
    assert (own.take_profit_rate, own.stop_loss_rate, own.max_trades_per_day) == (Decimal("0.08"), Decimal("0.06"), 8)
    assert (other.take_profit_rate, other.stop_loss_rate) == (own.take_profit_rate, own.stop_loss_rate)
    assert other.max_trades_per_day == 7
    # and both are over the environment
    assert (own.min_confidence, other.min_confidence) == (63, 62)


def test_the_environment_is_over_the_profile(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    # no profile that is shipped has a setting the environment has too; one that had would still be the wider of both
    sure = {"symbol": {"min_confidence": 90, "level_value": 1}, "account": {}}
    monkeypatch.setattr("trading.strategy.profile_of", lambda name: sure)
    own = strategy_of(written({"all": {"levels": 2}}), min_confidence=61, order_value_krw=80_000)
    assert (own.min_confidence, own.level_value, own.levels) == (61, Decimal(80_000), 2)


def test_a_setting_of_one_symbol_is_not_anothers(written: Write) -> None:
    path = written({"markets": {"upbit": {"KRW-BTC": {"enabled": False}}}})
    assert not strategy_of(path).enabled
    assert strategy_of(path, "KRW-ETH").enabled
    assert strategy_of(path, "AAPL").enabled


def test_the_amount_of_an_order_is_the_environments_in_the_symbols_currency() -> None:
    values: dict[str, Any] = {"order_value_krw": 250_000, "order_value_usd": 400}
    assert strategy_of("", **values).level_value == 250_000
    assert strategy_of("", "AAPL", **values).level_value == 400


@pytest.mark.parametrize("own", [{"level_value": 70_000}, {"level_quantity": "0.5"}, {"level_value": None}])
def test_the_amount_of_the_file_stands_in_place_of_the_environments(written: Write, own: dict[str, object]) -> None:
    everywhere = strategy_of(written({"all": own}))
    given = {name: None if value is None else Decimal(str(value)) for name, value in own.items()}
    assert (everywhere.level_value, everywhere.level_quantity) == (
        given.get("level_value"),
        given.get("level_quantity"),
    )


def test_the_amount_of_one_symbol_leaves_the_others_to_the_environment(written: Write) -> None:
    path = written({"markets": {"upbit": {"KRW-BTC": {"level_quantity": "0.5"}}}})
    assert (strategy_of(path).level_value, strategy_of(path).level_quantity) == (None, Decimal("0.5"))
    assert strategy_of(path, "KRW-ETH", order_value_krw=90_000).level_value == 90_000


def test_the_loss_limits_are_the_profiles_unless_the_file_says_otherwise(written: Write) -> None:
    path = written({"account": {"daily_loss": "0.02"}})
    limits = strategies.limits(settings(strategy_file=path, strategy_profile="conservative"))
    assert (limits.daily_loss, limits.weekly_loss) == (Decimal("0.02"), Decimal("0.10"))


@pytest.mark.parametrize("content", [{}, {"all": {}, "account": {}, "markets": {}}, {"markets": {"upbit": {}}}])
def test_a_file_that_replaces_nothing_is_one(written: Write, content: object) -> None:
    strategies.check(settings(strategy_file=written(content)))


@pytest.mark.parametrize(
    ("content", "named", "cure"),
    [
        ("{", "cannot be read as JSON", "line 1 column 2"),
        ("", "cannot be read as JSON", "line 1 column 1"),
        ([], "must be an object", "all, account, markets"),
        ({"al": {}}, "no other keys", "all, account, markets"),
        ({"all": []}, "`all`", "must be an object"),
        ({"all": None}, "`all`", "must be an object"),
        ({"account": 1}, "`account`", "must be an object"),
        ({"markets": []}, "each market", "must be an object"),
        ({"markets": {"upbit": ["KRW-BTC"]}}, "each market", "must be an object"),
        ({"markets": {"upbit": {"KRW-BTC": 1}}}, "each symbol", "must be an object"),
        ({"markets": {"binance": {}}}, "unknown market binance", "use one of upbit, kis, yfinance"),
        ({"markets": {"upbit": {"KRW-DOGE": {}}}}, "upbit KRW-DOGE", "add it to UPBIT_SYMBOLS or take it out"),
        ({"markets": {"upbit": {"AAPL": {}}}}, "upbit AAPL", "add it to UPBIT_SYMBOLS or take it out"),
    ],
)
def test_a_file_of_another_shape_is_one_line_with_file_and_cure(
    written: Write, content: object, named: str, cure: str
) -> None:
    path = written(content)
    line = fault(path)
    assert path in line
    assert named in line
    assert cure in line


def test_a_file_that_is_not_there_is_one_line_with_its_path(tmp_path: Path) -> None:
    missing = str(tmp_path / "strategy.json")
    assert missing in fault(missing)
    assert str(tmp_path) in fault(str(tmp_path))


def test_a_file_that_is_no_text_is_one_line_with_its_path(tmp_path: Path) -> None:
    file = tmp_path / "strategy.json"
    file.write_bytes(b"\xff\xfe\x00{")
    assert str(file) in fault(str(file))


NONSENSE: list[tuple[dict[str, Any], str, str]] = [
    ({"all": {"stop_los_rate": "0.05"}}, "stop_los_rate", "did you mean stop_loss_rate"),
    ({"markets": {"upbit": {"KRW-ETH": {"level": 1}}}}, "upbit KRW-ETH", "did you mean levels"),
    ({"markets": {"yfinance": {"AAPL": {"zzz": 1}}}}, "yfinance AAPL", "use one of atr_exits"),
    ({"account": {"daily_los": 1}}, "daily_los", "did you mean daily_loss"),
    ({"account": {"daily_loss": 10}}, "daily_loss is 10", "0.10 for ten percent"),
    ({"all": {"levels": "many"}}, "levels is 'many'", "must be a number"),
    ({"all": {"levels": [1]}}, "levels", "must be a number"),
    ({"all": {"enabled": "no"}}, "enabled is no", "must be true or false"),
    ({"all": {"min_interval": 4}}, "min_interval is 4", "90s, 10m, 4h or 1d"),
    ({"all": {"stop_loss_rate": 5}}, "stop_loss_rate is 5", "0.05 for five percent"),
    ({"markets": {"kis": {"005930": {"level_value": {}}}}}, "kis 005930", "must be a number"),
    ({"all": {"level_value": 1, "level_quantity": 1}}, "level_quantity", "together with level_value"),
    ({"all": {"checks": {"buy_max_rsi": 170}}}, "buy_max_rsi is 170", "must be 0 to 100"),
    ({"all": {"checks": {"buy_max_atr": 6}}}, "buy_max_atr is 6", "at most 1: it is a fraction, 0.05 for five percent"),
    ({"all": {"checks": {"buy_max_rs": 70}}}, "buy_max_rs", "did you mean buy_max_rsi"),
    ({"all": {"checks": {"near": "NaN"}}}, "near is 'NaN'", "must be a number"),
    ({"all": {"checks": [1]}}, "checks of upbit KRW-BTC", "must be an object"),
    ({"markets": {"kis": {"000660": {"checks": {"moved": 0}}}}}, "checks of kis 000660: moved is 0", "must be above 0"),
]


@pytest.mark.parametrize(("content", "named", "cure"), NONSENSE)
def test_a_setting_that_makes_no_sense_is_one_line_with_its_name_and_cure(
    written: Write, content: dict[str, Any], named: str, cure: str
) -> None:
    line = fault(written(content))
    assert named in line
    assert cure in line


@pytest.mark.parametrize("content", [content for content, _, _ in NONSENSE])
def test_a_setting_that_makes_no_sense_is_told_with_its_file(written: Write, content: dict[str, Any]) -> None:
    path = written(content)
    assert path in fault(path)


@pytest.mark.parametrize("market", ["upbit", "kis", "yfinance"])
def test_the_last_symbol_of_every_market_is_read_at_start(written: Write, market: str) -> None:
    symbol = settings().symbols(market)[-1]
    assert f"{market} {symbol}" in fault(written({"markets": {market: {symbol: {"levels": 9}}}}))


def test_an_unknown_profile_lists_those_there_are() -> None:
    assert "conservative, base, aggressive" in fault("", strategy_profile="reckless")


def test_a_symbols_own_amount_takes_the_place_of_a_wider_one_of_the_other_kind(written: Write) -> None:
    path = written({"all": {"level_value": 50_000}, "markets": {"kis": {"005930": {"level_quantity": 3}}}})
    own = strategies.strategy_of(settings(strategy_file=path), "kis", "005930", "KRW")
    assert (own.level_value, own.level_quantity) == (None, Decimal(3))


def test_the_thresholds_of_the_checks_are_joined_name_by_name(written: Write) -> None:
    path = written(
        {
            "all": {"levels": 2, "checks": {"buy_max_rsi": 75, "trend_min_adx": "22"}},
            "markets": {"upbit": {"KRW-BTC": {"take": False, "checks": {"buy_max_rsi": 80}}}},
        }
    )
    own = strategies.thresholds_of(settings(strategy_file=path), "upbit", "KRW-BTC")
    other = strategies.thresholds_of(settings(strategy_file=path), "upbit", "KRW-ETH")
    assert (own.buy_max_rsi, own.trend_min_adx, own.sell_min_rsi) == (80, 22, 30)
    assert (other.buy_max_rsi, other.trend_min_adx) == (75, 22)
    # and they are no settings of the strategy
    assert (strategy_of(path).levels, strategy_of(path).take) == (2, False)


def test_without_a_file_the_thresholds_are_the_documented_ones() -> None:
    assert strategies.thresholds_of(settings(), "kis", "005930") == Thresholds()


def test_a_name_that_comes_twice_is_refused_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "twice.json"
    file.write_text('{"all": {"enabled": false}, "all": {"levels": 2}}', encoding="utf-8")
    assert "'all' is there twice" in fault(str(file))
