"""One server program as a child process: start on a free port, wait until it answers, stop."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGKILL, Signals

from sandbox.local import scratch
from sandbox.local.account import Account
from sandbox.local.death import die_with_parent
from sandbox.local.errors import LocalServerError

START_SECONDS = 20.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A running server in its scratch directory, in a session of its own so that Ctrl-C passes it by."""

    def __init__(self, argv: Sequence[str], directory: Path, *, on_death: Signals, account: Account) -> None:
        self._name = Path(argv[0]).name
        self._log = directory / "server.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(on_death),
                **account.popen_options(),
            )
        scratch.record_server(directory, self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, answers: Callable[[], bool]) -> None:
        """Return when `answers` does. Raises `LocalServerError` with the server's last words."""
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if self._process.poll() is not None:
                raise LocalServerError(f"{self._name} ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise LocalServerError(f"{self._name} did not answer in {START_SECONDS:g} s: {self._last_words()}")
            time.sleep(0.02)

    def stop(self, *signals: Signals, grace: float = 5.0) -> None:
        """Send each signal in turn until the server has ended, `grace` seconds apart, and SIGKILL last."""
        for signal in (*signals, SIGKILL):
            if self._process.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-3:]) or "it wrote nothing"
