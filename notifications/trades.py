"""Analyses and orders to the trade chat. Each has its own fingerprint, so a redelivered task tells nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from redis.asyncio import Redis

from notifications import texts
from notifications.alert import ONCE_WINDOW_SECONDS, Alert, Kind, current_traceparent
from notifications.ledger import Ledger, Recorded
from notifications.message import Message
from notifications.texts import NO_LINKS, Links
from notifications.words import Language, Mode, quantity, words
from telemetry.trace_ids import current_trace_id
from trading.decision import Skip
from trading.types import Analysis, Instrument, OrderIntent, Placement, Side


class TradeNotifier:
    """Records trade messages over a Redis client that stays the caller's to close.

    No method raises for Redis: a trade is not undone because it could not be told. What cannot be recorded
    is logged and counted as lost. Each method returns None when `enabled` is false.
    """

    def __init__(
        self,
        redis: Redis,
        language: Language,
        *,
        enabled: bool = True,
        mode: Mode = "paper",
        links: Links = NO_LINKS,
    ) -> None:
        self._ledger = Ledger(redis)
        self._words = words(language)
        self._enabled = enabled
        self._mode: Mode = mode
        self._links = links

    async def analysis_complete(
        self,
        instrument: Instrument,
        analysis: Analysis,
        *,
        run_id: str,
        analysis_id: str = "",
        trace_id: str = "",
    ) -> Recorded | None:
        """Tell what an analysis proposes, once per run and symbol."""
        message = texts.analysis_complete(
            self._words,
            instrument,
            analysis,
            analysis_id=analysis_id,
            trace_id=trace_id or current_trace_id(),
            mode=self._mode,
            links=self._links,
        )
        return await self._tell(
            "analysis", f"analysis:{run_id}:{instrument.symbol}", message, analysis.at, instrument.symbol
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
        """Tell what came of an order, once per state it reaches and amount filled."""
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
        return await self._tell("order", fingerprint, message, at, instrument.symbol)

    async def insufficient_cash(
        self, instrument: Instrument, analysis: Analysis, skip: Skip, *, run_id: str, trace_id: str = ""
    ) -> Recorded | None:
        """Tell that a BUY was not placed for want of cash, with what there is and what it needs, once per run."""
        message = texts.insufficient_cash(
            self._words,
            instrument,
            Side.BUY,
            have=skip.have,
            need=skip.need,
            at=analysis.at,
            trace_id=trace_id or current_trace_id(),
            mode=self._mode,
            links=self._links,
        )
        fingerprint = f"insufficient_cash:{run_id}:{instrument.symbol}"
        return await self._tell("insufficient_cash", fingerprint, message, analysis.at, instrument.symbol)

    async def _tell(self, kind: Kind, fingerprint: str, message: Message, at: datetime, symbol: str) -> Recorded | None:
        if not self._enabled:
            return None
        return await self._ledger.record(
            Alert(
                fingerprint=fingerprint,
                kind=kind,
                message=message.redacted(()),
                at=at,
                symbol=symbol,
                traceparent=current_traceparent(),
                window_seconds=ONCE_WINDOW_SECONDS,
                once=True,
            )
        )
