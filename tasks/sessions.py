"""Once a day: whether the venue's own calendar says what our dated sessions say."""

from __future__ import annotations

from typing import Any

from beat.sessions import FILES, load
from tasks.app import app, settings
from tasks.base import AsyncTask
from workers.runtime import current_runtime


class SessionsDiffer(Exception):
    """The venue trades on a day on which we would not, or the reverse: the data of `beat` have to be corrected."""


@app.task(  # type: ignore[untyped-decorator]
    base=AsyncTask, bind=True, name="tasks.sessions.compare", deadline=settings.sweep_deadline_seconds
)
async def compare(self: Any) -> dict[str, Any]:
    """Compare the next two weeks of the Korea Exchange with what KIS says. Raises `SessionsDiffer`."""
    # the worker of another market carries nothing of KIS
    from workers.kis.access import KisAccess
    from workers.kis.holidays import KisHolidays, differences

    runtime = current_runtime()
    calendar = KisHolidays(KisAccess(runtime.http, runtime.redis, runtime.settings).trading(), runtime.redis)
    sessions = load(FILES["kis"] or "")
    found = differences(await calendar.open_days(), lambda day: sessions.hours(day) is not None, calendar.today())
    if found:
        raise SessionsDiffer("; ".join(str(difference) for difference in found))
    return {"market": "kis", "outcome": "equal"}
