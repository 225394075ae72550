"""Why a database cannot be reached, in words that name the cure and never the password."""

from __future__ import annotations

from sqlalchemy.engine import URL

CONNECT_TIMEOUT_SECONDS = 5

# SQLSTATE -> what is wrong and what to do; https://www.postgresql.org/docs/current/errcodes-appendix.html
_CURES = {
    "3D000": "there is no such database; create it, or correct DATABASE_URL",
    "28000": "the role does not exist or may not log in; create it, or correct DATABASE_URL",
    "28P01": "the password was refused; correct DATABASE_URL",
    "42501": "the role lacks rights on this database; grant them",
    "53300": "it has no connection left; raise max_connections or run fewer workers",
    "57P03": "it is starting up or shutting down; try again in a moment",
}


def describe(url: URL) -> str:
    """Host, port, database and role of a URL in words, without the password."""
    query_host = url.query.get("host", "")
    host = url.host or (query_host if isinstance(query_host, str) else query_host[0]) or "localhost"
    return f'PostgreSQL at {host}:{url.port or 5432}, database "{url.database}", role "{url.username}"'


def cure(error: BaseException) -> str | None:
    """What is wrong and what to do, or None for an error that is not about reaching the database."""
    cause: BaseException | None = error
    while cause is not None:
        sqlstate = getattr(cause, "sqlstate", None)
        if sqlstate in _CURES:
            return _CURES[sqlstate]
        if isinstance(cause, TimeoutError):
            return f"no answer within {CONNECT_TIMEOUT_SECONDS} s; check host, port and firewall"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused; start PostgreSQL, or correct DATABASE_URL"
        if isinstance(cause, OSError):
            return f"cannot be reached ({cause.strerror or type(cause).__name__}); correct the host in DATABASE_URL"
        cause = cause.__cause__ or cause.__context__
    return None
