"""Signs requests to Upbit's private endpoints (docs.upbit.com, auth): a JWT per request, never used twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import quote
from uuid import uuid4

import jwt

Algorithm: TypeAlias = Literal["HS256", "HS512"]
Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""Parameters in the order they are sent; an array is its name with `[]`, once for each value."""


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key with its secret; neither is ever shown."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    algorithm: Algorithm = "HS256"


def pairs(params: Mapping[str, str | Iterable[str]]) -> Pairs:
    """Parameters as pairs, in their order; a list becomes `name[]` once for each value."""
    found: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, str):
            found.append((name, value))
        else:
            found += [(f"{name}[]", part) for part in value]
    return tuple(found)


def plain_query(params: Pairs) -> str:
    """`a=1&b[]=2` without percent-encoding: what is hashed."""
    return "&".join(f"{name}={value}" for name, value in params)


def sent_query(params: Pairs) -> str:
    """The same query as it goes into an address; a server that decodes it reads what was hashed."""
    return "&".join(f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in params)


def query_hash(params: Pairs) -> str:
    """SHA-512 of the plain query, in hexadecimal."""
    return hashlib.sha512(plain_query(params).encode()).hexdigest()


def token(keys: Keys, params: Pairs = (), *, nonce: str | None = None) -> str:
    """The JWT of one request: access key, a fresh nonce and, where there are parameters, their hash."""
    claims = {"access_key": keys.access_key, "nonce": nonce or str(uuid4())}
    if params:
        claims |= {"query_hash": query_hash(params), "query_hash_alg": "SHA512"}
    return jwt.encode(claims, keys.secret_key, algorithm=keys.algorithm)


def authorization(keys: Keys, params: Pairs = ()) -> dict[str, str]:
    """The header that signs one request."""
    return {"Authorization": f"Bearer {token(keys, params)}"}
