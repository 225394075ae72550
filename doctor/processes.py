"""The processes: do beat and workers live, do the queues move, do pages and Prometheus texts answer?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aiohttp
from redis import RedisError
from redis.asyncio import Redis

from doctor.findings import Finding, fault, ok, skipped, why
from settings import MARKETS, Settings, orders_queue
from storage.redis import HEARTBEAT_KEY, NOTIFIER_SIGN_KEY, NOTIFIER_SILENT_SECONDS, open_redis, seconds_since

# RedBeat's lock, held by the beat that ticks
BEAT_LOCK = "autotrader:beat::lock"
LONGEST_QUEUE = 100
# what serves its text where, by convention
PORTS = {
    9101: "worker-upbit",
    9102: "worker-kis",
    9103: "worker-yfinance",
    9104: "beat",
    9105: "notifier",
    9106: "api",
}


async def life(settings: Settings) -> list[Finding]:
    """Beat, notifier, queues, and the workers' heartbeats, which prove beat, broker, worker and database at once."""
    client = open_redis(settings.redis_url)
    found = []
    try:
        if await client.exists(BEAT_LOCK):
            found.append(ok("beat", "holds its lock"))
        else:
            found.append(fault("beat", "no beat runs, so nothing is scheduled; start it: autotrader beat"))
        found.append(await _notifier(settings, client))
        for market in MARKETS:
            if not settings.symbols(market):
                found.append(skipped(f"worker {market}", f"{market.upper()}_SYMBOLS is empty"))
                continue
            age = seconds_since(await client.get(HEARTBEAT_KEY.format(market=market)))
            name, start = f"worker {market}", f"autotrader worker {market}"
            found.append(_alive(name, age, settings.worker_silent_seconds, start, sign="heartbeat"))
            waiting = {name: int(await client.llen(name)) for name in (market, orders_queue(market))}
            found.append(_queues(market, waiting))
    except (RedisError, OSError) as error:
        found.append(fault("processes", f"cannot be seen, because Redis does not answer ({type(error).__name__})"))
    finally:
        await client.aclose()
    return found


async def _notifier(settings: Settings, client: Redis) -> Finding:
    if not settings.telegram_enabled:
        return skipped("notifier", "TELEGRAM_ENABLED=false")
    age = seconds_since(await client.get(NOTIFIER_SIGN_KEY))
    lost = ", so nothing is told"
    return _alive("notifier", age, NOTIFIER_SILENT_SECONDS, "autotrader notifier", sign="gave a sign", lost=lost)


def _alive(name: str, age: float | None, patience: float, start: str, *, sign: str, lost: str = "") -> Finding:
    """What its last sign, so many seconds ago, says of a process; `start` is its command."""
    if age is None:
        return fault(name, f"never was heard of{lost}; start it: {start}")
    if age > patience:
        return fault(name, f"was last heard of {age:.0f} s ago; look at its log, or start it: {start}")
    return ok(name, f"{sign} {age:.0f} s ago")


def _queues(market: str, waiting: Mapping[str, int]) -> Finding:
    shown = ", ".join(f"{length} in {queue}" for queue, length in waiting.items())
    if max(waiting.values()) > LONGEST_QUEUE:
        return fault(
            f"queue {market}",
            f"{shown}: more than {LONGEST_QUEUE} tasks wait; start another `autotrader worker {market}`",
        )
    return ok(f"queue {market}", f"{shown} waiting")


async def pages(settings: Settings, session: aiohttp.ClientSession) -> list[Finding]:
    """Flower, which must ask for a login, and SigNoz, where they are set."""
    return [
        await _page(session, "flower", "FLOWER_URL", settings.flower_url, "/healthcheck", closed="/api/workers"),
        await _page(session, "signoz", "SIGNOZ_URL", settings.signoz_url, "/api/v1/health"),
    ]


async def _page(
    session: aiohttp.ClientSession, name: str, setting: str, url: str, path: str, closed: str = ""
) -> Finding:
    if not url:
        return skipped(name, f"{setting} is empty")
    try:
        async with session.get(url.rstrip("/") + path) as response:
            status = response.status
        if closed and status == 200:
            async with session.get(url.rstrip("/") + closed) as response:
                if response.status == 200:
                    return fault(name, "shows tasks to anybody without a login; set FLOWER_BASIC_AUTH and restart it")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return fault(name, why(error, setting))
    if status != 200:
        return fault(name, f"answers {status} at {path}; does {setting} name it, with its path prefix if it has one?")
    return ok(name, "answers" + (" and asks for a login" if closed else ""))


async def prometheus(settings: Settings, session: aiohttp.ClientSession, ports: Sequence[int]) -> list[Finding]:
    """The Prometheus text of this host's processes. A port nobody listens on is no fault: it may be another host's."""
    asked = dict.fromkeys([*ports, *filter(None, [settings.prometheus_port])])
    found, silent = [], []
    for port in asked:
        name = f"metrics of {PORTS.get(port, 'the process')} on {port}"
        try:
            async with session.get(f"http://{_local(settings.prometheus_host)}:{port}/metrics") as response:
                text = await response.text(errors="replace")
        except aiohttp.ClientConnectorError:
            silent.append(port)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            found.append(fault(name, why(error, "PROMETHEUS_PORT")))
        else:
            found.append(_is_ours(name, response.status, text))
    if settings.prometheus_port in silent:
        found.append(
            fault(
                "metrics", f"PROMETHEUS_PORT={settings.prometheus_port}, and nothing listens there; start that process"
            )
        )
    elif not found:
        found.append(skipped("metrics", f"no process of this host serves any on {', '.join(map(str, asked))}"))
    return found


def _is_ours(name: str, status: int, text: str) -> Finding:
    if status == 200 and "bot_running" in text:
        return ok(name, f"{sum(not line.startswith('#') for line in text.splitlines())} series")
    return fault(name, f"something else answers there ({status}); set PROMETHEUS_PORT to a free port for each process")


def _local(host: str) -> str:
    return "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
