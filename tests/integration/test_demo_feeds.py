"""A market is called live only if its feed answers, and whoever is not is told why."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.feeds import FeedError, Probes, choose_feeds, overall
from sandbox.local.server import free_port
from settings import MARKETS

KEYS = {"KIS_APP_KEY": "key", "KIS_APP_SECRET": "secret"}


@contextmanager
def server(status: int = 200) -> Iterator[str]:
    """An HTTP server that answers every GET with `status`; 0 lets the client wait."""
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status == 0:
                release.wait(30)
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        release.set()
        httpd.shutdown()


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}/"


def test_all_three_answering_is_live() -> None:
    with server() as url:
        feeds = choose_feeds("auto", None, probes=Probes(url, url, url), environ=KEYS)
    assert {feed.feed for feed in feeds.values()} == {"live"}
    assert overall(feeds) == "live"
    assert list(feeds) == list(MARKETS)


def test_one_silent_feed_makes_the_whole_simulated_and_says_why() -> None:
    with server() as url:
        feeds = choose_feeds("auto", None, probes=Probes(nobody(), url, url), environ=KEYS)
    assert str(feeds["upbit"]) == "upbit: simulated (127.0.0.1 not reachable: Connection refused)"
    assert feeds["yfinance"].feed == "live"
    assert overall(feeds) == "simulated"


def test_a_refusing_feed_is_not_live() -> None:
    with server(429) as refusing, server() as url:
        feeds = choose_feeds("auto", None, probes=Probes(url, refusing, url), environ=KEYS)
    assert str(feeds["yfinance"]) == "yfinance: simulated (127.0.0.1 answered HTTP 429)"


def test_a_feed_that_hangs_costs_two_seconds_at_most() -> None:
    started = time.monotonic()
    with server(0) as hanging:
        feeds = choose_feeds("auto", None, probes=Probes(hanging, hanging, nobody()), environ=KEYS)
        took = time.monotonic() - started
    assert {feed.feed for feed in feeds.values()} == {"simulated"}
    assert took < 3.5


def test_what_is_no_http_is_not_live() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(1024)
            connection.sendall(b"SSH-2.0-x\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        feeds = choose_feeds("auto", None, probes=Probes(upbit=url, yfinance=nobody(), kis=nobody()), environ={})
    assert feeds["upbit"].feed == "simulated"


def test_kis_is_never_live_without_its_keys() -> None:
    with server() as url:
        feeds = choose_feeds("auto", None, probes=Probes(url, url, url), environ={"KIS_APP_KEY": "key"})
    assert str(feeds["kis"]) == "kis: simulated (KIS_APP_KEY and KIS_APP_SECRET are not set in the environment)"


def test_a_market_with_an_ordered_fault_is_simulated() -> None:
    with server() as url:
        feeds = choose_feeds("auto", None, only_simulated={"upbit"}, probes=Probes(url, url, url), environ=KEYS)
    assert (feeds["upbit"].feed, feeds["kis"].feed) == ("simulated", "live")


def test_live_on_request_fails_where_it_is_not() -> None:
    with server() as url, pytest.raises(FeedError, match=r"no live feed for upbit: simulated \(127\.0\.0\.1 not reach"):
        choose_feeds("live", None, probes=Probes(nobody(), url, url), environ=KEYS)


def test_recorded_and_simulated_feeds_ask_nobody() -> None:
    with server(0) as hanging:
        probes = Probes(hanging, hanging, hanging)
        started = time.monotonic()
        assert overall(choose_feeds("auto", Path("candles"), probes=probes, environ=KEYS)) == "recorded"
        assert overall(choose_feeds("simulated", None, probes=probes, environ=KEYS)) == "simulated"
        assert time.monotonic() - started < 0.5
