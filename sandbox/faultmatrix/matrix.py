"""One fault: inject it, wait until all who must tell of it have, take it away, wait until all is well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sandbox.client import SandboxError
from sandbox.faultmatrix.fault import Fault
from sandbox.faultmatrix.house import ERROR_CHAT, House
from sandbox.faultmatrix.messages import Notice

QUIET_SECONDS = 45.0
WELL_SECONDS = 240.0
# every rule has looked at every process by then
STARTED_SECONDS = 15.0
PROGRESS_SECONDS = 15.0
# healthy means so for a moment, not between two restarts
STEADY_SECONDS = 3.0
# no fault of the matrix can cause them, so they are false alarms whenever they fire
UNRELATED = {
    "AlertsDead",
    "CircuitBreakerTripped",
    "ClockOff",
    "CredentialExpiring",
    "OrdersUnproven",
    "TaskRejected",
    "VenueThrottled",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A message about the fault at Telegram: from a rule through Alertmanager, or from the ledger."""

    by: str
    name: str
    seconds: float


@dataclass(slots=True)
class Row:
    """What became of one fault; times are seconds since its injection."""

    fault: str
    what: str
    seen: list[Seen] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    resolved: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def detected(self) -> float | None:
        """Until the first message that tells of it."""
        return min((seen.seconds for seen in self.seen), default=None)

    @property
    def passed(self) -> bool:
        return bool(self.seen) and not self.missing and not self.problems and self.resolved is not None


def quiet(house: House, seconds: float = QUIET_SECONDS) -> list[str]:
    """Wait until the system is well, then watch it; returns what was told all the same, which should be nothing."""
    steady = _Steady(lambda: not house.unwell(), STARTED_SECONDS)
    if not house.wait(steady, WELL_SECONDS):
        return [f"not well {WELL_SECONDS:g} s after its start: {line}" for line in house.unwell()]
    since = time.time()
    told: set[str] = set()

    def watch() -> bool:
        told.update(f"{alert} fires" for alert in house.monitoring.firing())
        return False

    house.wait(watch, seconds)
    told.update(f"Alertmanager told of {notice.alert}" for notice in house.notices(since) if not notice.resolved)
    errors = [message for message in house.messages(ERROR_CHAT) if message["at"] >= since]
    told.update(f"the error chat has: {message['text'].splitlines()[0]}" for message in errors)
    return sorted(told)


def run(house: House, fault: Fault, tell: Callable[[str], None]) -> Row:
    """Let one fault happen and return its row."""
    row = Row(fault.name, fault.what)
    since = time.time()
    started = time.monotonic()

    def look() -> bool:
        row.seen = _seen(house, fault, since)
        row.missing = _missing(fault, row.seen)
        return not row.missing

    with fault.happens(house):
        house.wait(look, fault.seconds)
        tell(f"  told after {time.time() - since:.1f} s; taking it away")
    progress = _Progress(house, tell)
    steady = _Steady(progress.well, STEADY_SECONDS)
    if house.wait(lambda: steady() and _resolved(house, fault, since), WELL_SECONDS):
        row.resolved = round(time.monotonic() - started - STEADY_SECONDS, 1)
    else:
        row.problems += house.unwell() or ["Alertmanager never said that it is over"]
    # what is told late is told
    look()
    row.also = sorted({notice.alert for notice in house.notices(since)} - set(fault.alerts))
    row.problems += [f"false alarm: {alert}" for alert in row.also if alert in UNRELATED]
    if fault.proof is not None and (wrong := fault.proof(house, since)):
        row.problems.append(wrong)
    return row


class _Progress:
    """Whether the system is well; says what it waits for, as that changes, once that takes long."""

    def __init__(self, house: House, tell: Callable[[str], None]) -> None:
        self._house = house
        self._tell = tell
        self._said: list[str] = []
        self._next = time.monotonic() + PROGRESS_SECONDS

    def well(self) -> bool:
        wrong = self._house.unwell()
        if wrong and wrong != self._said and time.monotonic() > self._next:
            self._tell(f"  not well yet: {'; '.join(wrong)}")
            self._said, self._next = wrong, time.monotonic() + PROGRESS_SECONDS
        return not wrong


class _Steady:
    """Whether something has held for some seconds without a break."""

    def __init__(self, holds: Callable[[], bool], seconds: float) -> None:
        self._holds = holds
        self._seconds = seconds
        self._since: float | None = None

    def __call__(self) -> bool:
        try:
            holds = self._holds()
        except SandboxError:
            holds = False
        if not holds:
            self._since = None
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since >= self._seconds


def _seen(house: House, fault: Fault, since: float) -> list[Seen]:
    seen = []
    notices = house.notices(since)
    for alert in fault.alerts:
        if at := _first(notice.at for notice in notices if _tells(notice, alert, fault.about)):
            seen.append(Seen("alertmanager", alert, round(at - since, 1)))
    if fault.event is not None:
        texts = [
            (shown["at"], shown["text"])
            for message in house.messages(ERROR_CHAT)
            for shown in ({"at": message["at"], "text": message["original_text"]}, *message["edits"])
            if shown["at"] >= since
        ]
        if at := _first(at for at, text in texts if fault.event.search(text)):
            seen.append(Seen("ledger", "event", round(at - since, 1)))
    return seen


def _tells(notice: Notice, alert: str, about: str) -> bool:
    """Whether the message says that this alert fires, and for what the fault was done to."""
    return notice.alert == alert and not notice.resolved and about in notice.text


def _first(times: Iterable[float]) -> float | None:
    return min(times, default=None)


def _missing(fault: Fault, seen: Sequence[Seen]) -> list[str]:
    told = {found.name for found in seen}
    wanted = [*fault.alerts, *(["event"] if fault.event else [])]
    return [name for name in wanted if name not in told]


def _resolved(house: House, fault: Fault, since: float) -> bool:
    """Whether Alertmanager has said of each of the fault's alerts that it told of that it is over."""
    last: dict[str, Notice] = {notice.alert: notice for notice in house.notices(since)}
    return all(last[alert].resolved for alert in fault.alerts if alert in last)
