"""`python -m sandbox.chaos.always_open …`: Celery, in a world whose stock exchange never closes.

Live trading cannot be told to ignore the market hours, and the failures are to be injected on a Sunday too.
"""

from __future__ import annotations

import sys

from celery.__main__ import main

from beat import sessions

if __name__ == "__main__":
    sessions.FILES = dict.fromkeys(sessions.FILES)
    sys.exit(main())
