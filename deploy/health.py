"""Whether the processes of this container work, asked of themselves: the health check of the image.

    python3 -I -S health.py [URL ...]             # the process that has PROMETHEUS_PORT, if it is set
    python3 -I -S health.py --together [URL ...]  # those of `autotrader run`, from PROMETHEUS_PORT on

A URL is a page that has to answer 200.

Ends with 0 and "ok", or with 1 and a line per fault. The answer comes from a thread that only looks at the signs of
life of the others (telemetry/pulse.py), so a process that hangs is at fault although its port answers.

Runs every half minute in each container of a small machine: the standard library only, and little of that.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence

SECONDS = 5.0
PATH = "/healthz"
# `autotrader run` gives its processes the ports from PROMETHEUS_PORT on, in this order
TOGETHER = ("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")
MARKETS = ("upbit", "kis", "yfinance")
LONGEST_ANSWER = 4096


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit code; says on stdout why."""
    try:
        asked = list(_asked(arguments, environ))
    except ValueError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    faults = [f"{name}: {fault}" for name, host, port, path in asked if (fault := ask(host, port, path))]
    sys.stdout.write("\n".join(faults or ["ok"]) + "\n")
    return 1 if faults else 0


def ask(host: str, port: int, path: str) -> str:
    """What is wrong there, or ""."""
    try:
        with socket.create_connection((host, port), SECONDS) as connection:
            # the whole answer within that, not each piece of it: nobody here sends slowly
            connection.settimeout(SECONDS)
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while len(answer) < LONGEST_ANSWER and (piece := connection.recv(LONGEST_ANSWER)):
                answer += piece
    except OSError as error:
        return f"port {port} does not answer ({error.strerror or type(error).__name__})"
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    status = head.split(maxsplit=2)[1:2]
    if status == ["200"]:
        return ""
    return body.strip() or f"port {port} answers {' '.join(status) or 'something else than HTTP'}"


def traded(market: str, environ: Mapping[str, str]) -> bool:
    """Whether the settings give that market symbols: they do unless theirs is there and names none."""
    named = {name.upper(): value for name, value in environ.items()}.get(f"{market.upper()}_SYMBOLS")
    return named is None or any(part.strip() for part in named.split(","))


def _asked(arguments: Sequence[str], environ: Mapping[str, str]) -> Iterator[tuple[str, str, int, str]]:
    """Name, host, port and path of everything to ask. Raises `ValueError` with what is wrong with the question."""
    for url in (argument for argument in arguments if argument != "--together"):
        scheme, _, rest = url.partition("://")
        address, slash, path = rest.partition("/")
        host, _, port = address.rpartition(":")
        if scheme != "http" or not host or not port.isdecimal():
            raise ValueError(f"{url} is no address: use http://HOST:PORT/PATH")
        yield url, host, int(port), slash + path or "/"
    first = environ.get("PROMETHEUS_PORT") or "0"
    if not first.isdecimal() or (first == "0" and ("--together" in arguments or not arguments)):
        raise ValueError("PROMETHEUS_PORT is not set, and at that port a process says whether it works")
    if first == "0":
        return
    for number, name in enumerate(TOGETHER if "--together" in arguments else (environ.get("HOSTNAME", "process"),)):
        market = name.removeprefix("worker-")
        if market not in MARKETS or "--together" not in arguments or traded(market, environ):
            yield name, "127.0.0.1", int(first) + number, PATH


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
