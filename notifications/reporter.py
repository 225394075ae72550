"""Errors to the error chat: called from Celery's failure signals, in whatever thread the task ran."""

from __future__ import annotations

import linecache
import logging
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from notifications import fingerprint as fingerprints
from notifications import texts
from notifications.alert import Alert, current_traceparent
from notifications.error_buttons import error_buttons
from notifications.message import cut
from notifications.recorder import HookRecorder
from notifications.spool import spool_of
from notifications.texts import Failure, Level, Links
from notifications.words import Language, words
from settings import Settings
from telemetry.instruments import bot_errors
from telemetry.redaction import all_forms, redact, secret_values, suspicious
from telemetry.trace_ids import current_trace_id

log = logging.getLogger(__name__)

# What is read of an error's text, in characters; what is shown of it is much less.
TEXT_READ = 20_000
FRAMES_SHOWN = 8
SUMMARY_LIMIT = 120


class ErrorReporter:
    """Turns an exception into an alert in the ledger. One per process; may be used from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._recorder = HookRecorder(settings.redis_url, spool=spool_of(settings))
        self._enabled = settings.telegram_enabled
        self._window = settings.error_duplicate_window
        self._language: Language = settings.notify_language
        self._words = words(settings.notify_language)
        self._commands = bool(settings.telegram_allowed_users)
        self._links = Links(settings.signoz_url, settings.flower_url)
        self._secrets = secret_values(settings)

    def report(
        self,
        exc: BaseException,
        *,
        task: str = "",
        task_id: str = "",
        market: str = "",
        symbol: str = "",
        queue: str = "",
        worker: str = "",
        trace_id: str = "",
        level: Level = "ERROR",
        stack: str = "",
        fingerprint: str = "",
    ) -> None:
        """Count the error and record its alert; never raises, and takes at most about 0.4 s.

        `trace_id` is the current span's if none is given. `stack` is for an exception that carries no
        traceback of its own. `fingerprint` overrides what makes two errors the same alert.
        """
        name = fingerprints.error_name(exc)
        try:
            bot_errors.add(1, {"error_type": name})
            if not self._enabled:
                return
            # market and symbol are a task's arguments, which may be anything
            said = self._redacted(_message(exc), market, symbol, _stack(exc) or stack[-TEXT_READ:])
            message, market, symbol, stack = said
            self._recorder.record(
                self._alert(
                    exc,
                    Failure(
                        error_type=name,
                        error=message,
                        at=datetime.now(UTC),
                        level=level,
                        market=market,
                        symbol=symbol,
                        task=task,
                        task_id=task_id,
                        queue=queue,
                        worker=worker,
                        trace_id=trace_id or current_trace_id(),
                        stack=stack,
                    ),
                    fingerprint,
                )
            )
        except Exception:
            # the edge: a report that fails must not hide the failure it reports
            log.exception("the error reporter failed on a %s of task %s", name, task)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._recorder.close()

    def _redacted(self, *texts: str) -> Sequence[str]:
        # hardly a text has a secret in it, and one look at all of them costs little more than a look at one
        if not suspicious("\n".join(texts), all_forms(self._secrets)):
            return texts
        return [redact(text, self._secrets) for text in texts]

    def _alert(self, exc: BaseException, failure: Failure, fingerprint: str) -> Alert:
        fingerprint = fingerprint or fingerprints.of_failure(
            error_type=failure.error_type,
            message=failure.error,
            frames=fingerprints.in_app_frames(exc.__traceback__),
            task=failure.task,
            market=failure.market,
            symbol=failure.symbol,
            about=fingerprints.subject(exc),
        )
        buttons = error_buttons(self._language, failure, fingerprint, links=self._links, commands=self._commands)
        message = replace(texts.error(self._words, failure, links=self._links), buttons=buttons)
        return Alert(
            fingerprint=fingerprint,
            kind="error",
            message=message.redacted(self._secrets),
            at=failure.at,
            symbol=failure.symbol,
            traceparent=current_traceparent(),
            window_seconds=self._window,
            summary=_summary(failure),
        )


def _summary(failure: Failure) -> str:
    """One line: what, of which symbol or task, and how it begins."""
    where = failure.symbol or failure.task
    begins = " ".join(failure.error.split())
    return cut(" ".join(part for part in (failure.error_type, where, begins) if part), SUMMARY_LIMIT)


def _message(exc: BaseException) -> str:
    try:
        return str(exc)[:TEXT_READ]
    except Exception as error:  # noqa: BLE001 - `__str__` of a foreign class may do anything
        return f"<the message cannot be shown: {type(error).__name__}>"


def _stack(exc: BaseException) -> str:
    """The last frames, and the types the exception was raised from; their messages may hold addresses."""
    last = deque(traceback.walk_tb(exc.__traceback__), FRAMES_SHOWN)
    frames = tuple((frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in last)
    causes = []
    cause = exc.__cause__
    while cause is not None and frames:
        causes.append(f"caused by {type(cause).__name__}\n")
        cause = cause.__cause__
    return _frames_shown(frames) + "".join(causes)


@lru_cache(256)
def _frames_shown(frames: tuple[tuple[str, int, str], ...]) -> str:
    """The frames as Python shows them, put together once for all errors of a burst."""
    shown = []
    for file, number, function in frames:
        shown.append(f'  File "{file}", line {number}, in {function}\n')
        if source := linecache.getline(file, number).strip():
            shown.append(f"    {source}\n")
    return "".join(shown)
