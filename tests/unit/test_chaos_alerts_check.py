"""The verdict on a run of the alert chaos: it sees what was lost, doubled or counted wrong."""

from __future__ import annotations

from collections import Counter

from sandbox.chaos_alerts.check import judge, read_journal


def texts(*told: tuple[str, str, int]) -> list[str]:
    return [
        f"alert {fingerprint}, first by {first}." + (f"\n\n×{count:,}, 마지막 12:00" if count > 1 else "")
        for fingerprint, first, count in told
    ]


def test_exact_counts_over_several_windows_are_good() -> None:
    verdict = judge(
        Counter(a=1203, b=1), Counter(), 0, texts(("a", "r0-1", 1200), ("a", "r1-9", 3), ("b", "r0-2", 1)), 0
    )
    assert verdict.good
    assert (verdict.lost, verdict.duplicates, verdict.wrong) == (0, 0, ())


def test_the_same_alert_told_twice_is_a_duplicate_and_counts_once() -> None:
    verdict = judge(Counter(a=3), Counter(), 0, texts(("a", "r0-1", 2), ("a", "r0-1", 3)), 0)
    assert verdict.good
    assert verdict.duplicates == 1


def test_what_is_in_no_message_is_lost() -> None:
    verdict = judge(Counter(a=3, b=2), Counter(), 0, texts(("a", "r0-1", 2)), 0)
    assert not verdict.good
    assert verdict.lost == 3
    assert len(verdict.wrong) == 2


def test_one_whose_recorder_was_killed_may_count_or_not_and_no_more_than_that() -> None:
    certain, perhaps = Counter(a=3), Counter(a=1)
    assert judge(certain, perhaps, 0, texts(("a", "r0-1", 3)), 0).good
    assert judge(certain, perhaps, 0, texts(("a", "r0-1", 4)), 0).good
    assert not judge(certain, perhaps, 0, texts(("a", "r0-1", 5)), 0).good


def test_what_its_recorder_gave_up_or_the_queue_buried_is_not_good() -> None:
    assert not judge(Counter(), Counter(), 1, [], 0).good
    assert not judge(Counter(), Counter(), 0, [], 1).good


def test_a_journal_tells_what_is_certain() -> None:
    lines = ["begin 0", "done 0 new", "begin 1", "done 1 lost", "begin 2", "done 2 spooled", "begin 3"]
    assert read_journal(lines) == ({0, 2}, {3}, 1)
