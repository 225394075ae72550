"""Checks 1 to 6: what the indicators and the market say against a decision, in the replaced system's order."""

from __future__ import annotations

from trading.checks.case import Case, Rejection, missing, refused
from trading.market_risk import MarketRisk


def rsi_extreme(case: Case) -> Rejection | None:
    """1: no BUY when overbought, no SELL when oversold."""
    rsi = case.indicator("rsi")
    if rsi is None:
        return missing("rsi_extreme", "RSI", case)
    if case.buying and rsi > case.thresholds.buy_max_rsi:
        return refused("rsi_extreme", f"RSI {rsi:.1f} > {case.thresholds.buy_max_rsi:g}", "과매수", "overbought")
    if not case.buying and rsi < case.thresholds.sell_min_rsi:
        return refused("rsi_extreme", f"RSI {rsi:.1f} < {case.thresholds.sell_min_rsi:g}", "과매도", "oversold")
    return None


def volatility(case: Case) -> Rejection | None:
    """2: no BUY while ATR is a great part of the price."""
    if not case.buying:
        return None
    atr, close = case.indicator("atr"), case.indicator("close")
    if atr is None or close is None or close <= 0:
        return missing("volatility", "ATR", case)
    share, most = atr / close, case.thresholds.buy_max_atr
    if share > most:
        return refused("volatility", f"ATR {share * 100:.1f} % > {most * 100:g} %", "변동성 과다", "too volatile")
    return None


def market_risk(case: Case) -> Rejection | None:
    """3: no BUY into a falling bitcoin, a flash crash or a bearish RSI divergence."""
    if not case.buying:
        return None
    market = case.market or MarketRisk(None, None, None)
    for risk, ko, en in (
        (market.reference_falling, "비트코인 급락 위험", "bitcoin is falling"),
        (market.flash_crash, "급락 발생", "flash crash"),
        (market.bearish_divergence, "RSI 하락 다이버전스", "bearish RSI divergence"),
    ):
        if risk is None:
            return missing("market_risk", en, case)
        if risk:
            return Rejection("market_risk", {"ko": f"매수 보류: {ko}", "en": f"No buy: {en}"})
    return None


def fake_breakout(case: Case) -> Rejection | None:
    """4: no BUY on too little volume for a breakout, or too low an ADX."""
    limits = case.thresholds
    return _at_least(
        "fake_breakout",
        case,
        (("volume_ratio", limits.breakout_min_volume), ("adx", limits.breakout_min_adx)),
        "거짓 돌파 의심",
        "maybe a fake breakout",
    )


def trend(case: Case) -> Rejection | None:
    """5: no BUY without a trend: ADX, volume and the width of the Bollinger bands."""
    limits = case.thresholds
    return _at_least(
        "trend",
        case,
        (
            ("adx", limits.trend_min_adx),
            ("volume_ratio", limits.trend_min_volume),
            ("bollinger_width", limits.trend_min_width),
        ),
        "추세 없음",
        "no trend",
    )


def low_confidence(case: Case) -> Rejection | None:
    """6: neither BUY nor SELL on low confidence."""
    have, need = case.analysis.confidence, case.thresholds.min_confidence
    if have >= need:
        return None
    return Rejection(
        "low_confidence", {"ko": f"신뢰도 낮음: {have} < {need}", "en": f"Low confidence: {have} < {need}"}
    )


def _at_least(rule: str, case: Case, needed: tuple[tuple[str, float], ...], ko: str, en: str) -> Rejection | None:
    if not case.buying:
        return None
    for name, least in needed:
        value = case.indicator(name)
        if value is None:
            return missing(rule, name, case)
        if value < least:
            return refused(rule, f"{name} {value:.3g} < {least:g}", ko, en)
    return None
