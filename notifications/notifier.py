"""The process that talks to Telegram: empties the alert ledger, most urgent first, at a pace Telegram bears.

It also drains this host's spool, keeps dead letters, looks after the queues and the beat, and lets a service outside
look after itself. A second copy is safe: each alert is leased to one of them at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from redis import ConnectionError as RedisConnectionError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from telegram.error import InvalidToken, TelegramError

from notifications import life_texts
from notifications.alert import KINDS, Alert
from notifications.backups import BackupWatch
from notifications.dead import DeadLetters
from notifications.delivery import SEND_RESULTS, Delivery
from notifications.drain import Drain
from notifications.kinds import Told
from notifications.lanes import Lanes, sleep
from notifications.ledger import LEASE_SECONDS, Ledger
from notifications.message import Chat, Message
from notifications.moved import MovedChats
from notifications.pace import Pace
from notifications.photos import Photos
from notifications.ping import DeadManPing
from notifications.quiet import Quiet
from notifications.routes import CURES, Routes
from notifications.sender import TOKEN_RETRY_SECONDS, Delivered, TelegramSender
from notifications.spool import spool_of
from notifications.watch import BeatWatch, leave_signs
from notifications.words import Words, words
from settings import MARKETS, Settings
from telemetry import dependencies
from telemetry.instruments import alerts_collapsed, alerts_sent, bot_running, start_at_zero, telegram_usable
from telemetry.queues import QueueMonitor
from telemetry.redaction import redact, secret_values

log = logging.getLogger(__name__)

PROCESS = "notifier"
REDIS_TIMEOUT_SECONDS = 5.0
# A notifier that could tell nothing for so long is as good as none, and its dead-man address is not asked.
CANNOT_TELL_SECONDS = 300.0
GOODBYE_SECONDS = 3.0
# Starts in so short a time are one message with a count: something starts it over and over.
STARTED_WINDOW_SECONDS = 300.0


class NotifierError(Exception):
    """The notifier cannot work as it is configured; the message names the setting and the cure."""


async def run_notifier(
    settings: Settings,
    *,
    stop: asyncio.Event,
    pace: Pace = Pace(),  # noqa: B008 - immutable
    lease_seconds: float = LEASE_SECONDS,
    queues: Iterable[str] = (),
    announce: bool = False,
) -> None:
    """Send what the ledger holds until `stop` is set; then finish the message under way.

    `queues` are watched meanwhile; with `announce` the trade chat is told of the start and the end. Neither Redis nor
    Telegram being away ends it. Raises `NotifierError` if it has no token or no chat.
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
    start_at_zero(alerts_collapsed, kind=KINDS)
    for chat in Chat:
        telegram_usable.set(1, {"chat": chat.value})
    bot_running.set(1, {"process": PROCESS})
    notifier = _Notifier(settings, token, stop, pace, lease_seconds)
    try:
        await notifier.run(tuple(queues), announce=announce)
    finally:
        bot_running.set(0, {"process": PROCESS})
        await notifier.close()


