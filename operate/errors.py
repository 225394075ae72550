"""Why an operator's question has no answer."""

from __future__ import annotations

from operate.fault_words import FaultWords
from storage.direct import DatabaseUnavailable, NotMigrated
from storage.errors import NotReady, StorageError
from storage.redis import RedisUnavailable


class CannotAnswer(Exception):
    """The question cannot be answered; the message is one line with the cure, in the language of the settings."""


def of_storage(told: FaultWords, error: StorageError) -> str:
    """What the database says, as a sentence."""
    if not isinstance(error, NotReady):
        return told.contradiction.format(reason=error)
    reason = told.databases[error.fault.name].format(**error.fault.values)
    return told.database.format(where=error.where, reason=reason)


def of_direct(told: FaultWords, error: DatabaseUnavailable) -> str:
    """Why a connection past the pool cannot be used, as a sentence or the name of an error."""
    return told.not_migrated if isinstance(error, NotMigrated) else str(error)


def of_redis(told: FaultWords, error: RedisUnavailable) -> str:
    """Where Redis does not answer, as a sentence."""
    return told.redis.format(where=error.where, reason=error.reason)
