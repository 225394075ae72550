"""The signals of the rule analyst: each looks at one thing and says how much it speaks for buying.

A score is -1 (sell) to +1 (buy), 0 where the signal has nothing to say. The weight says how much the signal
counts. Trend signals count more where ADX shows a trend and less where it shows none; for signals of
exhaustion (RSI, stochastic, Bollinger) it is the other way round: an oversold price that keeps falling
is a trend, not a bargain. Levels are the field's customary ones (Wilder 1978 for RSI and ADX, Lane for the
stochastic, Bollinger for %b).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from trading.candles import closes
from trading.indicators import Indicators
from trading.types import Candle, Position, Quote

Language = Literal["ko", "en"]

ADX_TREND = 25.0
ADX_RANGE = 20.0

RSI_OVERSOLD, RSI_WEAK, RSI_STRONG, RSI_OVERBOUGHT = 30.0, 40.0, 60.0, 70.0
STOCHASTIC_OVERSOLD, STOCHASTIC_OVERBOUGHT = 20.0, 80.0
# below the fifth of the band that lies lowest, and above its mirror, a price is near the band
BAND_EDGE = 0.2

HOURS = 12
# hourly bars older than this are of an earlier session and say nothing about now
HOURS_MAXIMUM_AGE = timedelta(hours=24)

# differences below this share of the price are rounding of the floats, not a move
NOISE = 1e-9

# exits in ATR from the average price; the target is farther than the stop, so winners may outweigh losers
STOP_ATR = 2.0
TARGET_ATR = 3.0


@dataclass(frozen=True, slots=True)
class Signal:
    """What one look says; `texts` holds the same sentence in each language."""

    name: str
    score: float
    weight: float
    texts: dict[Language, str]

    @property
    def contribution(self) -> float:
        return self.score * self.weight


def all_signals(
    quote: Quote, indicators: Indicators, hourly: Sequence[Candle], position: Position
) -> tuple[Signal, ...]:
    """Every signal there is data for."""
    signals = [
        trend(quote, indicators),
        momentum(indicators),
        rsi(indicators),
        stochastic(indicators),
        bollinger(quote, indicators),
    ]
    last_hours = short_term(quote, hourly)
    if last_hours:
        signals.append(last_hours)
    if position.quantity > 0 and position.average_price > 0:
        signals.append(held(quote, indicators, position))
    return tuple(signals)


def trend(quote: Quote, indicators: Indicators) -> Signal:
    """Price against SMA 20, 60 and 120, each as far as one ATR, and SMA 20 against SMA 60."""
    price = float(quote.price)
    averages = {20: indicators.sma_20, 60: indicators.sma_60, 120: indicators.sma_120}
    known = {days: value for days, value in averages.items() if value is not None}
    parts = [_in_atr(price - value, indicators) for value in known.values()]
    parts.append(_in_atr(indicators.sma_20 - indicators.sma_60, indicators))
    score = sum(parts) / len(parts)
    above = [f"{days}" for days, value in known.items() if price > value]
    below = [f"{days}" for days, value in known.items() if price <= value]
    cross_ko = "20일선이 60일선 위" if indicators.sma_20 > indicators.sma_60 else "20일선이 60일선 아래"
    cross_en = "SMA 20 above SMA 60" if indicators.sma_20 > indicators.sma_60 else "SMA 20 below SMA 60"
    sides_ko = [f"{'·'.join(days)}일선 {side}" for days, side in ((above, "위"), (below, "아래")) if days]
    sides_en = [f"{side} SMA {'/'.join(days)}" for days, side in ((above, "above"), (below, "below")) if days]
    shown = _price(price, quote)
    return Signal(
        "trend",
        score,
        3.0 * _trend_factor(indicators),
        {
            "ko": f"가격 {shown}: {', '.join(sides_ko)}, {cross_ko} (ADX {indicators.adx:.0f})",
            "en": f"Price {shown} is {', '.join(sides_en)}; {cross_en} (ADX {indicators.adx:.0f})",
        },
    )


def momentum(indicators: Indicators) -> Signal:
    """MACD: the sign of the histogram, and whether it grows or shrinks."""
    histogram, before = indicators.macd_histogram, indicators.macd_histogram_previous
    noise = NOISE * indicators.close
    score = 0.6 * _sign(histogram, noise) + 0.4 * _sign(histogram - before, noise)
    way_ko, way_en = ("상승", "rising") if histogram > before else ("하락", "falling")
    sign_ko, sign_en = ("양수", "positive") if histogram > 0 else ("음수", "negative")
    return Signal(
        "momentum",
        score,
        2.0 * _trend_factor(indicators),
        {
            "ko": f"MACD 히스토그램 {_number(histogram)}: {sign_ko}, {way_ko} 중",
            "en": f"MACD histogram {_number(histogram)}: {sign_en} and {way_en}",
        },
    )


def rsi(indicators: Indicators) -> Signal:
    """RSI 14: full score below 30 and above 70, fading to nothing at 40 and 60."""
    value = indicators.rsi
    score = _ramp(value, RSI_OVERSOLD, RSI_WEAK) - _ramp(-value, -RSI_OVERBOUGHT, -RSI_STRONG)
    if value <= RSI_OVERSOLD:
        ko, en = "과매도", "oversold"
    elif value >= RSI_OVERBOUGHT:
        ko, en = "과매수", "overbought"
    elif value < RSI_WEAK:
        ko, en = "과매도에 가까움", "close to oversold"
    elif value > RSI_STRONG:
        ko, en = "과매수에 가까움", "close to overbought"
    else:
        ko, en = "중립", "neutral"
    return Signal(
        "rsi",
        score,
        1.5 * _reversion_factor(indicators),
        {"ko": f"RSI {value:.1f}: {ko}", "en": f"RSI {value:.1f}: {en}"},
    )


def stochastic(indicators: Indicators) -> Signal:
    """Stochastic 14/3/3: half a score in the extreme zone, a full one when %K has turned there."""
    k, d = indicators.stochastic_k, indicators.stochastic_d
    score, ko, en = 0.0, "중립", "neutral"
    if k < STOCHASTIC_OVERSOLD:
        score, ko, en = (1.0, "과매도에서 반등", "turning up from oversold") if k > d else (0.5, "과매도", "oversold")
    elif k > STOCHASTIC_OVERBOUGHT:
        score, ko, en = (
            (-1.0, "과매수에서 반락", "turning down from overbought") if k < d else (-0.5, "과매수", "overbought")
        )
    return Signal(
        "stochastic",
        score,
        1.0 * _reversion_factor(indicators),
        {
            "ko": f"스토캐스틱 %K {k:.1f}, %D {d:.1f}: {ko}",
            "en": f"Stochastic %K {k:.1f}, %D {d:.1f}: {en}",
        },
    )


def bollinger(quote: Quote, indicators: Indicators) -> Signal:
    """Where the price lies in the bands (%b): full score at or beyond a band, fading over a fifth of the width."""
    width = indicators.bollinger_upper - indicators.bollinger_lower
    b = (float(quote.price) - indicators.bollinger_lower) / width if width > NOISE * indicators.close else 0.5
    score = _ramp(b, 0.0, BAND_EDGE) - _ramp(-b, -1.0, BAND_EDGE - 1.0)
    if score > 0:
        ko, en = "하단 부근", "near the lower band"
    elif score < 0:
        ko, en = "상단 부근", "near the upper band"
    else:
        ko, en = "밴드 안쪽", "inside the bands"
    lower, upper = _price(indicators.bollinger_lower, quote), _price(indicators.bollinger_upper, quote)
    return Signal(
        "bollinger",
        score,
        1.0 * _reversion_factor(indicators),
        {
            "ko": f"볼린저 밴드 {lower}~{upper}의 {b:.0%} 위치: {ko}",
            "en": f"At {b:.0%} of the Bollinger bands {lower} to {upper}: {en}",
        },
    )


def short_term(quote: Quote, hourly: Sequence[Candle]) -> Signal | None:
    """The last hour against the mean of the last 12, as far as their standard deviation; None without fresh bars."""
    if len(hourly) < HOURS or quote.at - hourly[-1].time > HOURS_MAXIMUM_AGE:
        return None
    last = closes(hourly[-HOURS:])
    mean, deviation = float(last.mean()), float(last.std())
    score = _clamp((float(last[-1]) - mean) / deviation) if deviation > 0 else 0.0
    change = float(last[-1]) / mean - 1
    side_ko, side_en = ("위", "above") if change > 0 else ("아래", "below")
    return Signal(
        "short_term",
        score,
        1.0,
        {
            "ko": f"60분봉: {HOURS}시간 평균보다 {abs(change):.2%} {side_ko}",
            "en": f"60-minute bars: {abs(change):.2%} {side_en} their {HOURS}-hour mean",
        },
    )


def held(quote: Quote, indicators: Indicators, position: Position) -> Signal:
    """What is held speaks for selling at a loss of 2 ATR, and half as much at a profit of 3."""
    change = float(quote.price - position.average_price)
    atrs = change / indicators.atr if indicators.atr > 0 else 0.0
    score, ko, en = 0.0, "보유 중", "holding"
    if atrs <= -STOP_ATR:
        score, ko, en = -1.0, "손절 구간", "stop-loss zone"
    elif atrs >= TARGET_ATR:
        score, ko, en = -0.5, "익절 구간", "take-profit zone"
    rate = float(quote.price / position.average_price - Decimal(1))
    average = _price(float(position.average_price), quote)
    return Signal(
        "held",
        score,
        2.0,
        {
            "ko": f"평단 {average} 대비 {rate:+.1%} ({atrs:+.1f} ATR): {ko}",
            "en": f"{rate:+.1%} ({atrs:+.1f} ATR) from the average price {average}: {en}",
        },
    )


def _trend_factor(indicators: Indicators) -> float:
    if indicators.adx >= ADX_TREND:
        return 1.5
    # in a range the price is above its averages exactly when it is about to turn: trend signals alone must
    # not reach the threshold there
    return 1.0 if indicators.adx >= ADX_RANGE else 0.25


def _reversion_factor(indicators: Indicators) -> float:
    return 2.0 - _trend_factor(indicators)


def _in_atr(distance: float, indicators: Indicators) -> float:
    noise = NOISE * indicators.close
    return _clamp(distance / indicators.atr) if indicators.atr > noise else float(_sign(distance, noise))


def _ramp(value: float, full: float, nothing: float) -> float:
    """1 at or below `full`, 0 at or above `nothing`, straight between."""
    return max(0.0, min(1.0, (nothing - value) / (nothing - full)))


def _clamp(value: float) -> float:
    return max(-1.0, min(1.0, value))


def _sign(value: float, noise: float) -> int:
    return (value > noise) - (value < -noise)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _price(value: float, quote: Quote) -> str:
    exponent = quote.tick_size.normalize().as_tuple().exponent
    digits = max(0, -exponent) if isinstance(exponent, int) else 0
    return f"{value:,.{digits}f}"
