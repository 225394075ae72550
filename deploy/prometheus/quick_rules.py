"""The alert rules as text, and the same rules made quick, so that a test need not wait for hours.

Only durations change: `for:` and `interval:`, ranges and offsets in brackets, and numbers that are compared with
seconds, which the rule files mark with the comment `# seconds`. The expressions stay what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

RULES = Path(__file__).resolve().parent / "rules"

EVERY = "*"
"""In a mapping of factors by alert: the factor of all others, and of the intervals."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = r"(\d+)(ms|s|m|h|d)"

_ALERT = re.compile(r"\s*- alert: (\w+)$")
_HELD = re.compile(rf"^(\s*(?:for|keep_firing_for|interval): ){_DURATION}$")
_RANGE = re.compile(rf"(\[|\boffset ){_DURATION}\b")
_THRESHOLD = re.compile(r"\b(\d+(?:\.\d+)?)(?=[ ),]*# seconds\b)")


def load_rules(directory: Path = RULES) -> dict[str, str]:
    """The text of every rule file, by its name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.yml"))}


def shortened(
    rules: Mapping[str, str],
    factor: float | Mapping[str, float],
    *,
    shortest_range: float = 5.0,
    shortest_threshold: float = 5.0,
) -> dict[str, str]:
    """The rules with every duration times `factor`, which may differ by alert: {"*": 0.02, "WorkerDown": 0.1}.

    No range becomes shorter than `shortest_range` seconds, which should be several scrapes, and no threshold than
    `shortest_threshold`. What is shorter already stays.
    """
    by_alert = factor if isinstance(factor, Mapping) else {EVERY: factor}
    floors = (shortest_range, shortest_threshold)
    return {name: "".join(_shortened_lines(text, by_alert, *floors)) for name, text in rules.items()}


def write_rules(rules: Mapping[str, str], directory: Path) -> None:
    """Write the files into a directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in rules.items():
        (directory / name).write_text(text, encoding="utf-8")


def _shortened_lines(text: str, by_alert: Mapping[str, float], range_floor: float, floor: float) -> Iterator[str]:
    factor = by_alert.get(EVERY, 1.0)
    for line in text.splitlines(keepends=True):
        if found := _ALERT.match(line):
            factor = by_alert.get(found[1], by_alert.get(EVERY, 1.0))

        def duration(found: re.Match[str], least: float, by: float = factor) -> str:
            return f"{found[1]}{_written(_scaled(int(found[2]) * _UNITS[found[3]], by, least))}"

        if _HELD.match(line):
            # a rule that is evaluated at all is so at most every second
            least = 1.0 if line.lstrip().startswith("interval") else 0.0
            yield _HELD.sub(lambda found, least=least: duration(found, least), line)  # type: ignore[misc]
            continue
        line = _RANGE.sub(lambda found: duration(found, range_floor), line)
        yield _THRESHOLD.sub(lambda found, by=factor: f"{_scaled(float(found[1]), by, floor):g}", line)  # type: ignore[misc]


def _scaled(seconds: float, factor: float, least: float) -> float:
    return min(seconds, max(seconds * factor, least))


def _written(seconds: float) -> str:
    """A duration as Prometheus reads it, to the millisecond."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
