"""What storage tells its callers when the database cannot give or take what was asked."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from storage.faults import Fault


class StorageError(Exception):
    """The database cannot be used, or contradicts what it was told; the message is one line with the cure."""


class NotReady(StorageError):
    """PostgreSQL at `where` does not answer, or does not stand at the migration that is needed."""

    def __init__(self, where: str, fault: Fault) -> None:
        super().__init__(f"{where}: {fault}")
        self.where = where
        self.fault = fault


class NotFound(StorageError):
    """No row of that id."""


class Contradiction(StorageError):
    """The journal and the venue (or the caller) disagree about an order: a human has to look."""


class SymbolBlocked(StorageError):
    """An earlier order of the same symbol and side is still unproven: ask the venue about that one first."""


def refusal(error: IntegrityError) -> str:
    """Which constraint refused, by its name, or what the trigger said."""
    cause = error.orig.__cause__ if error.orig else None
    name = getattr(cause, "constraint_name", None)
    return str(name or cause or type(error).__name__)
