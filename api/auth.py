"""Who may do what: two bearer tokens, one to read and one that may also operate."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from settings import Settings

SHORTEST_TOKEN = 16
# what RFC 6750 lets a bearer token consist of
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

SETTINGS = {"read": "API_READ_TOKEN", "operate": "API_OPERATE_TOKEN"}


class Scope(StrEnum):
    READ = "read"
    OPERATE = "operate"


NOTHING: frozenset[Scope] = frozenset()
INCLUDED = {Scope.READ: frozenset({Scope.READ}), Scope.OPERATE: frozenset(Scope)}


class BadToken(Exception):
    """A token that is set is none to rely on; the message names the setting and the cure, never the token."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The digests of the tokens by scope; a scope without one is closed."""

    digests: tuple[tuple[Scope, bytes], ...]

    def granted(self, authorization: bytes) -> frozenset[Scope]:
        """What the value of an Authorization header entitles to.

        Takes as long for a wrong token as for a right one: the digests are compared, and all of them.
        """
        scheme, _, token = authorization.strip().partition(b" ")
        given = sha256(token.strip()).digest()
        found = NOTHING
        for scope, digest in self.digests:
            if hmac.compare_digest(given, digest):
                found |= INCLUDED[scope]
        return found if scheme.lower() == b"bearer" else NOTHING

    def closed(self) -> list[str]:
        """The settings of the scopes that nobody has a token for."""
        given = {scope for scope, _ in self.digests}
        return [SETTINGS[scope] for scope in Scope if scope not in given]


def read_tokens(settings: Settings) -> Tokens:
    """The tokens of the settings. Raises `BadToken`."""
    values = {
        Scope.READ: settings.api_read_token.get_secret_value(),
        Scope.OPERATE: settings.api_operate_token.get_secret_value(),
    }
    for scope, value in values.items():
        if value and len(value) < SHORTEST_TOKEN:
            raise BadToken(
                f"{SETTINGS[scope]} has {len(value)} characters: take at least {SHORTEST_TOKEN}, for example from "
                'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        if value and not _TOKEN.fullmatch(value):
            raise BadToken(f"{SETTINGS[scope]} has characters that no bearer token has: take letters, digits, - and _")
    if values[Scope.READ] and values[Scope.READ] == values[Scope.OPERATE]:
        raise BadToken("API_READ_TOKEN and API_OPERATE_TOKEN are the same, so readers could operate: take two")
    return Tokens(tuple((scope, sha256(value.encode()).digest()) for scope, value in values.items() if value))
