"""TA-Lib, imported without pandas.

TA-Lib wraps its functions for pandas when it finds it, and pandas is installed for the one worker that reads Yahoo.
The wrappers are of no use for arrays, and would cost every worker 0.4 s at its start and 45 MB.
"""

from __future__ import annotations

import sys

_hidden = "pandas" not in sys.modules
if _hidden:
    # None makes an import of that name fail as if it were not installed
    sys.modules["pandas"] = None  # type: ignore[assignment]
try:
    import talib
finally:
    if _hidden:
        del sys.modules["pandas"]

__all__ = ["talib"]
