"""What makes two failures the same alert."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from types import TracebackType

# Code of ours, by the first part of a module's name: only its frames tell one failure from another.
IN_APP = frozenset(
    {"tasks", "workers", "beat", "trading", "storage", "notifications", "telemetry", "api", "bot", "operate", "cli"}
)
FRAMES_USED = 3
MESSAGE_USED = 2000

# The order matters: what is specific goes before the digits it holds. A number that follows a letter or "_"
# is part of a name ("BTC1", "v2", "order_7") and stays.
_VOLATILE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE), "<uuid>"),
    (re.compile(r"0x[0-9a-f]+", re.IGNORECASE), "<hex>"),
    (re.compile(r"(?<![0-9a-z])(?=[a-z]*\d)[0-9a-f]{16,}(?![0-9a-z])", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<ts>"),
    (re.compile(r"(?<![A-Za-z_\d])[+-]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?"), "<n>"),
)


_WHOLE = re.compile(r"[0-9a-f]{64}")
SHORT = 16


def short(fingerprint: str) -> str:
    """What a person calls an alert: the start of a hash, the whole of a fingerprint that somebody chose."""
    return fingerprint[:SHORT] if _WHOLE.fullmatch(fingerprint) else fingerprint


def normalise(message: str) -> str:
    """`message` with ids, hashes, times and numbers replaced by what they are."""
    for pattern, name in _VOLATILE:
        message = pattern.sub(name, message)
    return " ".join(message.split())


def error_name(error: BaseException) -> str:
    """The type's name; for an exception that could not be pickled, that of the original."""
    return str(getattr(error, "exc_cls_name", "") or type(error).__name__)


def subject(error: BaseException) -> str:
    """What the error says that it is about (`workers.errors.Unproven.about`), or ""."""
    about = getattr(error, "about", "")
    return about if isinstance(about, str) else ""


def in_app_frames(traceback: TracebackType | None, count: int = FRAMES_USED) -> tuple[str, ...]:
    """The last `count` frames of our own code as `module:function`; no line numbers, which any edit moves."""
    frames = []
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in IN_APP:
            frames.append(f"{module}:{traceback.tb_frame.f_code.co_name}")
        traceback = traceback.tb_next
    return tuple(frames[-count:])


def of_failure(
    *,
    error_type: str,
    message: str,
    frames: Iterable[str] = (),
    task: str = "",
    market: str = "",
    symbol: str = "",
    about: str = "",
) -> str:
    """The SHA-256 of a failure. Market and symbol are part of it: another symbol's failure is another alert, and so is
    that of another order, or whatever `about` names; it is taken as it is."""
    parts = (error_type, task, market, symbol, *frames, normalise(message[:MESSAGE_USED]), *([about] if about else []))
    # lengths in front, so that no two different lists of parts join to the same bytes
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
