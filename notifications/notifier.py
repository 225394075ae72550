"""The process that talks to Telegram: empties the alert ledger, most urgent first, at a pace Telegram bears.

A second copy is safe: each alert is leased to one of them at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from redis import ConnectionError as RedisConnectionError
from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from telegram.error import InvalidToken, TelegramError

from notifications.alert import KINDS, Claim
from notifications.delivery import CURES, SEND_RESULTS, Delivery
from notifications.ledger import LEASE_SECONDS, Idle, Ledger
from notifications.message import Chat, Priority
from notifications.pace import Bucket, Pace
from notifications.sender import TOKEN_RETRY_SECONDS, Outcome, TelegramSender
from notifications.words import words
from settings import Settings
from telemetry.instruments import alert_queue_depth, alerts_sent, bot_running, start_at_zero
from telemetry.redaction import redact, secret_values

log = logging.getLogger(__name__)

REDIS_ERRORS = (RedisError, OSError, TimeoutError)

# An alert wakes the notifier; this is for what no recording announces, such as another sender's death.
POLL_SECONDS = 1.0
WAKE_SECONDS = 2.0
DEPTH_SECONDS = 2.0
REDIS_TIMEOUT_SECONDS = 5.0
LONGEST_BACKOFF_SECONDS = 5.0
# How long a stopping notifier tries to write down what it has just sent.
STOP_GRACE_SECONDS = 5.0


class NotifierError(Exception):
    """The notifier cannot work as it is configured; the message names the setting and the cure."""


async def run_notifier(
    settings: Settings,
    *,
    stop: asyncio.Event,
    pace: Pace = Pace(),  # noqa: B008 - immutable
    lease_seconds: float = LEASE_SECONDS,
) -> None:
    """Send what the ledger holds until `stop` is set; then finish the message under way.

    Neither Redis nor Telegram being away ends it. Raises `NotifierError` if it has no token or no chat.
    """
    if not settings.telegram_enabled:
        log.info("TELEGRAM_ENABLED=false: nothing is sent, and nothing is recorded for sending")
        await stop.wait()
        return
    token = settings.telegram_token.get_secret_value().strip()
    if not token:
        raise NotifierError(
            "TELEGRAM_TOKEN is missing: get one from @BotFather and set it in .env, or set TELEGRAM_ENABLED=false"
        )
    if not settings.telegram_chat_id:
        raise NotifierError("TELEGRAM_CHAT_ID is missing: set it in .env, or set TELEGRAM_ENABLED=false")
    start_at_zero(alerts_sent, kind=KINDS, result=SEND_RESULTS)
    bot_running.set(1, {"process": "notifier"})
    client = Redis.from_url(
        settings.redis_url,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        # one more try for a connection that died while it was idle; what lasts longer is told to the log
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
        protocol=2,
    )
    sender = TelegramSender(token, base_url=settings.telegram_base_url)
    chats = {Chat.TRADE: settings.telegram_chat_id, Chat.ERROR: settings.error_chat_id}
    secrets = secret_values(settings)
    ledger = Ledger(client)
    delivery = Delivery(ledger, sender, chats, words(settings.notify_language), secrets)
    try:
        await _check_token(sender, stop, secrets)
        await _Loop(ledger, delivery, _lanes(chats), pace, lease_seconds, stop, secrets).run()
    finally:
        bot_running.set(0, {"process": "notifier"})
        await sender.close()
        await client.aclose()


async def _check_token(sender: TelegramSender, stop: asyncio.Event, secrets: Iterable[str]) -> None:
    """Return when Telegram knows the token, or cannot be asked: the sending will then show."""
    while not stop.is_set():
        try:
            log.info("the notifier sends as @%s", await sender.username())
        except InvalidToken as error:
            log.error(  # noqa: TRY400 - one line says it all
                "Telegram refuses the token (%s): %s, and check TELEGRAM_BASE_URL",
                redact(str(error), secrets),
                CURES["bad_token"],
            )
            await _sleep(stop, TOKEN_RETRY_SECONDS)
        except (TelegramError, TimeoutError) as error:
            reason = redact(str(error), secrets) or type(error).__name__
            log.warning("Telegram does not answer (%s): %s", reason, CURES["unreachable"])
            return
        else:
            return


def _lanes(chats: Mapping[Chat, str]) -> list[tuple[Chat, ...]]:
    """The chats by the chat id they share: what goes to one chat is paced together, the rest apart."""
    return [tuple(chat for chat in chats if chats[chat] == chat_id) for chat_id in dict.fromkeys(chats.values())]


async def _sleep(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class _Loop:
    def __init__(
        self,
        ledger: Ledger,
        delivery: Delivery,
        lanes: list[tuple[Chat, ...]],
        pace: Pace,
        lease_seconds: float,
        stop: asyncio.Event,
        secrets: Iterable[str],
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._lanes = {lane: asyncio.Event() for lane in lanes}
        self._pace = pace
        self._overall = Bucket(pace.overall, pace.overall)
        self._lease_seconds = lease_seconds
        self._stop = stop
        self._secrets = tuple(secrets)
        self._redis_failures = 0

    async def run(self) -> None:
        """Until `stop` is set, and the messages under way are settled."""
        watchers = [asyncio.create_task(watch()) for watch in (self._watch_wakes, self._watch_stop, self._watch_depth)]
        try:
            await self._follow_moved_chats()
            async with asyncio.TaskGroup() as lanes:
                for lane in self._lanes:
                    lanes.create_task(self._run_lane(lane))
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _run_lane(self, chats: tuple[Chat, ...]) -> None:
        bucket, wake = Bucket(self._pace.per_chat, self._pace.burst), self._lanes[chats]
        while not self._stop.is_set():
            wake.clear()
            wait = max(bucket.wait(), self._overall.wait())
            if wait and not bucket.may_overdraw():
                await _sleep(self._stop, wait)
                continue
            lowest = Priority.CRITICAL if wait else Priority.NORMAL
            try:
                claim = await self._ledger.claim(chats, lowest=lowest, lease_seconds=self._lease_seconds)
            except REDIS_ERRORS as error:
                await _sleep(self._stop, self._redis_failed(error))
                continue
            self._redis_answered()
            if isinstance(claim, Idle):
                await _sleep(wake, min(claim.seconds, POLL_SECONDS, wait or POLL_SECONDS))
                continue
            bucket.take()
            self._overall.take()
            await self._settle(claim, await self._delivery.send(claim))

    async def _settle(self, claim: Claim, outcome: Outcome | None) -> None:
        """Write the outcome down, however long Redis is away: what is sent and not written is sent twice."""
        give_up: float | None = None
        while True:
            try:
                await self._delivery.settle(claim, outcome)
            except REDIS_ERRORS as error:
                backoff = self._redis_failed(error)
                if self._stop.is_set():
                    give_up = give_up or time.monotonic() + STOP_GRACE_SECONDS
                    if time.monotonic() + backoff > give_up:
                        log.error("alert %s was not settled and will be sent again", claim.fingerprint)  # noqa: TRY400
                        return
                await asyncio.sleep(backoff)
            else:
                self._redis_answered()
                return

    async def _follow_moved_chats(self) -> None:
        while not self._stop.is_set():
            try:
                await self._delivery.follow_moved_chats()
            except REDIS_ERRORS as error:
                await _sleep(self._stop, self._redis_failed(error))
            else:
                return

    async def _watch_wakes(self) -> None:
        while True:
            try:
                woken = await self._ledger.wait_for_wake(WAKE_SECONDS)
            except REDIS_ERRORS as error:
                await asyncio.sleep(self._redis_failed(error))
            else:
                self._redis_answered()
                if woken:
                    self._wake()

    async def _watch_stop(self) -> None:
        await self._stop.wait()
        self._wake()

    async def _watch_depth(self) -> None:
        while True:
            # while Redis is away the last known depth stands; the lanes say that it is away
            with suppress(*REDIS_ERRORS):
                alert_queue_depth.set(await self._ledger.depth())
            await asyncio.sleep(DEPTH_SECONDS)

    def _wake(self) -> None:
        for wake in self._lanes.values():
            wake.set()

    def _redis_failed(self, error: BaseException) -> float:
        """Say once that Redis is away; returns how long to wait before the next try."""
        self._redis_failures += 1
        if self._redis_failures == 1:
            reason = redact(str(error), self._secrets) or type(error).__name__
            log.error(
                "Redis does not answer (%s): no alerts are sent until it does; check REDIS_URL and the server", reason
            )
        return min(0.1 * 2.0 ** min(self._redis_failures, 10), LONGEST_BACKOFF_SECONDS)

    def _redis_answered(self) -> None:
        if self._redis_failures:
            log.info("Redis answers again")
            self._redis_failures = 0
