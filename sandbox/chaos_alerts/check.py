"""What a run has shown. Pure: what was recorded and what arrived go in, the verdict comes out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN = re.compile(r"alert (?P<fingerprint>\S+), first by (?P<first>\S+)\.(?:\s+×(?P<count>[\d,]+))?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`lost` are occurrences that were recorded and are in no message; `duplicates` messages that tell what another
    tells already; `wrong` fingerprints whose count is not what was recorded; `dead` alerts given up and kept."""

    occurrences: int
    fingerprints: int
    lost: int
    duplicates: int
    wrong: tuple[str, ...]
    dead: int

    @property
    def good(self) -> bool:
        return self.lost == 0 and not self.wrong and self.dead == 0

    def __str__(self) -> str:
        return (
            f"lost={self.lost} duplicates={self.duplicates} wrong_counts={len(self.wrong)} dead={self.dead} "
            f"occurrences={self.occurrences} fingerprints={self.fingerprints}"
        )


def read_journal(lines: Iterable[str]) -> tuple[set[int], set[int], int]:
    """Which occurrences of a plan were certainly recorded, which perhaps (their recorder was killed meanwhile), and
    how many were reported as lost."""
    begun, done, lost = set(), set(), 0
    for line in lines:
        word, number, *result = line.split()
        if word == "begin":
            begun.add(int(number))
        elif result == ["lost"]:
            lost += 1
            begun.discard(int(number))
        else:
            done.add(int(number))
    return done, begun - done, lost


def judge(certain: Counter[str], perhaps: Counter[str], given_up: int, texts: Sequence[str], dead: int) -> Verdict:
    """Compare what was recorded, by fingerprint, with the texts of the messages as they stand at the end.

    A fingerprint has an alert per window, each named by its first occurrence; two messages of one alert tell the same.
    """
    shown: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for text in texts:
        if found := _SHOWN.search(text):
            shown[found["fingerprint"]][found["first"]].append(int((found["count"] or "1").replace(",", "")))
    lost, wrong = given_up, []
    for fingerprint, count in certain.items():
        told = sum(max(counts) for counts in shown[fingerprint].values())
        lost += max(count - told, 0)
        if not count <= told <= count + perhaps[fingerprint]:
            wrong.append(f"{fingerprint}: {count} recorded, {perhaps[fingerprint]} perhaps, {told} told")
    duplicates = sum(len(counts) - 1 for alerts in shown.values() for counts in alerts.values())
    return Verdict(certain.total(), len(certain), lost, duplicates, tuple(sorted(wrong)), dead)
