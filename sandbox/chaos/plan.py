"""The plan: which run meets which fault, and when. The same seed makes the same plan. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

UPBIT, KIS = "upbit", "kis"
MARKETS = (UPBIT, KIS)


class Fault(StrEnum):
    """What goes wrong in one run."""

    NONE = "none"
    # at the venue, for one order of the run; "after": the order was taken
    TIMEOUT_BEFORE = "timeout before"
    TIMEOUT_AFTER = "timeout after"
    RESET_BEFORE = "reset before"
    RESET_MID_REPLY = "reset mid-reply"
    ERROR_BEFORE = "5xx before"
    ERROR_AFTER = "5xx after"
    HTML_BEFORE = "html before"
    HTML_AFTER = "html after"
    THROTTLED = "429"
    BLOCKED = "418"
    GARBLED = "garbled json"
    LATE = "late appearance"
    BURNT = "burnt identifier"
    TWICE = "duplicate identifier"
    PARTIAL = "partial fill"
    RESTING = "resting order"
    # at the venue, for reads and cancels of the symbol
    CANCEL_LOST = "cancel reply lost"
    READS_FAIL = "reads fail"
    # of processes and servers
    KILL = "kill -9"
    KILL_AT_ORDER = "kill -9 at order"
    REDELIVERED = "redelivered"
    RACE = "two workers race"
    PAUSE = "sigstop"
    PAUSE_AND_RACE = "sigstop and race"
    REDIS_RESTART = "redis restart"
    POSTGRES_RESTART = "postgres restart"


ORDER_FAULTS = (
    Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.RESET_BEFORE, Fault.RESET_MID_REPLY, Fault.ERROR_BEFORE,
    Fault.ERROR_AFTER, Fault.HTML_BEFORE, Fault.HTML_AFTER, Fault.THROTTLED, Fault.BLOCKED, Fault.GARBLED, Fault.LATE,
    Fault.BURNT, Fault.TWICE, Fault.PARTIAL, Fault.RESTING,
)  # fmt: skip
REQUEST_FAULTS = (Fault.CANCEL_LOST, Fault.READS_FAIL)
VENUE_FAULTS = frozenset((*ORDER_FAULTS, *REQUEST_FAULTS))
# KIS knows no client order ids, and closes nothing for a while
UPBIT_ONLY = frozenset({Fault.BLOCKED, Fault.BURNT, Fault.TWICE})

# how often each is drawn, against the others
WEIGHTS: Mapping[Fault, int] = {
    **dict.fromkeys(ORDER_FAULTS, 20),
    # these can only hit half of the runs
    Fault.BURNT: 40,
    Fault.TWICE: 40,
    # closes the venue for everybody
    Fault.BLOCKED: 16,
    Fault.CANCEL_LOST: 20,
    Fault.READS_FAIL: 20,
    Fault.KILL: 25,
    Fault.KILL_AT_ORDER: 35,
    Fault.REDELIVERED: 30,
    Fault.RACE: 40,
    Fault.PAUSE: 20,
    Fault.PAUSE_AND_RACE: 12,
    Fault.REDIS_RESTART: 10,
    Fault.POSTGRES_RESTART: 10,
    Fault.NONE: 40,
}
# on paper no order reaches a venue's door
PAPER_FAULTS = tuple(fault for fault in WEIGHTS if fault not in VENUE_FAULTS)

LONGEST_PAUSE = 20.0


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One analysis of one symbol. `number` counts all runs from 1.

    `rising` says which candles are served: rising ones are bought, falling ones sold. `delay` is seconds from the
    start of the task to a process fault, `seconds` how long a fault lasts, `nth` which order of the run it hits.
    `move` is what the price is multiplied with after the run, so that some of what rests is filled.
    """

    number: int
    market: str
    symbol: str
    rising: bool
    fault: Fault
    delay: float
    seconds: float
    nth: int
    move: float
    waits: bool


def make_plan(seed: int, runs: int, symbols: Mapping[str, Sequence[str]], faults: Sequence[Fault]) -> list[PlannedRun]:
    """`runs` runs spread evenly over all symbols; every fault in `faults` comes as often as its weight says."""
    chance = random.Random(seed)
    places = [(market, symbol) for market in MARKETS for symbol in symbols.get(market, ())]
    chance.shuffle(places)
    plan = []
    for number in range(1, runs + 1):
        market, symbol = places[(number - 1) % len(places)]
        turn = (number - 1) // len(places)
        # every second symbol begins with selling what it holds
        rising = (turn + places.index((market, symbol))) % 2 == 0
        possible = [fault for fault in faults if market == UPBIT or fault not in UPBIT_ONLY]
        fault = chance.choices(possible, [WEIGHTS[fault] for fault in possible])[0]
        plan.append(_run(chance, number, market, symbol, rising, fault))
    return plan


def _run(chance: random.Random, number: int, market: str, symbol: str, rising: bool, fault: Fault) -> PlannedRun:
    move = chance.uniform(0.97, 0.996) if rising else chance.uniform(1.004, 1.03)
    return PlannedRun(
        number=number,
        market=market,
        symbol=symbol,
        rising=rising,
        fault=fault,
        delay=chance.uniform(0.0, 1.2),
        seconds=_seconds(chance, fault),
        nth=chance.choices((1, 2, 3), (6, 3, 1))[0],
        # some orders stay in the book until the next run cancels them
        move=move if chance.random() < 0.8 else 1.0,
        waits=chance.random() < 0.8,
    )


def _seconds(chance: random.Random, fault: Fault) -> float:
    match fault:
        case Fault.LATE:
            return chance.uniform(1.0, 15.0)
        case Fault.RESTING:
            return chance.uniform(0.5, 8.0)
        case Fault.BLOCKED:
            return 2.0
        case Fault.PAUSE:
            return chance.choice((chance.uniform(0.5, 4.0), chance.uniform(4.0, 12.0)))
        case Fault.PAUSE_AND_RACE:
            # beyond the lease of a symbol, so that another worker may take it over
            return chance.uniform(12.0, LONGEST_PAUSE)
        case _:
            return chance.uniform(0.1, 1.5)
