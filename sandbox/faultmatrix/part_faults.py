"""Faults of the parts: venues, processes, servers and the collector that go away, hang or come late."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sandbox.faultmatrix.fault import Proof, fault
from sandbox.faultmatrix.house import ERROR_CHAT, READ_TOKEN, House
from sandbox.faultmatrix.injuries import api_traffic, locked_table
from sandbox.faultmatrix.work_faults import ANALYSE, analyse

SPOOLED = ("alder", "birch", "cedar", "hazel", "larch")
HUNG = (("upbit", "KRW-BTC"), ("kis", "005930"))
AWAY_SECONDS = 30.0
SPOOL_DELAY_SECONDS = 4.0


@fault(
    "venue-down",
    "Upbit answers every request with HTTP 503",
    alerts=("VenueDown",),
    about="upbit",
    event=r"BadReply",
    quick=True,
)
def venue_down(house: House) -> Iterator[None]:
    house.control.post("faults", {"service": "upbit", "kind": "error", "status": 503})
    for symbol in ("KRW-BTC", "KRW-ETH"):
        analyse(house, "upbit", symbol)
    yield
    house.control.delete("faults")


@fault(
    "slow-api",
    "a locked table makes every answer of the API slow",
    alerts=("SlowAPIResponse",),
    about="/analysis-results",
)
def slow_api(house: House) -> Iterator[None]:
    with (
        locked_table(house.plain_database_url, "analyses", hold=4.0, pause=0.3),
        api_traffic(f"{house.api_url}/analysis-results/", READ_TOKEN),
    ):
        yield


@fault(
    "metrics-not-collected",
    "the API process is killed and stays away",
    alerts=("MetricsNotCollected",),
    about="autotrader-api",
    quick=True,
)
def metrics_not_collected(house: House) -> Iterator[None]:
    house.supervisor.hold("api")
    yield
    house.supervisor.release("api")


def said_back(process: str) -> Proof:
    """Whoever told that the process is silent must tell that it is back."""

    def proof(house: House, since: float) -> str:
        texts = [message["text"] for message in house.messages(ERROR_CHAT) if message["at"] >= since]
        return "" if any(f"{process} 복구됨" in text for text in texts) else f"nobody told that {process} is back"

    return proof


@fault(
    "killed-worker",
    "the worker of KIS is killed and stays away",
    alerts=("WorkerDown",),
    about="kis",
    event=r"worker kis 응답 없음",
    proof=said_back("worker kis"),
    seconds=120,
)
def killed_worker(house: House) -> Iterator[None]:
    house.supervisor.hold("worker-kis")
    yield
    house.supervisor.release("worker-kis")


@fault(
    "stopped-beat",
    "the beat is stopped and stays so",
    alerts=("SchedulerDown",),
    event=r"beat 응답 없음",
    proof=said_back("beat"),
    seconds=120,
)
def stopped_beat(house: House) -> Iterator[None]:
    house.freeze("beat")
    yield
    house.thaw("beat")


@fault("notifier-dead", "the notifier is killed and stays away", alerts=("NotifierDown",))
def notifier_dead(house: House) -> Iterator[None]:
    house.supervisor.hold("notifier")
    yield
    house.supervisor.release("notifier")


@fault("collector-down", "the OTLP collector is killed and stays away", alerts=("TelemetryNotExported",), quick=True)
def collector_down(house: House) -> Iterator[None]:
    house.supervisor.hold("collector")
    yield
    house.supervisor.release("collector")


@fault("collector-hanging", "the OTLP collector takes connections and never answers", alerts=("TelemetryNotExported",))
def collector_hanging(house: House) -> Iterator[None]:
    house.freeze("collector")
    yield
    house.thaw("collector")


@fault("postgresql-down", "PostgreSQL is stopped", alerts=("DatabaseDown",), event=r"ERROR: ")
def postgresql_down(house: House) -> Iterator[None]:
    house.postgres.stop(abruptly=True)
    yield
    house.postgres.start()


@fault("redis-down", "Redis is killed", alerts=("RedisDown",))
def redis_down(house: House) -> Iterator[None]:
    house.redis.stop(abruptly=True)
    yield
    house.redis.start()


def all_spooled_arrived(house: House, since: float) -> str:
    """Every failure that happened while Redis was away has its message, though Redis has only come back since."""
    texts = [message["original_text"] for message in house.messages(ERROR_CHAT) if message["at"] >= since]
    lost = [word for word in SPOOLED if not any(f"while Redis was away: {word}" in text for text in texts)]
    lost += [symbol for _, symbol in HUNG if not any(symbol in text and ANALYSE in text for text in texts)]
    every = len(SPOOLED) + len(HUNG)
    return f"{len(lost)} of {every} failures never arrived: {', '.join(lost)}" if lost else ""


@fault(
    "disk-spool",
    f"{len(SPOOLED)} tasks and {len(HUNG)} analyses fail while Redis is away; it comes back",
    alerts=("AlertsSpooled",),
    event=r"FaultInjected.*while Redis was away",
    proof=all_spooled_arrived,
    seconds=60,
)
def disk_spool(house: House) -> Iterator[None]:
    for service in ("upbit", "kis"):
        house.control.post("faults", {"service": service, "kind": "hang", "seconds": SPOOL_DELAY_SECONDS})
    for market, symbol in HUNG:
        analyse(house, market, symbol)
    for word in SPOOLED:
        text = f"while Redis was away: {word}"
        house.publisher.publish("sandbox.faultmatrix.fail", text, SPOOL_DELAY_SECONDS, queue="yfinance")
    time.sleep(SPOOL_DELAY_SECONDS / 2)
    house.redis.stop(abruptly=True)
    try:
        house.wait(lambda: house.alerted("AlertsSpooled"), AWAY_SECONDS)
    finally:
        house.redis.start()
        house.control.delete("faults")
    yield
