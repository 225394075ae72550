"""What the command line shows of tasks it follows, and when it stops following."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields

import pytest
from rich.console import Console

from cli import progress
from cli.bars import Bars
from cli.lines import Lines
from cli.progress import Ending, Row, State, row_of, watch
from cli.words import EN, KO
from tasks.standing import Standing

WAITING = Row("KRW-BTC", State.WAITING)
RUNNING = Row("KRW-BTC", State.RUNNING, 33, "analysing")
DONE = Row("KRW-BTC", State.DONE, 100, "order_filled")
FAILED = Row("KRW-XRP", State.FAILED, 100, "BadReply: no JSON [/red]")


def in_turn(*looks: Sequence[Row] | Exception) -> Callable[[], Awaitable[Sequence[Row]]]:
    """Each of them once, and the last for ever."""
    left = list(looks)

    async def look() -> Sequence[Row]:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return look


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.001)


async def test_it_ends_when_everything_has_ended_however_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    other = Row("KRW-XRP", State.RUNNING, 0, "collecting")
    seen = await watch(in_turn([WAITING, other], [RUNNING, other], [DONE, other], [DONE, FAILED]), title="sweep")
    assert seen.ending is Ending.COMPLETE
    assert (seen.failed, seen.left) == ([FAILED], [])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "sweep: KRW-XRP: 0% collecting",
        "sweep: KRW-BTC: 33% analysing",
        "sweep: KRW-BTC: order_filled (1/2)",
        "sweep: KRW-XRP: 실패: BadReply: no JSON [/red] (2/2)",
    ]


async def test_it_ends_with_its_patience_and_says_what_is_left() -> None:
    seen = await watch(in_turn([DONE, RUNNING]), title="sweep", patience=0.05)
    assert (seen.ending, seen.left) == (Ending.TIMEOUT, [RUNNING])


async def test_it_ends_where_nobody_is_at_work_any_more() -> None:
    seen = await watch(in_turn([WAITING], [RUNNING]), title="sweep", silence=0.05)
    assert (seen.ending, seen.left) == (Ending.SILENCE, [RUNNING])


async def test_it_waits_for_redis_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    away = ConnectionError("redis://:secret@host")
    seen = await watch(in_turn([RUNNING], away, away, [DONE]), title="sweep")
    assert seen.ending is Ending.COMPLETE
    err = capsys.readouterr().err
    assert err.count("ConnectionError") == 1
    assert "secret" not in err


def test_lines_are_written_for_what_is_news(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines("replay", EN) as lines:
        for percent in range(0, 101, 5):
            lines.show([Row("AAPL", State.RUNNING, percent, "trading")])
    assert [line.split()[2] for line in capsys.readouterr().err.splitlines()] == ["0%", "25%", "50%", "75%", "100%"]


def test_bars_show_all_those_that_run_and_what_failed() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    many = [Row(f"RUN-{number}", State.RUNNING, 50, "trading") for number in range(20)]
    with Bars("sweep of [upbit]", EN, console) as bars:
        bars.show([WAITING])
        bars.show([DONE, FAILED, *many])
        bars._progress.refresh()
        shown = output.getvalue()
        assert "sweep of [upbit]" in shown
        assert "2/22 ended, 1 failed" in shown
        assert "KRW-XRP: failed: BadReply: no JSON [/red]" in shown
        assert "RUN-7" in shown
        # a screen is not that long
        assert "RUN-8" not in shown
        bars.trouble("ConnectionError: waiting for an answer")
        bars.show([DONE, FAILED])
        bars._progress.refresh()
    assert "2/2 ended, 1 failed" in output.getvalue()
    assert output.getvalue().count("KRW-XRP: failed") == 1


@pytest.mark.parametrize(
    ("stands", "row"),
    [
        (Standing(), Row("A", State.WAITING)),
        (Standing("RECEIVED"), Row("A", State.WAITING)),
        (Standing("RETRY"), Row("A", State.WAITING)),
        (Standing("STARTED"), Row("A", State.RUNNING)),
        (Standing("PROGRESS", 66, "trading"), Row("A", State.RUNNING, 66, "주문")),
        (Standing("PROGRESS", 66, "2026-11-20"), Row("A", State.RUNNING, 66, "2026-11-20")),
        (Standing("SUCCESS", 100, result={"outcome": "hold"}), Row("A", State.DONE, 100, "hold")),
        (Standing("SUCCESS", 100, result=7), Row("A", State.DONE, 100)),
        (Standing("FAILURE", error=ValueError("no")), Row("A", State.FAILED, 100, "ValueError: no")),
        (Standing("REVOKED"), Row("A", State.FAILED, 100, "REVOKED")),
    ],
)
def test_every_state_of_a_task_is_a_row(stands: Standing, row: Row) -> None:
    assert row_of("A", stands, KO) == row


def test_both_languages_name_the_same_in_every_sentence() -> None:
    import string

    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for field in fields(KO):
        korean, english = getattr(KO, field.name), getattr(EN, field.name)
        if isinstance(korean, str):
            assert korean
            assert english
            assert names(korean) == names(english), field.name
