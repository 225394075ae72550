"""The answer a model must give, and what it becomes."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trading.types import Analysis, Decision, PriceRange, PriceRanges, Quote

LONGEST_REASON = 200
LONGEST_TEXT = 4000

Price = Annotated[Decimal, Field(gt=0, lt=Decimal("1e12"), allow_inf_nan=False)]
Reason = Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


class Range(BaseModel):
    """Two prices in the instrument's currency."""

    model_config = ConfigDict(extra="forbid")

    min: Price
    max: Price

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class PriceAnalysis(BaseModel):
    """The four ranges."""

    model_config = ConfigDict(extra="forbid")

    appropriate_buy: Range
    appropriate_sell: Range
    buy_hope: Range
    sell_target: Range


class Advice(BaseModel):
    """What the model is asked for. A missing field or a value out of bounds is no advice."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision
    confidence: Annotated[int, Field(ge=0, le=100)]
    reasons: Annotated[list[Reason], Field(min_length=1, max_length=3)]
    price_analysis: PriceAnalysis
    detailed_text: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""

    def analysis(self, model: str, quote: Quote) -> Analysis:
        """As the rest of the system knows an analysis; `model` made it, from `quote`."""
        found = self.price_analysis
        return Analysis(
            decision=self.decision,
            confidence=self.confidence,
            reasons=tuple(self.reasons),
            ranges=PriceRanges(
                appropriate_buy=_range(found.appropriate_buy),
                appropriate_sell=_range(found.appropriate_sell),
                buy_hope=_range(found.buy_hope),
                sell_target=_range(found.sell_target),
            ),
            model=model,
            price=quote.price,
            at=quote.at,
        )


def no_advice(reason: str, model: str, quote: Quote, rule: str) -> Analysis:
    """The HOLD that stands for a model that gave no advice; `rule` names why, for the counters."""
    point = PriceRange(quote.price, quote.price)
    return Analysis(
        decision=Decision.HOLD,
        confidence=0,
        reasons=(reason,),
        ranges=PriceRanges(point, point, point, point),
        model=model,
        price=quote.price,
        at=quote.at,
        rejected_by=rule,
    )


def _range(found: Range) -> PriceRange:
    return PriceRange(found.min, found.max)
