"""The days the Korea Exchange opens, as KIS says, and where they differ from our own sessions.

KIS asks for one call a day (CTCA0903R, real environment only), so the answer of a day is kept in Redis for all
processes, and a call that failed is not made again for an hour.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import BadReply, NoData, Throttled, Unreachable
from workers.kis.trading_wire import DayRow
from workers.kis.wire import KST

KEPT_SECONDS = 2 * 24 * 3600
ASK_AGAIN_SECONDS = 3600
COMPARED_DAYS = 14


class HolidayCalls(Protocol):
    """The call that `workers.kis.trading.KisTrading` makes."""

    async def holidays(self, first: date) -> list[DayRow]:
        """The days from `first` on, about a month of them. Raises `NotOffered` in mock trading."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A day on which KIS and our sessions disagree; `kis_open` is what KIS says."""

    day: date
    kis_open: bool

    def __str__(self) -> str:
        said, ours = ("open", "closed") if self.kis_open else ("closed", "open")
        return f"{self.day}: KIS says {said}, our sessions say {ours}; see beat/data and beat.generate_sessions"


class KisHolidays:
    """KIS's calendar of Korea, asked for once a day by all processes of one Redis together."""

    def __init__(
        self, trading: HolidayCalls, redis: Redis, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._trading = trading
        self._redis = redis
        self._clock = clock

    def today(self) -> date:
        """The date in Korea."""
        return self._clock().astimezone(KST).date()

    async def open_days(self) -> dict[date, bool]:
        """Whether stocks are traded, for each day from today on, about a month of them.

        Raises `NotOffered` in mock trading, `Throttled` while another process asks or after a call that failed within
        the last hour, `Unreachable` where Redis does not answer, `NoData`, and what the call raises.
        """
        today = self.today()
        key = f"kis:holidays:{today:%Y%m%d}"
        try:
            if kept := await self._redis.get(key):
                return _read(kept)
            if not await self._redis.set(f"{key}:asked", "1", nx=True, ex=ASK_AGAIN_SECONDS):
                raise Throttled(
                    "kis holidays: they have been asked for within the hour, and KIS wants one call a day",
                    ASK_AGAIN_SECONDS,
                )
            rows = await self._trading.holidays(today)
            days = {row.bass_dt: row.opens for row in rows if row.bass_dt >= today}
            if not days:
                raise NoData("kis holidays: there are no days in the reply; it is tried again in an hour")
            text = json.dumps({day.isoformat(): is_open for day, is_open in days.items()})
            await self._redis.set(key, text, ex=KEPT_SECONDS)
        except RedisError as error:
            raise Unreachable(
                f"kis holidays: Redis, where they are kept, does not answer ({type(error).__name__}); check REDIS_URL"
            ) from None
        return days


def differences(
    open_days: Mapping[date, bool], trades: Callable[[date], bool], first: date, days: int = COMPARED_DAYS
) -> list[Difference]:
    """The days of the `days` from `first` on where KIS says something else than `trades` (our sessions), in order.

    Raises `NoData` where KIS's days do not reach that far: a day it does not tell is no agreement.
    """
    wanted = [first + timedelta(days=number) for number in range(days)]
    missing = [day for day in wanted if day not in open_days]
    if missing:
        raise NoData(f"kis holidays: nothing is told of {missing[0]} and {len(missing) - 1} more of {days} days")
    return [Difference(day, open_days[day]) for day in wanted if open_days[day] != trades(day)]


def _read(kept: bytes | str) -> dict[date, bool]:
    try:
        return {date.fromisoformat(day): bool(is_open) for day, is_open in json.loads(kept).items()}
    except (ValueError, AttributeError):
        raise BadReply("kis holidays: what is kept in Redis cannot be read; delete the key kis:holidays:*") from None
