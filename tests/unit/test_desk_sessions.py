"""What a session of the desk is worth: only what its token is, and only while that is the token."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.auth import Scope, read_tokens
from api.desk import paths
from api.desk.sessions import LASTS_SECONDS, Sessions
from settings import Settings
from storage.redis import open_redis

READ, OPERATE = "read-token-of-the-tests", "operate-token-of-the-tests"
NOW = 1_000_000_000.0


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def sessions(read: str = READ, operate: str = OPERATE, clock: Clock | None = None) -> Sessions:
    settings = Settings(_env_file=None, api_read_token=read, api_operate_token=operate)
    # signing asks nobody
    return Sessions(read_tokens(settings), open_redis("redis://127.0.0.1:1/0"), clock or Clock())


def test_a_session_entitles_to_what_its_token_does() -> None:
    made = sessions()
    reader = made.read(made.begin(frozenset({Scope.READ})))
    operator = made.read(made.begin(frozenset(Scope)))
    assert reader is not None
    assert operator is not None
    assert reader.granted == {Scope.READ}
    assert operator.granted == set(Scope)
    assert reader.csrf != operator.csrf


def test_no_two_sessions_share_a_name_or_the_word_of_their_forms() -> None:
    made = sessions()
    found = [made.read(made.begin(frozenset({Scope.READ}))) for _ in range(50)]
    assert len({one.name for one in found if one}) == len({one.csrf for one in found if one}) == 50


def test_a_session_ends_when_it_expires() -> None:
    clock = Clock()
    made = sessions(clock=clock)
    cookie = made.begin(frozenset(Scope))
    clock.now = NOW + LASTS_SECONDS - 1
    assert made.read(cookie) is not None
    clock.now = NOW + LASTS_SECONDS
    assert made.read(cookie) is None


def test_another_token_ends_the_sessions_of_the_one_before_and_of_no_other() -> None:
    made = sessions()
    reader, operator = made.begin(frozenset({Scope.READ})), made.begin(frozenset(Scope))
    changed = sessions(operate="another-token-of-the-tests")
    assert changed.read(operator) is None
    assert changed.read(reader) is not None
    assert sessions(read="").read(reader) is None
    assert sessions(read="", operate="").read(operator) is None


def test_a_cookie_holds_no_token() -> None:
    cookie = sessions().begin(frozenset(Scope))
    assert OPERATE not in cookie
    assert READ not in cookie


@given(st.integers(0, 110), st.characters())
def test_a_cookie_that_was_changed_anywhere_opens_nothing(place: int, other: str) -> None:
    made = sessions()
    cookie = made.begin(frozenset({Scope.READ}))
    assume(cookie[place] != other)
    assert made.read(cookie[:place] + other + cookie[place + 1 :]) is None


@given(st.text(max_size=300))
def test_no_text_is_a_cookie_by_chance(text: str) -> None:
    assert sessions().read(text) is None


@pytest.mark.parametrize("scope", ["operate", "read", "root", ""])
def test_a_reader_cannot_say_to_be_an_operator(scope: str) -> None:
    made = sessions()
    parts = made.begin(frozenset({Scope.READ})).split(".")
    assert (made.read(".".join([parts[0], scope, *parts[2:]])) is not None) is (scope == "read")


@given(st.text(max_size=60))
def test_the_way_back_never_leads_elsewhere(target: str) -> None:
    found = paths.inside(target)
    assert found == paths.HOME or (paths.belongs(found.partition("?")[0].partition("#")[0]) and found == target)
    assert not found.startswith("//")
    assert "\\" not in found


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "/desk/login", "/docs"]
)
def test_these_ways_lead_home(target: str) -> None:
    assert paths.inside(target) == paths.HOME
