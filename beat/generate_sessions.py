"""Write the session files of `beat/data`: `python -m beat.generate_sessions` (needs the extra `dev`).

Days and hours come from exchange_calendars; what it has wrong or does not know yet stands in
`beat/data/overrides.json`, each entry with its source. Run it when a year is added or a holiday announced,
and read the difference before committing it.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

from beat.sessions import DATA, SATURDAY

FIRST = date(2025, 1, 1)
LAST = date(2027, 12, 31)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One file to write: `code` is the calendar's name in exchange_calendars."""

    key: str
    code: str
    name: str
    zone: str
    opens: str
    closes: str


EXCHANGES = (
    Exchange("krx", "XKRX", "Korea Exchange, regular session", "Asia/Seoul", "09:00", "15:30"),
    Exchange("us", "XNYS", "NYSE and Nasdaq, regular session", "America/New_York", "09:30", "16:00"),
)


def overrides(key: str) -> dict[str, Any]:
    """What is known better than by the library, for one exchange."""
    known: dict[str, dict[str, Any]] = json.loads((DATA / "overrides.json").read_text(encoding="utf-8"))
    return known[key]


def build(exchange: Exchange, corrections: dict[str, Any]) -> dict[str, Any]:
    """The content of one session file: the library's days, then the corrections."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(exchange.code, start=str(FIRST), end=str(LAST))
    zone = ZoneInfo(exchange.zone)
    sessions: dict[date, tuple[str, str]] = {
        day.date(): (_local(row["open"], zone), _local(row["close"], zone)) for day, row in calendar.schedule.iterrows()
    }
    names = _names(calendar) | {date.fromisoformat(day): name for day, name in corrections["names"].items()}
    holidays: dict[str, str] = {}
    special: dict[str, dict[str, str]] = {}
    traded_in: int | None = None
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        hours = sessions.get(day)
        if hours is None:
            if day.weekday() < SATURDAY:
                holidays[str(day)] = names.get(day, "a holiday")
            continue
        if hours != (exchange.opens, exchange.closes):
            special[str(day)] = {
                "open": hours[0],
                "close": hours[1],
                "name": "Early close" if hours[1] < exchange.closes else _late_name(day, traded_in),
            }
        traded_in = day.year
    for entry in corrections["days"]:
        day_text = entry["date"]
        holidays.pop(day_text, None)
        special.pop(day_text, None)
        if entry.get("closed"):
            holidays[day_text] = entry["name"]
        else:
            special[day_text] = {"open": entry["open"], "close": entry["close"], "name": entry["name"]}
    return {
        "name": exchange.name,
        "timezone": exchange.zone,
        "open": exchange.opens,
        "close": exchange.closes,
        "valid_from": str(FIRST),
        "valid_until": str(LAST),
        "source": f"exchange_calendars {version('exchange_calendars')} {exchange.code}, then overrides.json",
        "holidays": dict(sorted(holidays.items())),
        "special": dict(sorted(special.items())),
    }


def main() -> None:
    """Write every session file."""
    for exchange in EXCHANGES:
        path = DATA / f"{exchange.key}.json"
        content = build(exchange, overrides(exchange.key))
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        counts = f"{len(content['holidays'])} holidays, {len(content['special'])} special days"
        sys.stdout.write(f"{path}: {counts}, {FIRST} to {LAST}\n")


def _late_name(day: date, traded_in: int | None) -> str:
    return "First trading day of the year" if day.year != traded_in else "Late open"


def _names(calendar: Any) -> dict[date, str]:
    listed = calendar.regular_holidays.holidays(str(FIRST), str(LAST), return_name=True)
    # "Seollal (New Year's Day by the lunar) (+1 day)" is Seollal
    return {day.date(): re.sub(r" \(.*", "", name) for day, name in listed.items()}


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%H:%M")


if __name__ == "__main__":
    main()
