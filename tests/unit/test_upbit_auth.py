"""Signatures of Upbit requests, against values made with openssl, and the bodies they are made over."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import jwt
import pytest

from trading.types import Side
from workers.calls import Call
from workers.errors import BadCredentials, Rejected, VenueError
from workers.upbit.auth import Algorithm, Keys, authorization, pairs, plain_query, query_hash, sent_query, token
from workers.upbit.errors import judge
from workers.upbit.orders import NewOrder, best, limit, market_buy, market_sell

SECRET = "secret-secret-secret-secret-secret-secret-secret-secret-secret-secret"
NONCE = "6f5b4c1e-0000-4000-8000-000000000001"
QUERY = pairs({"market": "KRW-BTC", "states": ("wait", "watch"), "start_time": "2026-11-22T00:00:00+09:00"})
QUERY_HASH = (
    "175f4379c6b932bc4195d220d8eb9273923848c11ca2becb9c5d78e479ec2b7b"
    "67dde499989afa2482e7a5ce6b1437031dcef1db83b1366e939a8cc77406aec3"
)
BODY_HASH = (
    "3578e780214b757b01029a7aee0908fcd73f0f2efaf8b1b06b915b4dbce43c91"
    "377d10b15025b37caa24bcc5d2d0a8dc40ad7b349db0c96229a9954db3d32b9d"
)
HS256 = "0kiDKnIHfwc1glaGFDez9cy4ha0ePa4GYF1i0mOOiHw"
HS512 = "tOvCwnDtTGnzq4cWmIMKoesS73P87-Oep_3cEKoKj8_bn5dzaUSQcHRaNqaUpsZ_hRAQy8Kewr-rY7IIPLJi6w"
WITHOUT_QUERY = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    ".eyJhY2Nlc3Nfa2V5IjoiYWNjZXNzIiwibm9uY2UiOiI2ZjViNGMxZS0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEifQ"
    ".qGliGoSmhFT8wS9p6RYd5LpahHKv_YcKt6JYG6s6WCw"
)


def test_the_hash_is_over_the_plain_query_in_its_order() -> None:
    assert plain_query(QUERY) == ("market=KRW-BTC&states[]=wait&states[]=watch&start_time=2026-11-22T00:00:00+09:00")
    assert query_hash(QUERY) == QUERY_HASH
    assert query_hash(QUERY[::-1]) != QUERY_HASH
    assert sent_query(QUERY).endswith("&start_time=2026-11-22T00%3A00%3A00%2B09%3A00")


def test_the_hash_of_an_order_is_over_its_body() -> None:
    order = limit("KRW-BTC", Side.BUY, Decimal("0.0010"), Decimal("1.45759E+8"), "upbit-b1-1-x", time_in_force="ioc")
    assert query_hash(pairs(order.body())) == BODY_HASH


@pytest.mark.parametrize(("algorithm", "signature"), [("HS256", HS256), ("HS512", HS512)])
def test_a_token_with_a_query(algorithm: Algorithm, signature: str) -> None:
    made = token(Keys("access", SECRET, algorithm), QUERY, nonce=NONCE)
    assert jwt.decode(made, SECRET, algorithms=[algorithm]) == {
        "access_key": "access",
        "nonce": NONCE,
        "query_hash": QUERY_HASH,
        "query_hash_alg": "SHA512",
    }
    assert made.rpartition(".")[2] == signature


def test_a_token_without_a_query() -> None:
    assert token(Keys("access", SECRET), nonce=NONCE) == WITHOUT_QUERY


def test_every_request_has_its_own_nonce() -> None:
    keys = Keys("access", SECRET)
    nonces = {
        jwt.decode(header["Authorization"].removeprefix("Bearer "), SECRET, algorithms=["HS256"])["nonce"]
        for header in (authorization(keys) for _ in range(100))
    }
    assert len({UUID(nonce).version for nonce in nonces}) == 1
    assert len(nonces) == 100


def test_keys_are_not_shown() -> None:
    keys = Keys("the-access-key", SECRET)
    assert "the-access-key" not in f"{keys} {keys!r}"
    assert SECRET not in f"{keys} {keys!r}"


@pytest.mark.parametrize(
    ("order", "body"),
    [
        (market_buy("KRW-BTC", Decimal("10000"), "a"), {"side": "bid", "price": "10000", "ord_type": "price"}),
        (market_sell("KRW-BTC", Decimal("0.1"), "a"), {"side": "ask", "volume": "0.1", "ord_type": "market"}),
        (
            best("KRW-BTC", Side.BUY, Decimal(6000), "a", "ioc"),
            {"side": "bid", "price": "6000", "ord_type": "best", "time_in_force": "ioc"},
        ),
        (
            best("KRW-BTC", Side.SELL, Decimal("1E-8"), "a", "fok"),
            {"side": "ask", "volume": "0.00000001", "ord_type": "best", "time_in_force": "fok"},
        ),
        (
            limit("KRW-BTC", Side.SELL, Decimal(1), Decimal(7), "a", time_in_force="post_only", smp_type="none"),
            {"side": "ask", "volume": "1", "price": "7", "ord_type": "limit"}
            | {"time_in_force": "post_only", "smp_type": "none"},
        ),
    ],
)
def test_the_body_of_each_kind_of_order(order: NewOrder, body: dict[str, str]) -> None:
    assert order.body() == {"market": "KRW-BTC", "identifier": "a", **body}


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity"])
def test_an_amount_that_cannot_be_is_never_sent(amount: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        market_buy("KRW-BTC", Decimal(amount), "a")


@pytest.mark.parametrize("identifier", ["", "x" * 37])
def test_an_identifier_that_upbit_would_refuse_is_never_sent(identifier: str) -> None:
    with pytest.raises(ValueError, match="1 to 36"):
        market_buy("KRW-BTC", Decimal(1), identifier)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("invalid_query_payload", "UPBIT_SECRET_KEY"),
        ("jwt_verification", "UPBIT_SECRET_KEY"),
        ("expired_access_key", "make a new one"),
        ("invalid_access_key", "check UPBIT_ACCESS_KEY"),
        ("nonce_used", "proxy"),
        ("no_authorization_ip", "IP address"),
        ("no_authorization_i_p", "IP address"),
        ("no_authorization_token", "set UPBIT_ACCESS_KEY"),
        ("out_of_scope", "permissions"),
    ],
)
def test_a_refused_key_comes_with_its_cure(name: str, cure: str) -> None:
    error = judge(Call("upbit", "accounts"), 401, {"error": {"name": name, "message": "x"}})
    assert isinstance(error, BadCredentials)
    assert cure in str(error)


def test_a_refusal_that_is_not_known_keeps_its_name() -> None:
    error: VenueError | None = judge(Call("upbit", "order"), 400, {"error": {"name": "brand_new", "message": "x"}})
    assert isinstance(error, Rejected)
    assert error.name == "brand_new"
