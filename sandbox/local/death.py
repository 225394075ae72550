"""Tie a child process to its parent: the kernel signals the child when its parent dies, however it dies.

Linux sends the signal when the THREAD that created the child ends, so children are created from the main
thread only. Elsewhere than on Linux there is no such thing and only an orderly end stops the children.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from signal import Signals

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signal: Signals) -> Callable[[], None]:
    """A `preexec_fn` that has the child get `signal` when this process dies.

    `subprocess` calls it after changing the user, as it must be: a change of user clears the setting.
    Raises `RuntimeError` outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start child processes from the main thread: they would die with this one")
    parent = os.getpid()

    def in_child() -> None:
        if _libc is None:
            return
        _libc.prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above, so no signal will come
            os._exit(1)

    return in_child
