"""Why a database cannot be reached, in words that name the cure and never the password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.engine import URL

CONNECT_TIMEOUT_SECONDS = 5

# SQLSTATE -> what is wrong; https://www.postgresql.org/docs/current/errcodes-appendix.html
_NAMES = {
    "3D000": "no_database",
    "28000": "no_role",
    "28P01": "wrong_password",
    "42501": "no_rights",
    "53300": "full",
    "57P03": "starting",
}

SENTENCES: Mapping[str, str] = {
    "no_database": "there is no such database; create it, or correct DATABASE_URL",
    "no_role": "the role does not exist or may not log in; create it, or correct DATABASE_URL",
    "wrong_password": "the password was refused; correct DATABASE_URL",
    "no_rights": "the role lacks rights on this database; grant them",
    "full": "it has no connection left; raise max_connections or run fewer workers",
    "starting": "it is starting up or shutting down; try again in a moment",
    "silent": "no answer within {seconds} s; check host, port and firewall",
    "refused": "connection refused; start PostgreSQL, or correct DATABASE_URL",
    "unreachable": "cannot be reached ({reason}); correct the host in DATABASE_URL",
    "unusable": "cannot be used ({reason}); look at the server's log",
    "unmigrated": "it was never migrated; run: autotrader migrate",
    "behind": "it is at migration {at}, this version needs {needed}; run: autotrader migrate",
    "ahead": "it is at migration {at}, newer than the {needed} of this version; deploy the version that migrated it",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a database cannot be used, and the cure: one of `SENTENCES` by its name, with `values` for its braces."""

    name: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return SENTENCES[self.name].format(**self.values)


def describe(url: URL) -> str:
    """Host, port, database and role of a URL in words, without the password."""
    query_host = url.query.get("host", "")
    host = url.host or (query_host if isinstance(query_host, str) else query_host[0]) or "localhost"
    return f'PostgreSQL at {host}:{url.port or 5432}, database "{url.database}", role "{url.username}"'


def fault_of(error: BaseException) -> Fault | None:
    """What is wrong, or None for an error that is not about reaching the database."""
    cause: BaseException | None = error
    while cause is not None:
        sqlstate = getattr(cause, "sqlstate", None)
        if sqlstate in _NAMES:
            return Fault(_NAMES[sqlstate])
        if isinstance(cause, TimeoutError):
            return Fault("silent", {"seconds": CONNECT_TIMEOUT_SECONDS})
        if isinstance(cause, ConnectionRefusedError):
            return Fault("refused")
        if isinstance(cause, OSError):
            return Fault("unreachable", {"reason": cause.strerror or type(cause).__name__})
        cause = cause.__cause__ or cause.__context__
    return None


def cure(error: BaseException) -> str | None:
    """The same in one English sentence."""
    found = fault_of(error)
    return None if found is None else str(found)