class _Notifier:
    """The parts of the process, open."""

    def __init__(self, settings: Settings, token: str, stop: asyncio.Event, pace: Pace, lease_seconds: float) -> None:
        self._settings = settings
        self._stop = stop
        self._secrets = secret_values(settings)
        self._words: Words = words(settings.notify_language)
        self._chats = {Chat.TRADE: settings.telegram_chat_id, Chat.ERROR: settings.error_chat_id}
        self._redis = Redis.from_url(
            settings.redis_url,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            # one more try for a connection that died while it was idle; what lasts longer is told to the log
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            protocol=2,
        )
        self._sender = TelegramSender(token, base_url=settings.telegram_base_url)
        spool = spool_of(settings)
        self._ledger = Ledger(self._redis, spool=spool)
        self._moved = MovedChats(self._ledger, settings.database_url)
        self._quiet = Quiet(self._redis, self._ledger, self._words, settings.verbosity, settings.quiet_hours)
        self._routes = Routes(self._ledger, self._sender, self._chats, self._words, self._secrets, self._moved)
        self._delivery = Delivery(
            self._ledger, self._routes, self._words, self._secrets, quiet=self._quiet, photos=Photos(self._redis)
        )
        self._lanes = Lanes(
            self._ledger, self._delivery, self._routes, self._chats, pace, lease_seconds, stop, self._secrets
        )
        self._drain = Drain(spool, settings.redis_url, self._secrets)

    async def run(self, queues: tuple[str, ...], *, announce: bool) -> None:
        """Everything at once; a part that fails in a way it does not know ends the process, to be started again."""
        async with asyncio.TaskGroup() as group:
            watchers = [group.create_task(watcher) for watcher in self._watchers(queues)]
            sending = group.create_task(self._send(announce=announce))
            await asyncio.wait([sending])
            for watcher in watchers:
                watcher.cancel()

    async def close(self) -> None:
        """Close the connections."""
        self._drain.close()
        await self._sender.close()
        await self._redis.aclose()

    def _watchers(self, queues: tuple[str, ...]) -> Iterable[Coroutine[Any, Any, None]]:
        settings, lanes = self._settings, self._lanes
        yield lanes.watch_wakes()
        yield lanes.watch_stop()
        yield lanes.watch_state()
        yield self._drain.watch()
        yield self._routes.check_chats()
        yield self._moved.watch()
        yield self._quiet.watch()
        yield DeadLetters(self._ledger, settings.database_url, self._secrets).watch()
        yield leave_signs(self._redis)
        yield BackupWatch(self._ledger, settings.database_url, self._words, away=settings.copied_away).watch()
        yield BeatWatch(self._redis, self._ledger, self._words, settings.beat_silent_seconds).watch()
        yield dependencies.watch(PROCESS, {"redis": self._redis.ping}, self._stop)
        if queues:
            yield QueueMonitor(settings.broker_url, queues).watch(self._stop)
        if url := settings.dead_man_ping_url.get_secret_value():
            yield DeadManPing(url, self._trouble).watch()

    async def _send(self, *, announce: bool) -> None:
        await self._check_token()
        if announce and not self._stop.is_set():
            message = life_texts.bot_started(self._words, **self._about())
            # not an event that happens once: one that starts over and over is one message with a count
            await self._ledger.record(
                Alert("bot_started", "bot_started", message, datetime.now(UTC), window_seconds=STARTED_WINDOW_SECONDS)
            )
        await self._lanes.run()
        if announce:
            await self._say_goodbye(life_texts.bot_stopped(self._words, **self._about()))

    def _about(self) -> dict[str, Any]:
        settings = self._settings
        try:
            number = version("autotrader")
        except PackageNotFoundError:
            number = "0+source"
        markets = [market for market in MARKETS if settings.symbols(market)]
        return {"version": number, "mode": settings.trading_mode, "markets": markets, "at": datetime.now(UTC)}

    async def _say_goodbye(self, message: Message) -> None:
        """Straight to the chat: nobody is left to empty the queue. It is not worth waiting for."""
        if self._settings.verbosity.of("bot_stopped") is Told.OFF:
            return
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                title = message.text.partition("\n")[0]
                outcome = await self._sender.deliver(message, self._routes.chat_id(Chat.TRADE), fallback=title)
        except TimeoutError:
            log.warning("the trade chat was not told of the stop, Telegram does not answer")
        else:
            if not isinstance(outcome, Delivered):
                log.warning("the trade chat was not told of the stop: %s", redact(str(outcome), self._secrets))

    async def _check_token(self) -> None:
        """Return when Telegram knows the token, or cannot be asked: the sending will then show."""
        refused = False
        while not self._stop.is_set():
            try:
                log.info("the notifier sends as @%s", await self._sender.username())
            except InvalidToken as error:
                self._delivery.refuse_token()
                reason = redact(str(error), self._secrets)
                if not refused:
                    log.error(  # noqa: TRY400 - one line says it all
                        "Telegram refuses the token (%s): %s, and check TELEGRAM_BASE_URL", reason, CURES["bad_token"]
                    )
                refused = True
                await sleep(self._stop, TOKEN_RETRY_SECONDS)
            except (TelegramError, TimeoutError) as error:
                reason = redact(str(error), self._secrets) or type(error).__name__
                log.warning("Telegram does not answer (%s): %s", reason, CURES["unreachable"])
                return
            else:
                self._delivery.trouble = ""
                return

    def _trouble(self) -> str:
        """Why nobody would hear of anything just now, or ""."""
        away = self._lanes.redis_away_since
        if away is not None and time.monotonic() - away > CANNOT_TELL_SECONDS:
            return "Redis is away, so no alert can be sent"
        if self._lanes.oldest_age > CANNOT_TELL_SECONDS:
            return "an alert waits for too long"
        return self._delivery.trouble
