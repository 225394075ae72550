"""What this process uses of its machine, from the standard library."""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from pathlib import Path

from telemetry.instruments import process_cpu, process_memory

# Python looks for cycles among new objects after so many of them; its own number is 700, which is that of a few spans.
NEW_OBJECTS = 5_000

_STATM = Path("/proc/self/statm")


def watch_process() -> None:
    """Report processor time and memory at every export."""
    process_cpu.observe(time.process_time)
    process_memory.observe(resident_bytes)


def resident_bytes() -> float:
    """The memory that is resident now; where there is no /proc, the most that ever was."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def settle_memory() -> None:
    """Have Python's search for cycles pass over what is there by now, which stays as long as the process.

    Spans and log records that wait for their export keep the search going, and the search through everything stopped
    a worker for a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
