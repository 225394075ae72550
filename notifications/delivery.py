"""Claimed alerts: to Telegram, under a span of the trace they were recorded in, and back into the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from notifications import life_texts
from notifications.alert import BadPayload, Claim, Contents, Digest, read_payload
from notifications.ledger import Ledger
from notifications.life_texts import DigestLine
from notifications.message import Chat, Message, Priority
from notifications.photos import Photos
from notifications.quiet import Quiet
from notifications.routes import CURES, Manner, Routes
from notifications.sender import Delivered, Outcome, Postponed
from notifications.sent import entry
from notifications.texts import with_count
from notifications.words import Words
from telemetry.instruments import alerts_collapsed, alerts_sent
from telemetry.redaction import redact

log = logging.getLogger(__name__)

SEND_RESULTS = (
    "sent",
    "edited",
    "plain",
    "fallback",
    "diverted",
    "kept",
    "off",
    "throttled",
    "unreachable",
    "chat_unusable",
    "bad_token",
    "failed",
)
# What is tried again after a fault of our own, times the attempts so far.
RETRY_SECONDS = 10.0

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("autotrader")


class Delivery:
    """Delivers claims. `trouble` says why nothing can be told at all just now, or ""."""

    def __init__(
        self, ledger: Ledger, routes: Routes, words: Words, secrets: Iterable[str], *, quiet: Quiet, photos: Photos
    ) -> None:
        self._ledger = ledger
        self._routes = routes
        self._quiet = quiet
        self._photos = photos
        self._words = words
        self._secrets = tuple(secrets)
        self._refused_token = False
        self.trouble = ""

    async def hold(self, claim: Claim) -> Delivered | None:
        """What is switched off, or waits for the end of the quiet hours, as an outcome to settle; None: send it."""
        try:
            contents = read_payload(claim.payload)
        except BadPayload:
            return None
        held = await self._quiet.hold(claim, contents)
        if held is None:
            return None
        alerts_sent.add(max(claim.occurrences - claim.shown, 1), {"kind": contents.kind, "result": held})
        return Delivered(None, held)

    async def send(self, leased: Claim | Digest) -> Outcome | None:
        """Send or edit. None if a fault of our own got in the way: that is logged, and costs an attempt."""
        if isinstance(leased, Digest):
            return await self._send_digest(leased)
        try:
            contents = read_payload(leased.payload)
        except BadPayload as error:
            log.error("alert %s: %s", leased.fingerprint, error)  # noqa: TRY400 - one line says it all
            alerts_sent.add(1, {"kind": "unknown", "result": "failed"})
            return None
        attributes: dict[str, str | int] = {
            "alert.kind": contents.kind,
            "alert.fingerprint": leased.fingerprint,
            "alert.occurrences": leased.occurrences,
            "telegram.chat": contents.message.chat.value,
        }
        if contents.symbol:
            attributes["symbol"] = contents.symbol
        message = contents.message.redacted(self._secrets)
        counted = with_count(self._words, message, leased.occurrences, leased.first, leased.last)
        fallback = self._words.fallback.format(fingerprint=leased.fingerprint)
        parent = _TRACE_CONTEXT.extract({"traceparent": contents.traceparent})
        with _tracer.start_as_current_span(
            "telegram.send", context=parent, kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            manner = Manner(fallback, self._quiet.is_silent(contents), await self._photos.of(leased, counted))
            try:
                outcome = await self._routes.tell(counted, manner, leased.message_id, leased.via)
            except Exception:
                # the edge: whatever is wrong with one alert, the next one is sent
                log.exception("alert %s could not be sent", leased.fingerprint)
                outcome = None
            if manner.picture is not None and manner.picture.sent:
                await self._photos.note_sent(leased)
            self._conclude(span, contents.kind, contents.message.chat, outcome)
            return outcome

    async def settle(self, claim: Claim, outcome: Outcome | None) -> None:
        """Write into the ledger what became of the claim. Raises `RedisError`; may be called again."""
        match outcome:
            case Delivered(message_id, how, via):
                if await self._ledger.ack(claim, message_id, via, entry(claim, _contents(claim), how, self._secrets)):
                    if how != "off":
                        _count_collapsed(claim, message_id)
                else:
                    log.warning("alert %s was sent after its lease had ended; it may come twice", claim.fingerprint)
            case Postponed("chat_unusable", seconds, reason) if claim.via and claim.message_id is not None:
                # the edit of what went to the other chat: its own may be used, and without the count it is told too
                await self._ledger.nack(claim, seconds, reason=self._clean(reason))
            case Postponed("chat_unusable", seconds, reason):
                chat = _contents(claim).message.chat
                passes = self._routes.has_way_round(chat)
                await self._ledger.nack(
                    claim, seconds, refund=True, pause=chat, critical_passes=passes, reason=self._clean(reason)
                )
            case Postponed(trouble, seconds, reason):
                self._warn(trouble, reason, seconds)
                await self._ledger.nack(claim, seconds, refund=True, pause_bot=True, reason=self._clean(reason))
            case _:
                reason = "a fault of the notifier"
                log.error("alert %s was not delivered: %s", claim.fingerprint, reason)
                if not await self._ledger.nack(claim, RETRY_SECONDS * claim.attempts, reason=reason):
                    log.critical("alert %s is given up after %d attempts", claim.fingerprint, claim.attempts)

    async def _send_digest(self, digest: Digest) -> Outcome | None:
        found = [(claim, _contents(claim)) for claim in digest.claims]
        lines = [
            DigestLine(
                redact(contents.summary or contents.message.text.partition("\n")[0], self._secrets),
                claim.occurrences - claim.shown,
                contents.message.priority,
                contents.kind,
            )
            for claim, contents in found
        ]
        kind, chat = found[0][1].kind, found[0][1].message.chat
        message = life_texts.digest(self._words, lines, chat, datetime.now(UTC)).redacted(self._secrets)
        attributes: dict[str, str | int] = {
            "alert.kind": "digest",
            "alert.occurrences": sum(line.occurrences for line in lines),
            "telegram.chat": chat.value,
        }
        with _tracer.start_as_current_span("telegram.send", kind=SpanKind.CLIENT, attributes=attributes) as span:
            try:
                silent = all(self._quiet.is_silent(contents) for _, contents in found)
                outcome = await self._routes.tell(message, Manner(message.text.partition("\n")[0], silent), None, "")
            except Exception:
                # the edge: each alert of it is then sent by itself
                log.exception("a digest of %d alerts could not be sent", len(lines))
                outcome = None
            self._conclude(span, kind, chat, outcome)
        # no later edit of one alert may replace the message that tells of all of them
        return replace(outcome, message_id=None) if isinstance(outcome, Delivered) else outcome

    def refuse_token(self) -> None:
        """Note that Telegram knows no bot of this token: nothing can be told until there is another."""
        self.trouble = "Telegram refuses the token"
        self._routes.none_usable()

    def _conclude(self, span: Span, kind: str, chat: Chat, outcome: Outcome | None) -> None:
        match outcome:
            case Delivered(_, how, _):
                result: str = how
                self.trouble, self._refused_token = "", False
            case Postponed(trouble, _, _):
                result = trouble
                if trouble == "bad_token":
                    self.refuse_token()
                elif trouble == "chat_unusable" and chat is Chat.ERROR:
                    self.trouble = "Telegram: the error chat cannot be used, nor can the other one"
            case _:
                result = "failed"
        span.set_attribute("result", result)
        if not isinstance(outcome, Delivered):
            span.set_status(Status(StatusCode.ERROR, result))
        alerts_sent.add(1, {"kind": kind, "result": result})

    def _warn(self, trouble: str, reason: str, seconds: float) -> None:
        if trouble != "bad_token":
            log.warning(
                "Telegram: %s (%s); next try in %.0f s; %s", trouble, self._clean(reason), seconds, CURES[trouble]
            )
        elif not self._refused_token:
            self._refused_token = True
            log.error("Telegram refuses the token (%s): %s", self._clean(reason), CURES["bad_token"])

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)


def _contents(claim: Claim) -> Contents:
    """What a claim tells; of a payload that cannot be read only the fingerprint is left."""
    try:
        return read_payload(claim.payload)
    except BadPayload:
        message = Message(claim.fingerprint, (), Priority.HIGH, Chat.ERROR)
        return Contents("error", message, "", "", claim.last)


def _count_collapsed(claim: Claim, message_id: int | None) -> None:
    """Count what no message of its own was made for."""
    own = 1 if message_id is not None and claim.message_id is None else 0
    if more := claim.occurrences - claim.shown - own:
        alerts_collapsed.add(max(more, 0), {"kind": _contents(claim).kind})
