"""How a kind of message is told, and when it is quiet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.kinds import ALWAYS_TOLD, KINDS, Told, Topic, read_verbosity, topic_of
from notifications.life_texts import DIGEST_LINES, DigestLine, digest
from notifications.message import Chat, Priority
from notifications.quiet_hours import read_quiet_hours
from notifications.words import EN, KO
from settings import SettingsError, load_settings

MIDNIGHT_IN_KOREA = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)


def test_what_is_not_named_is_on() -> None:
    verbosity = read_verbosity(" analysis_complete = off , run_summary=silent, ")
    assert (verbosity.of("analysis_complete"), verbosity.of("run_summary")) == (Told.OFF, Told.SILENT)
    assert {verbosity.of(kind) for kind in KINDS if kind not in ("analysis_complete", "run_summary")} == {Told.ON}
    assert verbosity.of("a kind of an older version") is Told.ON


@pytest.mark.parametrize(
    ("kinds", "topic"),
    [
        (["error", "error"], Topic.ERRORS),
        (["order_filled", "exit_ended", "insufficient_cash"], Topic.TRADES),
        (["order_filled", "error"], Topic.NOTICES),
        (["analysis_complete"], Topic.NOTICES),
        (["a kind of an older version", "circuit_breaker"], Topic.NOTICES),
        ([], Topic.NOTICES),
    ],
)
def test_many_messages_in_one_are_about_what_each_of_them_is(kinds: list[str], topic: Topic) -> None:
    assert topic_of(kinds) is topic
    for words in (KO, EN):
        told = [DigestLine("of it", 2, Priority.HIGH, kind) for kind in kinds]
        title = digest(words, told, Chat.TRADE, MIDNIGHT_IN_KOREA).text.partition("\n")[0]
        assert title.startswith(f"🗂 {words.life.digests[topic].partition(':')[0]}: ")
    assert set(KO.life.digests) == set(EN.life.digests) == set(Topic)
    assert len(set(KO.life.digests.values())) == len(Topic)


@pytest.mark.parametrize("kind", sorted(ALWAYS_TOLD))
def test_what_is_about_risk_can_be_silent_and_not_off(kind: str) -> None:
    assert read_verbosity(f"{kind}=silent").of(kind) is Told.SILENT
    with pytest.raises(ValueError, match=f"{kind} cannot be off"):
        read_verbosity(f"{kind}=off")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "NOTIFY_KINDS",
            "analysis=off",
            "setting NOTIFY_KINDS: there is no kind 'analysis'; use one of",
        ),
        ("NOTIFY_KINDS", "run_summary=loud", "run_summary cannot be 'loud'; use one of on, silent, off"),
        ("NOTIFY_KINDS", "run_summary", "is not kind=value, for example analysis_complete=silent"),
        ("NOTIFY_KINDS", "error=off", "error cannot be off, it is about risk; use on or silent"),
        ("NOTIFY_QUIET_HOURS", "11pm-7am", "setting NOTIFY_QUIET_HOURS: must be two times of day in KST, for example"),
        ("NOTIFY_QUIET_HOURS", "24:00-07:00", "must be two times of day in KST"),
        ("NOTIFY_QUIET_HOURS", "07:00-07:00", "must end at another time than it starts"),
    ],
)
def test_a_malformed_setting_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, name: str, value: str, says: str
) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("hours", "quiet"),
    [
        ("23:00-07:00", {23, 0, 1, 2, 3, 4, 5, 6}),
        ("07:00-23:00", set(range(7, 23))),
        ("00:00-01:00", {0}),
        ("22:00-00:00", {22, 23}),
    ],
)
def test_quiet_hours_are_korean_and_may_lie_across_midnight(hours: str, quiet: set[int]) -> None:
    read = read_quiet_hours(hours)
    assert read is not None
    assert {hour for hour in range(24) if read.contain(MIDNIGHT_IN_KOREA + timedelta(hours=hour))} == quiet
    assert str(read) == hours


def test_none_are_none() -> None:
    assert read_quiet_hours("") is read_quiet_hours("  ") is None


@given(st.times(), st.times(), st.datetimes(timezones=st.just(UTC)))
def test_every_time_is_in_the_hours_or_in_the_others(start: object, end: object, at: datetime) -> None:
    first, second = f"{start:%H:%M}", f"{end:%H:%M}"
    if first == second:
        return
    hours, others = read_quiet_hours(f"{first}-{second}"), read_quiet_hours(f"{second}-{first}")
    assert hours is not None
    assert others is not None
    assert hours.contain(at) is not others.contain(at)


def test_the_one_failure_that_differs_is_not_hidden_by_a_flood() -> None:
    flood = [DigestLine(f"TimedOut KRW-{number} no answer", 40, Priority.HIGH, "error") for number in range(60)]
    odd = DigestLine("BadCredentials upbit the keys were refused", 1, Priority.HIGH, "error")
    for words in (KO, EN):
        shown = digest(words, [*flood, odd], Chat.ERROR, MIDNIGHT_IN_KOREA).text
        lines = [line for line in shown.splitlines() if line.startswith("×")]
        assert len(lines) == DIGEST_LINES
        assert lines[-1] == f"×1 {odd.summary}", "the most frequent first all the same"
        assert words.life.digest_more.format(kinds="36", n="1,440") in shown
