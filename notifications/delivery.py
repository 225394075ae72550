"""One claimed alert: to Telegram, under a span of the trace it was recorded in, and back into the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from notifications.alert import BadPayload, Claim, Contents, read_payload
from notifications.ledger import Ledger
from notifications.message import Chat
from notifications.sender import Delivered, Moved, Outcome, Postponed, Refused, TelegramSender
from notifications.texts import with_count
from notifications.words import Words
from telemetry.instruments import alerts_sent
from telemetry.redaction import redact

log = logging.getLogger(__name__)

SEND_RESULTS = (
    "sent",
    "edited",
    "plain",
    "fallback",
    "throttled",
    "unreachable",
    "chat_unusable",
    "bad_token",
    "refused",
    "failed",
)
# What is tried again after a refusal or a fault of our own, times the attempts so far.
RETRY_SECONDS = 10.0

CURES = {
    "throttled": "nothing is lost, the queue waits",
    "unreachable": "alerts are kept; check the network and TELEGRAM_BASE_URL",
    "bad_token": "TELEGRAM_TOKEN is wrong or was revoked: get a new one from @BotFather, set it, restart the notifier",
    "chat_unusable": "check {setting}, and that the bot is in that chat and may write there; alerts are kept",
}
CHAT_SETTINGS = {Chat.TRADE: "TELEGRAM_CHAT_ID", Chat.ERROR: "ERROR_REPORTING_CHAT_ID (or TELEGRAM_CHAT_ID)"}

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("autotrader")


class Delivery:
    """Delivers claims to the chats named in `chats`, which follows a chat that moves."""

    def __init__(
        self,
        ledger: Ledger,
        sender: TelegramSender,
        chats: Mapping[Chat, str],
        words: Words,
        secrets: Iterable[str],
    ) -> None:
        self._ledger = ledger
        self._sender = sender
        self._chats = dict(chats)
        self._words = words
        self._secrets = tuple(secrets)

    async def follow_moved_chats(self) -> None:
        """Take up the chats that moved before this start. Raises `RedisError`."""
        for chat, chat_id in self._chats.items():
            self._chats[chat] = await self._ledger.moved_chat(chat_id)

    async def send(self, claim: Claim) -> Outcome | None:
        """Send or edit. None if a fault of our own got in the way: that is logged, and costs an attempt."""
        try:
            contents = read_payload(claim.payload)
        except BadPayload as error:
            log.error("alert %s: %s", claim.fingerprint, error)  # noqa: TRY400 - one line says it all
            alerts_sent.add(1, {"kind": "unknown", "result": "failed"})
            return None
        attributes: dict[str, str | int] = {
            "alert.kind": contents.kind,
            "alert.fingerprint": claim.fingerprint,
            "alert.occurrences": claim.occurrences,
            "telegram.chat": contents.message.chat.value,
        }
        if contents.symbol:
            attributes["symbol"] = contents.symbol
        parent = _TRACE_CONTEXT.extract({"traceparent": contents.traceparent})
        with _tracer.start_as_current_span(
            "telegram.send", context=parent, kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            try:
                outcome = await self._send(claim, contents)
            except Exception:
                # the edge: whatever is wrong with one alert, the next one is sent
                log.exception("alert %s could not be sent", claim.fingerprint)
                outcome = None
            _conclude(span, contents, outcome)
            return outcome

    async def settle(self, claim: Claim, outcome: Outcome | None) -> None:
        """Write into the ledger what became of the claim. Raises `RedisError`; may be called again."""
        match outcome:
            case Delivered(message_id):
                if not await self._ledger.ack(claim, message_id):
                    log.warning("alert %s was sent after its lease had ended; it may come twice", claim.fingerprint)
            case Postponed("chat_unusable", seconds, reason):
                chat = read_payload(claim.payload).message.chat
                self._warn("chat_unusable", reason, seconds, CHAT_SETTINGS[chat])
                await self._ledger.nack(claim, seconds, refund=True, pause=chat)
            case Postponed(trouble, seconds, reason):
                self._warn(trouble, reason, seconds)
                await self._ledger.nack(claim, seconds, refund=True, pause_bot=True)
            case _:
                reason = outcome.reason if isinstance(outcome, Refused) else "see above"
                log.error("alert %s was not delivered: %s", claim.fingerprint, redact(reason, self._secrets))
                if not await self._ledger.nack(claim, RETRY_SECONDS * claim.attempts):
                    log.critical("alert %s is given up after %d attempts", claim.fingerprint, claim.attempts)

    async def _send(self, claim: Claim, contents: Contents) -> Outcome:
        message = contents.message.redacted(self._secrets)
        counted = with_count(self._words, message, claim.occurrences, claim.first, claim.last)
        fallback = self._words.fallback.format(fingerprint=claim.fingerprint)
        chat = message.chat
        outcome = await self._sender.deliver(counted, self._chats[chat], edit=claim.message_id, fallback=fallback)
        if isinstance(outcome, Moved):
            log.warning("the %s chat has moved to %s: set %s to it", chat, outcome.chat_id, CHAT_SETTINGS[chat])
            await self._ledger.remember_moved_chat(self._chats[chat], outcome.chat_id)
            self._chats[chat] = outcome.chat_id
            # what was sent to the old chat cannot be edited in the new one
            outcome = await self._sender.deliver(counted, outcome.chat_id, fallback=fallback)
        return outcome

    def _warn(self, trouble: str, reason: str, seconds: float, setting: str = "") -> None:
        cure = CURES[trouble].format(setting=setting)
        log.warning("Telegram: %s (%s); next try in %.0f s; %s", trouble, redact(reason, self._secrets), seconds, cure)


def _conclude(span: Span, contents: Contents, outcome: Outcome | None) -> None:
    match outcome:
        case Delivered(_, how):
            result: str = how
        case Postponed(trouble, _, _):
            result = trouble
        case Refused():
            result = "refused"
        case _:
            result = "failed"
    span.set_attribute("result", result)
    if not isinstance(outcome, Delivered):
        span.set_status(Status(StatusCode.ERROR, result))
    alerts_sent.add(1, {"kind": contents.kind, "result": result})
