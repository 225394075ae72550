"""Analyses, orders and reports to the trade chat. Each has its own fingerprint, so a task that is delivered again tells
nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from notifications import ladder_texts, report_texts, run_texts, texts
from notifications.kinds import Kind
from notifications.ledger import Recorded
from notifications.risk_notices import RiskNotices
from notifications.words import quantity
from telemetry.trace_ids import current_trace_id
from trading.reports import Report
from trading.runs import RunSummary
from trading.types import Analysis, Instrument, OrderIntent, OrderState, Placement, Side

# An order that is not sent yet is told by nobody; were it told, its end would not be known.
ORDER_KINDS: dict[OrderState, Kind] = {
    OrderState.PLANNED: "order_unproven",
    OrderState.SENDING: "order_unproven",
    OrderState.UNKNOWN: "order_unproven",
    OrderState.ACCEPTED: "order_accepted",
    OrderState.PARTLY_FILLED: "order_partly_filled",
    OrderState.FILLED: "order_filled",
    OrderState.CANCELLED: "order_cancelled",
    OrderState.REJECTED: "order_failed",
    OrderState.THROTTLED: "order_failed",
    OrderState.NOT_CREATED: "order_failed",
}


class TradeNotifier(RiskNotices):
    """Everything that is told of trading; see `Teller` for what holds of all of it."""

    async def analysis_complete(
        self,
        instrument: Instrument,
        analysis: Analysis,
        *,
        run_id: str,
        analysis_id: str = "",
        trace_id: str = "",
        picture: str = "",
    ) -> Recorded | None:
        """Tell what an analysis proposes, once per run and symbol; `picture` names one in `notifications.pictures`."""
        message = texts.analysis_complete(
            self._words,
            instrument,
            analysis,
            analysis_id=analysis_id,
            trace_id=trace_id or current_trace_id(),
            mode=self._mode,
            links=self._links,
        )
        message = replace(message, picture=picture)
        return await self._tell(
            "analysis_complete",
            f"analysis:{run_id}:{instrument.symbol}",
            message,
            analysis.at,
            instrument.symbol,
            summary=texts.analysis_line(self._words, instrument, analysis, analysis_id),
        )

    async def order(
        self,
        instrument: Instrument,
        intent: OrderIntent,
        placement: Placement,
        *,
        run_id: str = "",
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell what came of an order, once per state it reaches and amount filled. An order without a run (of an exit,
        or adopted) leaves `run_id` out."""
        at = placement.fills[-1].at if placement.fills else datetime.now(UTC)
        filled = quantity(sum((fill.quantity for fill in placement.fills), Decimal(0)))
        message = texts.order(
            self._words,
            instrument,
            intent,
            placement,
            at=at,
            trace_id=trace_id or current_trace_id(),
            mode=self._mode,
            links=self._links,
        )
        fingerprint = f"order:{run_id}:{intent.client_order_id}:{placement.state}:{filled}"
        return await self._tell(ORDER_KINDS[placement.state], fingerprint, message, at, instrument.symbol)

    async def ladder(
        self,
        instrument: Instrument,
        side: Side,
        rungs: Sequence[OrderIntent],
        *,
        analysis_id: UUID | str,
        at: datetime | None = None,
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell which orders of a step the venue has accepted, once per analysis and side; nothing without one."""
        if not rungs:
            return None
        now = at or datetime.now(UTC)
        message = ladder_texts.ladder(self._style(trace_id), instrument, side, rungs, at=now)
        return await self._tell("order_accepted", f"ladder:{analysis_id}:{side}", message, now, instrument.symbol)

    async def orders_cancelled(
        self,
        instrument: Instrument,
        side: Side,
        count: int,
        *,
        analysis_id: UUID | str,
        reason: str = "",
        at: datetime | None = None,
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell how many resting orders were cancelled, once per `analysis_id` and side; nothing without one.

        They made way for the step of that analysis or, with a `reason`, for that: then the id is of whatever the
        cancelling belongs to, such as the order.
        """
        if count < 1:
            return None
        now = at or datetime.now(UTC)
        message = ladder_texts.orders_cancelled(self._style(trace_id), instrument, side, count, reason=reason, at=now)
        return await self._tell("order_cancelled", f"cancelled:{analysis_id}:{side}", message, now, instrument.symbol)

    async def insufficient_cash(
        self,
        instrument: Instrument,
        side: Side,
        *,
        have: Decimal | None,
        need: Decimal | None,
        at: datetime,
        run_id: str,
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell that an order was not placed for want of cash, with what there is and what it needs, once per run,
        symbol and side."""
        message = texts.insufficient_cash(
            self._words,
            instrument,
            side,
            have=have,
            need=need,
            at=at,
            trace_id=trace_id or current_trace_id(),
            mode=self._mode,
            links=self._links,
        )
        fingerprint = f"insufficient_cash:{run_id}:{instrument.symbol}:{side}"
        return await self._tell("insufficient_cash", fingerprint, message, at, instrument.symbol)

    async def run_summary(
        self, run: RunSummary, *, run_id: UUID | str, at: datetime | None = None, trace_id: str = ""
    ) -> Recorded | None:
        """Tell what a run came to, once per run."""
        now = at or datetime.now(UTC)
        message = run_texts.run_summary(self._style(trace_id), run, at=now)
        return await self._tell(
            "run_summary", f"run:{run_id}", message, now, "", summary=run_texts.line(self._words, run)
        )

    async def report(
        self, report: Report, *, at: datetime | None = None, trace_id: str = "", picture: str = ""
    ) -> Recorded | None:
        """Tell what a day or a week came to, once per period; `picture` names one in `notifications.pictures`."""
        now = at or datetime.now(UTC)
        message = report_texts.report(self._style(trace_id), report, at=now, picture=picture)
        fingerprint = f"report:{report.period}:{report.starts_at.astimezone(UTC).isoformat()}"
        kind: Kind = "daily_report" if report.period == "day" else "weekly_report"
        return await self._tell(kind, fingerprint, message, now, "")
