"""`python -m sandbox`: run the stand-ins as a process of their own until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.candles import CandleFault
from sandbox.server import HOST, Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; returns the exit code. Prints `{"url": ...}` on stdout once it listens."""
    options = _parser().parse_args(arguments)
    try:
        sandbox = Sandbox(
            candles=options.candles,
            seed=options.seed,
            log=options.log,
            telegram_token=options.telegram_token,
            enforce_limits=options.enforce_limits,
            telegram_pace=options.telegram_pace,
        )
    except CandleFault as fault:
        return _fail(str(fault))
    except OSError as error:
        return _fail(f"{options.log}: cannot be written ({error.strerror}): give --log another file")
    return asyncio.run(_serve(sandbox, options.host, options.port))


async def _serve(sandbox: Sandbox, host: str, port: int) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        url = await sandbox.start(port, host)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        return _fail(f"port {port} on {host} {reason}: choose another with --port, or 0 for a free one")
    sys.stdout.write(json.dumps({"url": url}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await sandbox.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default=HOST, metavar="ADDRESS", help="address to listen at; in a container 0.0.0.0")
    parser.add_argument("--port", type=_port, default=0, help="port to listen at; 0 takes a free one")
    parser.add_argument("--candles", type=Path, metavar="DIR", help="recorded candles; without it they are simulated")
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated candles")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append one JSON line per request to this file")
    parser.add_argument("--telegram-token", default="", metavar="T", help="the only bot token to accept")
    parser.add_argument("--enforce-limits", action="store_true", help="refuse what exceeds a venue's rate limit")
    parser.add_argument("--telegram-pace", action="store_true", help="refuse messages that are sent too fast")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is no port: use 0 to 65535")
    return port


def _fail(message: str) -> int:
    sys.stderr.write(f"sandbox: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
