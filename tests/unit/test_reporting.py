"""From a failed task to the error chat: each error is told, by its own name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from notifications.reporter import ErrorReporter
from tasks.redeliveries import LostTooOften
from tasks.reporting import report_failure
from workers.errors import TimedOut, Unproven


class Told:
    """What an error reporter was asked to report."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []

    def report(self, error: BaseException, *, level: str, **_: Any) -> None:
        self.errors.append((str(error), level))


def test_of_a_group_each_error_is_told_also_of_one_in_a_group() -> None:
    told, task = Told(), SimpleNamespace(name="tasks.guard.guard", request=SimpleNamespace(delivery_info=None))
    inner = ExceptionGroup("upbit: 2 turns failed", [Unproven("b"), LostTooOften("c")])
    for error in (TimedOut("alone"), ExceptionGroup("upbit: 2 turns failed", [TimedOut("a"), inner]), None):
        report_failure(cast(ErrorReporter, told), "worker", sender=task, exception=error, args=("upbit",))
    assert told.errors == [("alone", "ERROR"), ("a", "ERROR"), ("b", "ERROR"), ("c", "CRITICAL")]
