"""How a machine stands: the release in use, its containers, the last deployment, dumps, disk and temperature."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.pi.journal import Journal, read_journal
from deploy.pi.layout import DeployError, Layout, Release
from deploy.pi.stack import Stack

DUMP_OLD_SECONDS = 26 * 3600
DISK_FULL_PERCENT = 90
HOT_DEGREES = 80.0
TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
# the bits of `vcgencmd get_throttled` (Raspberry Pi documentation, OS, vcgencmd)
THROTTLED = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage has occurred",
    17: "frequency was capped",
    18: "was throttled",
    19: "soft temperature limit has occurred",
}


def stand(layout: Layout, stack: Stack, as_json: bool = False) -> tuple[list[str], bool]:
    """What `make status-pi` shows, and whether all of it is well."""
    used = layout.current_id()
    journal = read_journal(layout)
    found: list[tuple[str, str, bool]] = [_release(layout, used)]
    if journal is not None:
        found.append(("last deployment", _told(journal), journal.outcome == "deployed"))
    found += _containers(layout, stack, used)
    found += [_dumps(layout), _disk(layout), *_heat(), *_throttling()]
    well = all(good for _, _, good in found)
    if as_json:
        return [json.dumps({name: {"says": says, "well": good} for name, says, good in found})], well
    width = max(len(name) for name, _, _ in found)
    return [f"{'  ' if good else '! '}{name:<{width}}  {says}" for name, says, good in found], well


def deployed(layout: Layout) -> list[str]:
    """The releases that were switched to and worked, the last first."""
    rows = [row["target"] for row in _history(layout) if row.get("outcome") == "deployed"]
    return list(dict.fromkeys(reversed(rows)))


def last_good(layout: Layout, stack: Stack, used: str | None) -> str:
    """The last one that worked of those older than the release in use that are still here, with its image: never one
    that was gone back from. Raises `DeployError`."""
    there = layout.ids()
    for name in deployed(layout):
        # an id begins with its time
        if (used is None or name < used) and name in there and stack.has_image(layout.release(name)):
            return name
    raise DeployError(
        f"there is no release to go back to that worked and is older than {used or 'any'} (here: "
        f"{', '.join(there) or 'none'}); TO=<id> names another"
    )


def _history(layout: Layout) -> list[dict[str, Any]]:
    if not layout.history.is_file():
        return []
    rows = []
    for line in layout.history.read_text(encoding="utf-8").splitlines():
        # a power cut may have cut the last line
        if line.startswith("{") and line.endswith("}"):
            rows.append(json.loads(line))
    return rows


def _release(layout: Layout, used: str | None) -> tuple[str, str, bool]:
    if used is None:
        return "release", "none; `make deploy-pi` brings one", False
    since = [row["at"] for row in _history(layout) if row.get("outcome") == "deployed" and row.get("target") == used]
    others = [name for name in layout.ids() if name != used]
    return "release", f"{used} since {since[-1] if since else '?'}; also here: {', '.join(others) or 'none'}", True


def _told(journal: Journal) -> str:
    if journal.phase != "ended":
        step = journal.steps[-1].name if journal.steps else "its start"
        return f"{journal.id} to {journal.target}: under way or cut off at {step!r}, since {journal.began}"
    fault = f": {journal.headline}" if journal.fault else ""
    return f"{journal.id} to {journal.target}, {journal.began}: {journal.outcome}{fault}"


def _containers(layout: Layout, stack: Stack, used: str | None) -> list[tuple[str, str, bool]]:
    if used is None:
        return []
    try:
        listed = stack.compose(layout.release(used), "ps", "--all", "--format", "json")
        short = _that_end(stack, layout.release(used))
    except DeployError as error:
        return [("containers", str(error).replace("\n", " "), False)]
    rows = []
    for line in listed.splitlines():
        one = json.loads(line) if line.startswith("{") else None
        if one is None:
            continue
        ended_well = one["State"] == "exited" and one["ExitCode"] == 0 and one["Service"] in short
        good = ended_well or (one["State"] == "running" and one.get("Health", "") in ("", "healthy"))
        rows.append((one["Service"], str(one.get("Status") or one["State"]), good))
    return sorted(rows) or [("containers", f"none; {layout.command('up')} starts them", False)]


def _that_end(stack: Stack, release: Release) -> set[str]:
    """The services that are done once they have ended well: those that are not started again then."""
    said = json.loads(stack.compose(release, "config", "--format", "json") or "{}")
    rules = {name: str(one.get("restart", "no")) for name, one in said.get("services", {}).items()}
    return {name for name, rule in rules.items() if rule.startswith(("no", "on-failure"))}


def _dumps(layout: Layout) -> tuple[str, str, bool]:
    ages = [path.stat().st_mtime for path in layout.backups.rglob("*.dump")] if layout.backups.is_dir() else []
    if not ages:
        return "backups", "none; `make backup` makes one, autotrader-backup.timer every six hours", False
    age = time.time() - max(ages)
    last = datetime.fromtimestamp(max(ages), UTC)
    return "backups", f"{len(ages)}, the last {age / 3600:.1f} h ago ({last:%Y-%m-%dT%H:%MZ})", age < DUMP_OLD_SECONDS


def _disk(layout: Layout) -> tuple[str, str, bool]:
    usage = shutil.disk_usage(layout.root)
    percent = 100 * (usage.total - usage.free) / usage.total
    return "disk", f"{percent:.0f} % used, {usage.free / 1e9:.1f} GB free", percent < DISK_FULL_PERCENT


def _heat() -> list[tuple[str, str, bool]]:
    try:
        degrees = int(TEMPERATURE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return []
    return [("temperature", f"{degrees:.0f} °C", degrees < HOT_DEGREES)]


def _throttling() -> list[tuple[str, str, bool]]:
    if not (program := shutil.which("vcgencmd")):
        return []
    said = subprocess.run([program, "get_throttled"], capture_output=True, text=True, check=False).stdout
    try:
        flags = int(said.strip().partition("=")[2], 16)
    except ValueError:
        return []
    names = [text for bit, text in THROTTLED.items() if flags >> bit & 1]
    return [("power", ", ".join(names) or "no under-voltage, no throttling", not names)]
