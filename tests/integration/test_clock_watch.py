"""A venue's replies over real HTTP tell how far this machine's clock is off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from workers.calls import Call
from workers.errors import BadReply, VenueError
from workers.http import VenueHttp, get_json, open_session

QUOTE = Call("upbit", "ticker", "KRW-BTC")
OTHER = Call("kis", "quote", "005930")
REPLIES = 15


class Venue:
    """Answers with a clock of its own: `ahead` seconds ahead of this machine's, after `delay` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.delay = 0.0
        self.status = 200
        self.dated = True
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        date = formatdate(time.time() + self.ahead, usegmt=True) if self.dated else "soon"
        return web.json_response({}, status=self.status, headers={"Date": date})


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    venue, app = Venue(), web.Application()
    app.router.add_get("/", venue.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    venue.url = f"http://{host}:{port}/"
    yield venue
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[VenueHttp]:
    http = open_session(10.0)
    yield http
    await http.close()


def never(_: Call, __: int, ___: Any) -> VenueError | None:
    return None


async def ask(http: VenueHttp, venue: Venue, call: Call = QUOTE) -> None:
    for _ in range(REPLIES):
        await get_json(http, call, venue.url, judge=never)
        # so that the replies fall on several parts of a second
        await asyncio.sleep(0.073)


@pytest.mark.parametrize("ahead", [4.0, -4.0])
async def test_a_venue_whose_clock_is_off_proves_it(http: VenueHttp, venue: Venue, ahead: float) -> None:
    venue.ahead = ahead
    await ask(http, venue)
    proven = http.clock.offset(datetime.now(UTC))
    assert proven is not None
    assert timedelta(seconds=2.9) < abs(proven) <= timedelta(seconds=4)
    assert (proven > timedelta(0)) == (ahead > 0)
    # the clock is set right
    venue.ahead = 0.0
    await ask(http, venue)
    assert http.clock.offset(datetime.now(UTC)) is None


async def test_a_right_clock_stays_right_behind_a_slow_venue(http: VenueHttp, venue: Venue) -> None:
    await ask(http, venue)
    venue.delay = 2.5
    await asyncio.gather(*(get_json(http, QUOTE, venue.url, judge=never) for _ in range(10)))
    assert http.clock.offset(datetime.now(UTC)) is None


async def test_errors_tell_the_time_too(http: VenueHttp, venue: Venue) -> None:
    venue.ahead, venue.status = 60.0, 500
    for _ in range(3):
        with pytest.raises(BadReply):
            await get_json(http, QUOTE, venue.url, judge=never)
    proven = http.clock.offset(datetime.now(UTC))
    assert proven is not None
    assert timedelta(seconds=55) < proven <= timedelta(seconds=60)


async def test_a_date_that_is_none_is_passed_over(http: VenueHttp, venue: Venue) -> None:
    venue.dated = False
    for _ in range(3):
        assert await get_json(http, QUOTE, venue.url, judge=never) == {}
    assert http.clock.offset(datetime.now(UTC)) is None


async def test_of_two_venues_one_proves_nothing(http: VenueHttp, venue: Venue) -> None:
    venue.ahead = 60.0
    for _ in range(3):
        await get_json(http, QUOTE, venue.url, judge=never)
    venue.ahead = 0.0
    for _ in range(3):
        await get_json(http, OTHER, venue.url, judge=never)
    assert http.clock.offset(datetime.now(UTC)) is None
