"""Claimed alerts: to Telegram, under a span of the trace they were recorded in, and back into the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
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
from notifications.sender import Delivered, Moved, Outcome, Postponed, Refused, TelegramSender
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
    "chat_unusable": "check {setting}, and that the bot is in that chat and may write there; {until_then}",
}
CHAT_SETTINGS = {Chat.TRADE: "TELEGRAM_CHAT_ID", Chat.ERROR: "ERROR_REPORTING_CHAT_ID (or TELEGRAM_CHAT_ID)"}

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("autotrader")


class Delivery:
    """Delivers claims to the chats named in `chats`, which follows a chat that moves.

    While a chat cannot be used, its errors and all that is critical go to the other one, if that is another.
    `trouble` says why nothing can be told at all just now, or "".
    """

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
        self._unusable_until: dict[Chat, float] = {}
        self._refused_token = False
        self.trouble = ""

    async def follow_moved_chats(self) -> None:
        """Take up the chats that moved before this start. Raises `RedisError`."""
        for chat, chat_id in self._chats.items():
            self._chats[chat] = await self._ledger.moved_chat(chat_id)

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
            try:
                outcome = await self._tell(counted, fallback, leased.message_id, leased.via)
            except Exception:
                # the edge: whatever is wrong with one alert, the next one is sent
                log.exception("alert %s could not be sent", leased.fingerprint)
                outcome = None
            self._conclude(span, contents.kind, outcome)
            return outcome

    async def settle(self, claim: Claim, outcome: Outcome | None) -> None:
        """Write into the ledger what became of the claim. Raises `RedisError`; may be called again."""
        match outcome:
            case Delivered(message_id, _, via):
                if await self._ledger.ack(claim, message_id, via):
                    _count_collapsed(claim, message_id)
                else:
                    log.warning("alert %s was sent after its lease had ended; it may come twice", claim.fingerprint)
            case Postponed("chat_unusable", seconds, reason):
                chat = _contents(claim).message.chat
                passes = self._second(chat) is not None and not self._is_unusable(self._other(chat))
                await self._ledger.nack(
                    claim, seconds, refund=True, pause=chat, critical_passes=passes, reason=self._clean(reason)
                )
            case Postponed(trouble, seconds, reason):
                self._warn(trouble, reason, seconds)
                await self._ledger.nack(claim, seconds, refund=True, pause_bot=True, reason=self._clean(reason))
            case _:
                reason = self._clean(outcome.reason if isinstance(outcome, Refused) else "a fault of the notifier")
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
                outcome = await self._tell(message, message.text.partition("\n")[0], None, "")
            except Exception:
                # the edge: each alert of it is then sent by itself
                log.exception("a digest of %d alerts could not be sent", len(lines))
                outcome = None
            self._conclude(span, kind, outcome)
        # no later edit of one alert may replace the message that tells of all of them
        return replace(outcome, message_id=None) if isinstance(outcome, Delivered) else outcome

    async def _tell(self, message: Message, fallback: str, edit: int | None, via: str) -> Outcome:
        """To its chat, or to the other one while that cannot be used."""
        chat = message.chat
        second = self._second(chat) if chat is Chat.ERROR or message.priority is Priority.CRITICAL else None
        if via:
            return await self._divert(message, via, fallback, edit)
        if second is None or not self._is_unusable(chat):
            outcome = await self._to_own_chat(message, fallback, edit)
            if not (isinstance(outcome, Postponed) and outcome.trouble == "chat_unusable"):
                if isinstance(outcome, Delivered):
                    self._works_again(chat)
                return outcome
            self._note_unusable(chat, outcome)
            if second is None:
                return outcome
        return await self._divert(message, second, fallback)

    async def _to_own_chat(self, message: Message, fallback: str, edit: int | None) -> Outcome:
        chat = message.chat
        outcome = await self._sender.deliver(message, self._chats[chat], edit=edit, fallback=fallback)
        if isinstance(outcome, Moved):
            log.warning("the %s chat has moved to %s: set %s to it", chat, outcome.chat_id, CHAT_SETTINGS[chat])
            await self._ledger.remember_moved_chat(self._chats[chat], outcome.chat_id)
            self._chats[chat] = outcome.chat_id
            # what was sent to the old chat cannot be edited in the new one
            outcome = await self._sender.deliver(message, outcome.chat_id, fallback=fallback)
        return outcome

    async def _divert(self, message: Message, chat_id: str, fallback: str, edit: int | None = None) -> Outcome:
        diverted = life_texts.diverted(self._words, message, CHAT_SETTINGS[message.chat])
        outcome = await self._sender.deliver(diverted, chat_id, edit=edit, fallback=fallback)
        match outcome:
            case Delivered(message_id, how, _):
                return Delivered(message_id, "edited" if how == "edited" else "diverted", chat_id)
            case Postponed("chat_unusable", _, _):
                self._note_unusable(self._other(message.chat), outcome)
        return outcome

    def _second(self, chat: Chat) -> str | None:
        """The other chat's id, if it is another."""
        other = self._chats[self._other(chat)]
        return other if other != self._chats[chat] else None

    @staticmethod
    def _other(chat: Chat) -> Chat:
        return Chat.TRADE if chat is Chat.ERROR else Chat.ERROR

    def _is_unusable(self, chat: Chat) -> bool:
        return time.monotonic() < self._unusable_until.get(chat, 0.0)

    def _note_unusable(self, chat: Chat, outcome: Postponed) -> None:
        if chat not in self._unusable_until:
            until_then = (
                "alerts are kept" if self._second(chat) is None else "until then its errors go to the other one"
            )
            cure = CURES["chat_unusable"].format(setting=CHAT_SETTINGS[chat], until_then=until_then)
            log.error("Telegram: the %s chat cannot be used (%s): %s", chat, self._clean(outcome.reason), cure)
        self._unusable_until[chat] = time.monotonic() + outcome.seconds

    def _works_again(self, chat: Chat) -> None:
        if self._unusable_until.pop(chat, None) is not None:
            log.info("Telegram: the %s chat can be used again", chat)

    def _conclude(self, span: Span, kind: str, outcome: Outcome | None) -> None:
        match outcome:
            case Delivered(_, how, _):
                result: str = how
                self.trouble, self._refused_token = "", False
            case Postponed(trouble, _, _):
                result = trouble
                if trouble == "bad_token" or (trouble == "chat_unusable" and kind in ("error", "system")):
                    self.trouble = f"Telegram: {trouble}"
            case Refused():
                result = "refused"
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
