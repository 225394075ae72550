"""What a failed attempt means: its name, and how long its model or key is left alone."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
    OutputTokenLimitExceeded,
    UnexpectedModelBehavior,
)

THROTTLED_SECONDS = 60.0
QUOTA_SECONDS = 3600.0
FAULTY_SECONDS = 60.0
BAD_KEY_SECONDS = 3600.0
# no provider's word closes a model for longer
LONGEST_SECONDS = 86_400.0
# how HTTP clients name that they had no connection
NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ClientConnectorError", "gaierror"})


@dataclass(frozen=True, slots=True)
class Failure:
    """`outcome` is the name it is counted and stored under. `closed` is in seconds: that model and key, or with
    `whole_key` the key for all models, are asked nothing for so long. `next_key` says that another key may help."""

    outcome: str
    closed: float = 0.0
    whole_key: bool = False
    next_key: bool = False


OUTCOMES = (
    "ok", "timeout", "throttled", "quota", "bad_key", "unavailable", "unknown_model", "safety", "truncated",
    "invalid", "unreachable", "error", "cancelled",
)  # fmt: skip


def judge(error: Exception) -> Failure:
    """The failure that an exception of an attempt is. Raises it again if it is none of a model's."""
    match error:
        case TimeoutError() | ModelTimeoutError():
            return Failure("timeout")
        case ModelQuotaExceededError():
            return Failure("quota", _asked(error, QUOTA_SECONDS), next_key=True)
        case ModelRateLimitError():
            return Failure("throttled", _asked(error, THROTTLED_SECONDS), next_key=True)
        case ModelAuthenticationError():
            return Failure("bad_key", BAD_KEY_SECONDS, whole_key=True, next_key=True)
        case ModelNotFoundError():
            return Failure("unknown_model", FAULTY_SECONDS)
        case ModelUnavailableError() | ModelServerError():
            return Failure("unavailable", _asked(error, FAULTY_SECONDS), next_key=True)
        case ModelConnectionError():
            return Failure("unreachable")
        case ContentFilterError():
            return Failure("safety")
        case OutputTokenLimitExceeded():
            return Failure("truncated")
        case UnexpectedModelBehavior():
            return Failure("invalid")
        case ModelAPIError():
            return Failure("error")
    raise error


def may_be_billed(error: BaseException) -> bool:
    """Whether a request that ended so may cost money that no usage tells of: it was sent, and neither an answer nor a
    refusal came back, or it was given up before."""
    match error:
        case ModelHTTPError() | UnexpectedModelBehavior():
            # refused, or an answer, which tells its usage
            return False
        case ModelConnectionError():
            return not _never_sent(error)
    return True


def _never_sent(error: BaseException) -> bool:
    """Whether no connection was made; asked by name, for each provider has an HTTP client of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError) or type(cause).__name__ in NEVER_SENT:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _asked(error: ModelAPIError, default: float) -> float:
    asked = error.retry_after
    return min(asked, LONGEST_SECONDS) if asked is not None and asked > 0 else default
