"""What a chaos run says at its end: the faults and what came of them, the evidence, and the one line that counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sandbox.chaos.check import Evidence, Finding, Kind
from sandbox.chaos.drive import Record
from sandbox.chaos.plan import Fault

# evidence of so many findings is shown, the others are counted
MOST_SHOWN = 40


def fault_table(records: Sequence[Record], outcomes: Mapping[str, str]) -> Iterator[str]:
    """A line per fault: runs, how many of them it really hit, their seconds, and how they ended. `outcomes` are by
    run id."""
    by_fault: dict[Fault, list[Record]] = defaultdict(list)
    for record in records:
        by_fault[record.run.fault].append(record)
    yield f"{'fault':<22} {'runs':>5} {'hit':>5} {'median s':>9}  outcomes"
    for fault in Fault:
        here = by_fault.get(fault)
        if not here:
            continue
        seconds = sorted(record.seconds for record in here)[len(here) // 2]
        hit = "-" if fault is Fault.NONE else str(sum(record.injected for record in here))
        ended = Counter(outcomes.get(record.run_id, "pending") for record in here).most_common(5)
        words = ", ".join(f"{outcome} {count}" for outcome, count in ended)
        yield f"{fault.value:<22} {len(here):>5} {hit:>5} {seconds:>9.1f}  {words}"


def orders_table(evidence: Evidence) -> Iterator[str]:
    """What the venues took, and the states of the journal."""
    for market in sorted({order.market for order in evidence.venue}):
        here = [order for order in evidence.venue if order.market == market]
        bought, sold = (sum(order.side == side for order in here) for side in ("buy", "sell"))
        traded, resting = sum(order.traded > 0 for order in here), sum(order.open for order in here)
        yield f"{market}: {len(here)} orders ({bought} buys, {sold} sells), {traded} traded, {resting} rest"
    states = Counter(order.state for order in evidence.journal)
    yield "journal: " + ", ".join(f"{state} {count}" for state, count in sorted(states.items()))


def findings_text(
    findings: Sequence[Finding], records: Sequence[Record], stories: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """The evidence of each finding: what, the fault of its run, and the events of its order."""
    by_run = {record.run_id: record.run for record in records}
    for finding in findings[:MOST_SHOWN]:
        run = by_run.get(finding.origin or "")
        of = f"run {run.number} ({run.fault.value}, {run.seconds:.1f} s)" if run else f"origin {finding.origin}"
        yield f"{finding.kind.value.upper()} {finding.market} {finding.symbol}, {of}: {finding.what}"
        for line in stories.get(finding.order_id or "", ()):
            yield f"    {line}"
    if len(findings) > MOST_SHOWN:
        yield f"and {len(findings) - MOST_SHOWN} more"


def verdict(findings: Sequence[Finding], runs: int) -> str:
    """The line that scripts read."""
    counts = Counter(finding.kind for finding in findings)
    doubled, lost, unresolved = (counts[kind] for kind in (Kind.DOUBLED, Kind.LOST, Kind.UNRESOLVED))
    return f"orders_doubled={doubled} orders_lost={lost} unresolved={unresolved} runs={runs}"
