"""The rule analyst: a weighted vote of signals. The same candles and quote always give the same analysis."""

from __future__ import annotations

from collections.abc import Sequence

from trading import candles
from trading.indicators import MINIMUM_ROWS, Indicators, compute
from trading.ranges import price_ranges
from trading.signals import Language, Signal, all_signals
from trading.types import Analysis, Candle, Decision, Instrument, Position, Quote

MODEL = "rules-1"

# the score is the weighted mean of the signals, -1 to +1. Where every signal speaks, a quarter is a majority
# of five to three; a score below it is as likely to turn at the next candle as to stay
THRESHOLD = 0.25
# from this score on more of it adds no confidence
STRONG = 0.6

MAXIMUM_REASONS = 3

NOTHING: dict[Language, str] = {
    "ko": "뚜렷한 신호가 없음",
    "en": "No signal stands out",
}


def analyse(
    instrument: Instrument,
    daily: Sequence[Candle],
    hourly: Sequence[Candle],
    quote: Quote,
    position: Position,
    *,
    language: Language = "ko",
    indicators: Indicators | None = None,
) -> Analysis:
    """Judge one instrument by its daily candles, its 60-minute ones (may be empty) and what is held of it.

    `indicators` may be given where they were computed from `daily` already. The analysis is dated by the
    quote. Raises `BadCandles` and `BadQuote`.
    """
    candles.check(daily, symbol=instrument.symbol, needed=MINIMUM_ROWS)
    candles.check(hourly, symbol=instrument.symbol, needed=0)
    indicators = indicators or compute(daily)
    ranges = price_ranges(quote, indicators)
    signals = all_signals(quote, indicators, hourly, position)
    score = weigh(signals)
    decision = decide_by(score)
    return Analysis(
        decision=decision,
        confidence=confidence(decision, score, signals),
        reasons=reasons(decision, signals, language),
        ranges=ranges,
        model=MODEL,
        price=quote.price,
        at=quote.at,
    )


def weigh(signals: Sequence[Signal]) -> float:
    """The weighted mean of the scores, -1 to +1."""
    weight = sum(signal.weight for signal in signals)
    return sum(signal.contribution for signal in signals) / weight if weight else 0.0


def decide_by(score: float) -> Decision:
    """BUY from +0.25, SELL from -0.25, else HOLD."""
    if score >= THRESHOLD:
        return Decision.BUY
    return Decision.SELL if score <= -THRESHOLD else Decision.HOLD


def confidence(decision: Decision, score: float, signals: Sequence[Signal]) -> int:
    """0-100: half from how many of the votes go one way, half from how strong the score is.

    For HOLD, half from how far the score is from either threshold, half from how quiet the signals are: loud
    signals that cancel each other out are a doubtful HOLD.
    """
    votes = [signal.contribution for signal in signals]
    cast = sum(abs(vote) for vote in votes)
    if decision is Decision.HOLD:
        loudness = cast / sum(signal.weight for signal in signals)
        return round(50 * (1 - abs(score) / THRESHOLD) + 50 * (1 - loudness))
    agreeing = sum(abs(vote) for vote in votes if _speaks_for(decision, vote))
    return round(50 * agreeing / cast + 50 * min(1.0, abs(score) / STRONG))


def reasons(decision: Decision, signals: Sequence[Signal], language: Language) -> tuple[str, ...]:
    """The strongest one to three of the signals that led there; for HOLD, of both sides."""
    heard = [signal for signal in signals if signal.contribution and _speaks_for(decision, signal.contribution)]
    heard.sort(key=lambda signal: -abs(signal.contribution))
    return tuple(signal.texts[language] for signal in heard[:MAXIMUM_REASONS]) or (NOTHING[language],)


def _speaks_for(decision: Decision, contribution: float) -> bool:
    if decision is Decision.HOLD:
        return True
    return contribution > 0 if decision is Decision.BUY else contribution < 0
