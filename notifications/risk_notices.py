"""Exits, loss limits, permissions and orders that somebody has to look at, each told once."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from notifications import exit_texts, risk_texts
from notifications.ledger import Recorded
from notifications.risk_words import ExitOutcome
from notifications.teller import Teller
from trading.exits import Exit, ExitKind
from trading.state import TradingState
from trading.types import Instrument, OpenOrder, OrderIntent


class RiskNotices(Teller):
    """`at` is an aware time; money is in the instrument's currency. Without a trace id it is the current span's."""

    async def exit_begun(
        self,
        instrument: Instrument,
        exit: Exit,
        *,
        exit_id: UUID | str,
        average_price: Decimal,
        at: datetime,
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell that an exit rule was reached and the position is being sold, once per exit."""
        message = exit_texts.exit_begun(self._style(trace_id), instrument, exit, average_price=average_price, at=at)
        return await self._tell("exit_begun", f"exit:{exit_id}:begun", message, at, instrument.symbol)

    async def exit_ended(
        self,
        instrument: Instrument,
        kind: ExitKind,
        outcome: ExitOutcome,
        *,
        exit_id: UUID | str,
        wanted: Decimal,
        sold: Decimal,
        at: datetime,
        proceeds: Decimal | None = None,
        reason: str = "",
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell how an exit ended, once per exit: `sold` of `wanted` units, for `proceeds`."""
        message = exit_texts.exit_ended(
            self._style(trace_id),
            instrument,
            kind,
            outcome,
            wanted=wanted,
            sold=sold,
            proceeds=proceeds,
            reason=reason,
            at=at,
        )
        return await self._tell("exit_ended", f"exit:{exit_id}:ended", message, at, instrument.symbol)

    async def exit_not_armed(
        self, instrument: Instrument, exit: Exit, *, average_price: Decimal, at: datetime, trace_id: str = ""
    ) -> Recorded | None:
        """Tell the operator that an exit wants to sell where live trading is not armed, once an hour and symbol."""
        message = exit_texts.exit_not_armed(self._style(trace_id), instrument, exit, average_price=average_price, at=at)
        hour = f"{at.astimezone(UTC):%Y-%m-%dT%H}"
        fingerprint = f"not_armed:{instrument.market}:{instrument.symbol}:{hour}"
        return await self._tell("exit_not_armed", fingerprint, message, at, instrument.symbol)

    async def circuit_breaker(
        self,
        state: TradingState,
        *,
        at: datetime,
        loss: Decimal | None = None,
        limit: Decimal | None = None,
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell that a loss limit was reached, once per breach. `loss` and `limit` are fractions, shown if given."""
        message = risk_texts.circuit_breaker(self._style(trace_id), state, loss=loss, limit=limit, at=at)
        until = state.until.astimezone(UTC).isoformat() if state.until else ""
        # the reason names the breach: after an operator resumed, the next one of the same day is another
        fingerprint = f"circuit_breaker:{state.market or ''}:{until}:{_digest(state.reason)}"
        return await self._tell("circuit_breaker", fingerprint, message, at, state.symbol or "")

    async def trading_state_changed(
        self, state: TradingState, *, by: str, at: datetime, trace_id: str = ""
    ) -> Recorded | None:
        """Tell what somebody allowed or stopped, once per change: `at` is when it was made."""
        message = risk_texts.trading_state(self._style(trace_id), state, by=by, at=at)
        scope = f"{state.market or ''}:{state.symbol or ''}"
        fingerprint = f"trading_state:{scope}:{state.state}:{_instant(at)}"
        return await self._tell("trading_state", fingerprint, message, at, state.symbol or "")

    async def arming_changed(
        self, market: str, *, until: datetime | None, by: str, at: datetime, trace_id: str = ""
    ) -> Recorded | None:
        """Tell that live trading was allowed `until` then or, without it, taken back; `at` is when it was done."""
        message = risk_texts.arming(self._style(trace_id), market, until=until, by=by, at=at)
        return await self._tell("arming", f"arming:{market}:{_instant(at)}", message, at, "")

    async def unproven_order(
        self, intent: OrderIntent, *, age_seconds: float, at: datetime | None = None, trace_id: str = ""
    ) -> Recorded | None:
        """Alarm the operator of an order that is neither proven nor disproven for too long, once per order."""
        now = at or datetime.now(UTC)
        message = risk_texts.unproven_order(self._style(trace_id), intent, age_seconds=age_seconds, at=now)
        return await self._tell("order_unproven", f"unproven:{intent.client_order_id}", message, now, intent.symbol)

    async def ambiguous_order(
        self, intent: OrderIntent, *, reason: str, at: datetime | None = None, trace_id: str = ""
    ) -> Recorded | None:
        """Alarm the operator that an order cannot be told from another and its symbol is halted, once per order."""
        now = at or datetime.now(UTC)
        message = risk_texts.ambiguous_order(self._style(trace_id), intent, reason=reason, at=now)
        fingerprint = f"ambiguous:{intent.client_order_id}"
        return await self._tell("order_ambiguous", fingerprint, message, now, intent.symbol)

    async def adopted_order(
        self, market: str, found: OpenOrder, *, at: datetime | None = None, trace_id: str = ""
    ) -> Recorded | None:
        """Tell that an order nobody here had sent was taken into the journal, once per order of the venue."""
        now = at or datetime.now(UTC)
        message = risk_texts.adopted_order(self._style(trace_id), market, found, at=now)
        fingerprint = f"adopted:{market}:{found.venue_order_id}"
        return await self._tell("order_adopted", fingerprint, message, now, found.symbol)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
