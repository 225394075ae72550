"""The sending itself: one lane per chat id, each at its pace, out of the ledger and back into it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from redis import RedisError

from notifications.alert import Claim, Digest
from notifications.delivery import Delivery
from notifications.ledger import Idle, Ledger
from notifications.message import Chat, Priority
from notifications.pace import Bucket, Pace
from notifications.routes import Routes
from notifications.sender import Outcome
from telemetry.instruments import alert_oldest_age, alert_queue_depth
from telemetry.redaction import redact

log = logging.getLogger(__name__)

REDIS_ERRORS = (RedisError, OSError, TimeoutError)

# An alert wakes the notifier; this is for what no recording announces, such as another sender's death.
POLL_SECONDS = 1.0
WAKE_SECONDS = 2.0
STATE_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 5.0
# How long a stopping notifier tries to write down what it has just sent.
STOP_GRACE_SECONDS = 5.0


class Lanes:
    """Empties the ledger until `stop` is set, and settles the messages under way.

    `oldest_age` is that of the oldest alert that waits, in seconds; `redis_away_since` the monotonic time since when
    Redis does not answer, or None.
    """

    def __init__(
        self,
        ledger: Ledger,
        delivery: Delivery,
        routes: Routes,
        chats: Mapping[Chat, str],
        pace: Pace,
        lease_seconds: float,
        stop: asyncio.Event,
        secrets: Iterable[str],
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._routes = routes
        self._lanes = {lane: asyncio.Event() for lane in _by_chat_id(chats)}
        self._pace = pace
        self._overall = Bucket(pace.overall, pace.overall)
        self._lease_seconds = lease_seconds
        self._stop = stop
        self._secrets = tuple(secrets)
        self._redis_failures = 0
        self.redis_away_since: float | None = None
        self.oldest_age = 0.0

    async def run(self) -> None:
        """Until `stop` is set, and the messages under way are settled."""
        await self._follow_moved_chats()
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(self._run_lane(lane))

    async def watch_wakes(self) -> None:
        """Wake the lanes when somebody records; until cancelled."""
        while True:
            try:
                woken = await self._ledger.wait_for_wake(WAKE_SECONDS)
            except REDIS_ERRORS as error:
                await asyncio.sleep(self._redis_failed(error))
            else:
                self._redis_answered()
                if woken:
                    self._wake()

    async def watch_stop(self) -> None:
        """Wake the lanes when they are to stop."""
        await self._stop.wait()
        self._wake()

    async def watch_state(self) -> None:
        """Set the gauges of the queue; until cancelled."""
        while True:
            # while Redis is away the last known state stands, and gets older
            with suppress(*REDIS_ERRORS):
                state = await self._ledger.state()
                self.oldest_age = state.oldest_age
                alert_queue_depth.set(state.depth)
                alert_oldest_age.set(state.oldest_age)
            await asyncio.sleep(STATE_SECONDS)

    async def _run_lane(self, chats: tuple[Chat, ...]) -> None:
        bucket, wake = Bucket(self._pace.per_chat, self._pace.burst), self._lanes[chats]
        while not self._stop.is_set():
            wake.clear()
            wait = max(bucket.wait(), self._overall.wait())
            if wait and not bucket.may_overdraw():
                await sleep(self._stop, wait)
                continue
            lowest = Priority.CRITICAL if wait else Priority.NORMAL
            try:
                leased = await self._ledger.claim(
                    chats, lowest=lowest, lease_seconds=self._lease_seconds, fold_above=self._pace.fold_above
                )
            except REDIS_ERRORS as error:
                await sleep(self._stop, self._redis_failed(error))
                continue
            self._redis_answered()
            if isinstance(leased, Idle):
                await sleep(wake, min(leased.seconds, POLL_SECONDS, wait or POLL_SECONDS))
                continue
            to_send = await self._without_held(leased)
            if to_send is None:
                continue
            bucket.take(self._pace.digest_cost if isinstance(to_send, Digest) else 1.0)
            self._overall.take()
            outcome = await self._delivery.send(to_send)
            for claim in to_send.claims if isinstance(to_send, Digest) else (to_send,):
                await self._settle(claim, outcome)

    async def _without_held(self, leased: Claim | Digest) -> Claim | Digest | None:
        """What is to be sent of it; what is switched off or waits for the morning is settled, and costs no pace."""
        left = []
        for claim in leased.claims if isinstance(leased, Digest) else (leased,):
            held = await self._delivery.hold(claim)
            if held is None:
                left.append(claim)
            else:
                await self._settle(claim, held)
        if not left:
            return None
        return Digest(tuple(left)) if isinstance(leased, Digest) else left[0]

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
                await self._routes.follow_moved_chats()
            except REDIS_ERRORS as error:
                await sleep(self._stop, self._redis_failed(error))
            else:
                return

    def _wake(self) -> None:
        for wake in self._lanes.values():
            wake.set()

    def _redis_failed(self, error: BaseException) -> float:
        """Say once that Redis is away; returns how long to wait before the next try."""
        self._redis_failures += 1
        if self._redis_failures == 1:
            self.redis_away_since = time.monotonic()
            reason = redact(str(error), self._secrets) or type(error).__name__
            log.error(
                "Redis does not answer (%s): no alerts are sent until it does; check REDIS_URL and the server", reason
            )
        return min(0.1 * 2.0 ** min(self._redis_failures, 10), LONGEST_BACKOFF_SECONDS)

    def _redis_answered(self) -> None:
        if self._redis_failures:
            log.info("Redis answers again")
            self._redis_failures = 0
            self.redis_away_since = None


def _by_chat_id(chats: Mapping[Chat, str]) -> list[tuple[Chat, ...]]:
    """The chats by the chat id they share: what goes to one chat is paced together, the rest apart."""
    return [tuple(chat for chat in chats if chats[chat] == chat_id) for chat_id in dict.fromkeys(chats.values())]


async def sleep(event: asyncio.Event, seconds: float) -> None:
    """Until the event or for so long."""
    # `wait_for` of Python 3.11 loses a cancel that comes with the event
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
