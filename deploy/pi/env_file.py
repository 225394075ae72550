"""Can `.env` be read? Asked before compose is, which shows the value that it stumbles over: a password, perhaps.

`python3 deploy/pi/env_file.py FILE` prints each fault and ends with 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_SETTING = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def faults(text: str) -> Iterator[str]:
    """The lines that are no setting, with the number and the cure of each; never with what stands in it."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not (found := _SETTING.fullmatch(line.strip())):
            yield f"line {number} is no NAME=value; correct it, or put # before it"
        elif _is_open(found[2]):
            yield f"line {number}: the value of {found[1]} begins with a quote that does not end; close it there"


def value_of(name: str, lines: str) -> str:
    """The value of a setting as compose reads it, but for variables in it: the last one counts, "" where there is
    none."""
    value = ""
    for line in lines.splitlines():
        if (found := _SETTING.fullmatch(line.strip())) and found[1] == name:
            value = found[2]
    if value[:1] in ('"', "'"):
        return value[1:].partition(value[0])[0]
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()


def _is_open(value: str) -> bool:
    """Whether a quoted value does not end on its line."""
    quote = value[:1]
    if quote not in ('"', "'"):
        return False
    rest = value[1:].replace(f"\\{quote}", "") if quote == '"' else value[1:]
    return quote not in rest


if __name__ == "__main__":
    found = list(faults(Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")))
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    sys.exit(1 if found else 0)
