"""How a setting is declared: its default, what it is for, who reads it, and an example, in one place.

`.env.example` and `docs/configuration.md` are written from these declarations by `python -m settings.reference`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field
from pydantic_settings import NoDecode

Process: TypeAlias = Literal["worker", "beat", "notifier", "api", "flower", "commands"]

WORKER: tuple[Process, ...] = ("worker",)
BEAT: tuple[Process, ...] = ("beat",)
# the bot in the notifier, the API and the command line do the same things, in `operate/`
OPERATING: tuple[Process, ...] = ("notifier", "api", "commands")
TRADING: tuple[Process, ...] = (*WORKER, *OPERATING)
EVERY: tuple[Process, ...] = ("worker", "beat", *OPERATING)
CELERY: tuple[Process, ...] = (*EVERY, "flower")

# separated by commas in the environment, not a JSON list
Listed = Annotated[tuple[str, ...], NoDecode]
ListedNumbers = Annotated[tuple[int, ...], NoDecode]


def setting(
    default: object,
    what: str,
    *,
    by: tuple[Process, ...],
    form: str = "",
    example: str = "",
    commented: bool = False,
    **bounds: float,
) -> Any:
    """A field of `Settings`; `what` is told to its user, `by` are the processes that read it.

    `form` says what a text must look like, where its type does not; `example` stands in `.env.example` in place of the
    default; `commented` settings stand there behind a `#`; `bounds` are pydantic's `ge`, `gt`, `le` and `lt`.
    """
    extra: dict[str, Any] = {"by": list(by), "form": form, "example": example, "commented": commented}
    return Field(default, description=what, json_schema_extra=extra, **bounds)  # type: ignore[call-overload]


def split(value: object) -> object:
    """The parts of a text that are separated by commas; anything else as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def without_slash(value: str) -> str:
    """An address of HTTP without the slash at its end, or "". Raises `ValueError` for another scheme."""
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")
