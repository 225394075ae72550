from __future__ import annotations

import pytest

from api.auth import NOTHING, BadToken, Scope, Tokens, read_tokens
from settings import Settings

READ, OPERATE = "r" * 16, "o" * 24


def tokens(read: str = READ, operate: str = OPERATE) -> Tokens:
    return read_tokens(Settings(_env_file=None, api_read_token=read, api_operate_token=operate))


def test_operate_includes_read_and_read_does_not_include_operate() -> None:
    assert tokens().granted(b"Bearer " + READ.encode()) == {Scope.READ}
    assert tokens().granted(b"bearer  " + OPERATE.encode()) == {Scope.READ, Scope.OPERATE}


@pytest.mark.parametrize(
    "header",
    [b"", b"Bearer", b"Bearer ", READ.encode(), b"Basic " + READ.encode(), b"Bearer " + READ[:-1].encode(),
     b"Bearer " + READ.encode() + b"x", b"Bearer \xff\xfe", b"Bearer " + READ.encode() + b" " + OPERATE.encode()],
)  # fmt: skip
def test_anything_else_grants_nothing(header: bytes) -> None:
    assert tokens().granted(header) == NOTHING


def test_a_scope_without_a_token_is_closed_also_for_an_empty_token() -> None:
    closed = tokens(operate="")
    assert closed.closed() == ["API_OPERATE_TOKEN"]
    assert closed.granted(b"Bearer ") == NOTHING
    assert tokens(read="", operate="").granted(b"Bearer ") == NOTHING


def test_every_token_is_compared_whole_whatever_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append((len(given), len(known)))
        return given == known

    monkeypatch.setattr("api.auth.hmac.compare_digest", compare)
    known = tokens()
    for header in (b"", b"Bearer x", b"Bearer " + READ.encode(), b"Bearer " + b"x" * 10_000):
        known.granted(header)
    assert compared == [(32, 32)] * 8


@pytest.mark.parametrize(
    ("read", "operate", "says"),
    [
        ("r" * 15, OPERATE, "API_READ_TOKEN has 15 characters: take at least 16"),
        (READ, "o", "API_OPERATE_TOKEN has 1 characters"),
        (READ, READ, "are the same"),
        ("with a space in it", "", "API_READ_TOKEN has characters that no bearer token has"),
        ("", "비밀번호비밀번호비밀번호비밀번호", "API_OPERATE_TOKEN has characters"),
    ],
)
def test_a_token_not_to_rely_on_is_refused_in_one_line_without_it(read: str, operate: str, says: str) -> None:
    with pytest.raises(BadToken) as refused:
        tokens(read, operate)
    text = str(refused.value)
    assert says in text
    assert "\n" not in text
    for token in (read, operate):
        assert len(token) < 2 or token not in text
