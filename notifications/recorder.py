"""Recording from a thread: synchronous, fast, and never raising, for Celery's signal handlers and the beat."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from notifications.alert import KINDS, Alert
from notifications.ledger import PREFIX, Recorded, count_recorded, record_arguments, script, spool_or_lose
from notifications.spool import Spool, Spooled
from telemetry.instruments import alerts_recorded, start_at_zero

TIMEOUT_SECONDS = 0.2
# A Redis that hung is left alone for so long: else each error of a burst would wait for it in its turn.
AVOID_SECONDS = 1.0
# A drain is nobody's hook and may wait longer.
DRAIN_TIMEOUT_SECONDS = 5.0
IDS_PER_CALL = 500


class HookRecorder:
    """Records from any thread, in at most about 0.4 s when Redis hangs; a refused connection costs a millisecond."""

    def __init__(self, redis_url: str, *, prefix: str = PREFIX, spool: Spool | None = None) -> None:
        self._record = DirectScript(redis_url, script("record"), TIMEOUT_SECONDS)
        self._prefix = prefix
        self._spool = spool
        self._avoid_until = 0.0
        start_at_zero(alerts_recorded, kind=KINDS, result=[item.value for item in Recorded])

    def record(self, alert: Alert) -> Recorded:
        """Count one occurrence; what Redis does not take goes to the spool, and is lost only if that fails too."""
        occurrence = uuid4().hex
        if time.monotonic() < self._avoid_until:
            return spool_or_lose(self._spool, alert, occurrence, TimeoutError("it did not answer a moment ago"))
        try:
            reply = self._record(self._prefix, *record_arguments(alert), "", "", occurrence)
        except (redis.RedisError, OSError) as error:
            if isinstance(error, redis.TimeoutError | TimeoutError):
                self._avoid_until = time.monotonic() + AVOID_SECONDS
            return spool_or_lose(self._spool, alert, occurrence, error)
        return count_recorded(alert.kind, reply)

    def close(self) -> None:
        """Close the connections."""
        self._record.close()


class DirectScript:
    """One Lua script with one key, called from any thread over connections of its own, in as few steps as it takes.

    redis-py's client takes twice the processor time for a call, and asks the socket two more questions, whether the
    connection lives and whether it can be written to. Each lets go of the GIL, and in a worker whose threads compute,
    getting it back is what takes long.
    """

    def __init__(self, redis_url: str, source: str, seconds: float) -> None:
        """A call takes no longer than about twice `seconds`."""
        self._pool = redis.ConnectionPool.from_url(
            redis_url,
            socket_connect_timeout=seconds,
            socket_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        # appending and taking are atomic; redis-py's connections have no types
        self._idle: deque[Any] = deque()
        self._owner = os.getpid()

    def __call__(self, key: str, *arguments: str) -> Sequence[Any]:
        """The script's reply. Raises `RedisError` or `OSError`.

        A connection that died while it was idle is worth another try; a time-out is not. The second try may be of a
        call that arrived, so the script has to know a call that it had before.
        """
        if self._owner != (here := os.getpid()):
            # a fork has the same sockets, and would read the parent's answers
            self._idle, self._owner = deque(), here
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._call(self._pool.make_connection(), key, arguments)
        try:
            return self._call(connection, key, arguments)
        except redis.ConnectionError:
            return self._call(self._pool.make_connection(), key, arguments)

    def _call(self, connection: Any, key: str, arguments: Sequence[str]) -> Sequence[Any]:
        try:
            reply: Sequence[Any] = self._ask(connection, key, arguments)
        except redis.ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:
            # what is left of the answer must not be taken for that of the next call
            connection.disconnect()
            raise
        self._idle.append(connection)
        return reply

    def _ask(self, connection: Any, key: str, arguments: Sequence[str]) -> Any:
        connection.send_command("EVALSHA", self._sha, 1, key, *arguments)
        try:
            return connection.read_response()
        except NoScriptError:
            # the server keeps it from now on
            connection.send_command("EVAL", self._source, 1, key, *arguments)
            return connection.read_response()

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().disconnect()


class SpoolRecorder:
    """Records what was spooled; a line that was recorded before, whole or in part, counts once."""

    def __init__(self, redis_url: str, *, prefix: str = PREFIX) -> None:
        self._redis = connect(redis_url, DRAIN_TIMEOUT_SECONDS)
        self._prefix = prefix
        self._record = self._redis.register_script(script("record"))

    def record(self, spooled: Spooled) -> None:
        """Count all occurrences of one alert. Raises `RedisError` or `OSError`; may be called again."""
        times = [str(spooled.first), str(spooled.last)]
        for start in range(0, len(spooled.ids), IDS_PER_CALL):
            ids = spooled.ids[start : start + IDS_PER_CALL]
            self._record(keys=[self._prefix], args=[*spooled.arguments, *times, *ids])

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def connect(redis_url: str, seconds: float) -> redis.Redis:
    """A client whose calls take no longer than about twice `seconds`."""
    client: redis.Redis = redis.Redis.from_url(
        redis_url,
        socket_connect_timeout=seconds,
        socket_timeout=seconds,
        # a connection that died while it was idle is worth another try; a time-out is not
        retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        protocol=2,
    )
    return client
