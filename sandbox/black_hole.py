"""A server that takes every connection, reads what comes and never answers: how a service hangs."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class BlackHole:
    """Listens on a free port of 127.0.0.1 while the context is open; `url` says where."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._taken: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many were taken so far."""
        return len(self._taken)

    def __enter__(self) -> Self:
        threading.Thread(target=self._take, name="black-hole", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # closing alone would leave `accept` waiting
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._taken):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._taken.append(connection)
                threading.Thread(target=_swallow, args=(connection,), daemon=True).start()


def _swallow(connection: socket.socket) -> None:
    with suppress(OSError), connection:
        while connection.recv(65_536):
            pass
