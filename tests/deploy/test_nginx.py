"""nginx as strangers meet it, in front of the real API and Flower: TLS, headers, limits, and what it survives."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
from engine import Engine
from stack import Stack, wait_for

FLOWER = "watcher:password-of-the-tests"
SECRET = "nobody-may-read-this-in-a-log"
PAGE = {"Accept": "text/html"}


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: str

    def header(self, name: str) -> str:
        """Its value; a header that came twice is a fault."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, (name, found)
        return found[0] if found else ""


@dataclass
class Door:
    """Another machine's view: it knows the address and the certificate of the house's authority."""

    stack: Stack
    authority: str

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Raises `OSError`, also for a certificate that is not good."""
        trusting = ssl.create_default_context(cadata=self.authority)
        connection = http.client.HTTPSConnection(
            "localhost", self.stack.ports["HTTPS_PORT"], context=trusting, timeout=30
        )
        return _asked(connection, path, method, body, headers)

    def plain(self, path: str, method: str = "GET", body: str | None = None) -> Reply:
        connection = http.client.HTTPConnection("localhost", self.stack.ports["HTTP_PORT"], timeout=30)
        return _asked(connection, path, method, body, None)

    def status(self, path: str, **headers: str) -> int:
        try:
            return self.ask(path, headers=headers).status
        except OSError:
            return 0

    def certificate(self) -> str:
        """What is served, in PEM."""
        return ssl.get_server_certificate(("localhost", self.stack.ports["HTTPS_PORT"]), timeout=30)


def _asked(
    connection: http.client.HTTPConnection,
    path: str,
    method: str,
    body: str | None,
    headers: Mapping[str, str] | None,
) -> Reply:
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, answer.getheaders(), answer.read().decode(errors="replace"))
    finally:
        connection.close()


@pytest.fixture(scope="module")
def door(new_stack: Callable[..., AbstractContextManager[Stack]]) -> Iterator[Door]:
    settings = {"FLOWER_BASIC_AUTH": FLOWER, "API_REQUESTS_PER_MINUTE": "1000", "TRADING_MODE": "paper"}
    with new_stack("nginx", overlays=(), settings=settings) as stack:
        # no certificate exists yet: the first start has to make one
        stack.up("nginx", "api", "flower")
        yield Door(stack, stack.exec("nginx", "cat", "/etc/nginx/tls/ca.crt"))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_http_leads_to_https_and_refuses_what_may_hold_a_token(door: Door) -> None:
    led = door.plain("/desk/runs?page=2")
    assert led.status == 308
    assert led.header("Location") == f"https://localhost:{door.stack.ports['HTTPS_PORT']}/desk/runs?page=2"
    refused = door.plain("/desk/login", "POST", f"token={SECRET}")
    assert refused.status == 400
    assert "set a new one" in refused.body
    # where certbot's proofs are looked for, http stays http
    assert door.plain("/.well-known/acme-challenge/none").status == 404


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_is_1_2_or_1_3(door: Door, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cadata=door.authority)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    connection = http.client.HTTPSConnection("localhost", door.stack.ports["HTTPS_PORT"], context=context, timeout=30)
    if version is ssl.TLSVersion.TLSv1_1:
        with pytest.raises(ssl.SSLError):
            _asked(connection, "/healthz", "GET", None, None)
    else:
        assert _asked(connection, "/healthz", "GET", None, None).status == 200


def test_every_answer_has_each_security_header_once(door: Door) -> None:
    authorized = {"Authorization": "Basic " + base64.b64encode(FLOWER.encode()).decode()}
    for path, headers in {
        "/desk/login": PAGE,
        "/desk/desk.css": {},
        "/api/orders": {},
        "/docs": PAGE,
        "/flower/": authorized,
        "/grafana/": PAGE,
        "/nowhere": PAGE,
    }.items():
        reply = door.ask(path, headers=headers)
        assert reply.header("Strict-Transport-Security") == "max-age=31536000", path
        assert reply.header("X-Content-Type-Options") == "nosniff", path
        assert reply.header("X-Frame-Options") == "DENY", path
        assert reply.header("Referrer-Policy") == "same-origin", path
        assert "server" not in reply.header("Server").lower().replace("nginx", ""), path
        # Grafana sends its own, once it runs
        assert bool(reply.header("Content-Security-Policy")) == (path != "/grafana/"), path
        for name in {key for key, _ in reply.headers}:
            if name.lower() != "set-cookie":
                reply.header(name)


def test_the_desk_is_signed_in_to_through_it(door: Door) -> None:
    asked = door.ask("/desk/login", "POST", urlencode({"token": door.stack.read_token, "next": "/desk/runs"}),
                     {"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    assert (asked.status, asked.header("Location")) == (303, "/desk/runs")
    cookie = asked.header("Set-Cookie")
    # the API knows that the browser came by TLS
    assert "Secure" in cookie
    assert cookie.startswith("__Host-")
    page = door.ask("/", headers={**PAGE, "Cookie": cookie.partition(";")[0]})
    assert page.status == 200
    assert "<script" not in page.body
    assert page.header("Content-Encoding") == ""


def test_a_caller_cannot_say_who_it_is(door: Door) -> None:
    claims = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    door.ask("/api/orders", headers={**bearer("wrong" * 5), **claims})
    keys = door.stack.exec("redis", "redis-cli", "--no-raw", "keys", "autotrader:api:requests:ip:*")
    addresses = re.findall(r"requests:ip:([^:\"]+(?:::?[^:\"]+)*):\d+", keys)
    assert addresses
    assert "203.0.113.9" not in keys
    # nor is it nginx that all callers are counted as
    nginx = next(iter(door.stack.inspect("nginx")["NetworkSettings"]["Networks"].values()))["IPAddress"]
    assert nginx not in addresses


def test_flower_is_behind_its_prefix_and_its_password(door: Door) -> None:
    assert door.ask("/flower").header("Location").endswith("/flower/")
    assert door.ask("/flower/").status == 401
    authorized = {"Authorization": "Basic " + base64.b64encode(FLOWER.encode()).decode()}
    page = door.ask("/flower/", headers=authorized)
    assert page.status == 200
    [script] = re.findall(r'src="([^"]*flower\.js[^"]*)"', page.body)
    assert script.startswith("/flower/static/")
    packed = door.ask(script, headers={**authorized, "Accept-Encoding": "gzip"})
    assert (packed.status, packed.header("Content-Encoding")) == (200, "gzip")


@pytest.mark.parametrize("path", ["/metrics", "/flower/metrics", "/grafana/metrics"])
def test_the_numbers_of_processes_are_not_public(door: Door, path: str) -> None:
    assert door.ask(path, headers=bearer(door.stack.operate_token)).status == 404


def test_a_host_name_that_is_not_ours_is_refused(door: Door) -> None:
    assert door.ask("/healthz", headers={"Host": "attacker.example"}).status == 421


def test_what_does_not_run_is_a_page_that_says_so(door: Door) -> None:
    page = door.ask("/grafana/", headers=PAGE)
    assert page.status == 502
    assert "make up WITH=monitoring" in page.body
    said = json.loads(door.ask("/grafana/api/health").body)["error"]
    assert (said["code"], said["fault"]) == ("unavailable", "nginx cannot reach grafana")
    assert re.fullmatch(r"[0-9a-f]{32}", said["request_id"])


def test_what_is_too_large_is_refused(door: Door) -> None:
    headers = {**bearer(door.stack.operate_token), "Content-Type": "application/json"}
    # by the API in its own words, and by nginx before it has read it all
    assert "16,384 bytes" in door.ask("/api/halt", "POST", "x" * 20_000, headers).body
    assert door.ask("/api/halt", "POST", "x" * 100_000, headers).status == 413


def test_who_tries_tokens_is_slowed_down_and_the_api_stays_open(door: Door) -> None:
    replies: list[Reply] = []
    form = {"Content-Type": "application/x-www-form-urlencoded", **PAGE}
    # ten a minute and five at once: however slow this machine is, some of sixty within a few minutes are too many
    while len(replies) < 60 and not (replies and replies[-1].status == 429):
        replies.append(door.ask("/desk/login", "POST", f"token=wrong-token-number-{len(replies):04}", form))
    assert replies[0].status == 401
    assert replies[-1].status == 429
    assert replies[-1].header("Retry-After") == "10"
    assert "요청이 너무 많습니다" in replies[-1].body
    assert door.ask("/api/orders", headers=bearer(door.stack.read_token)).status == 200


def test_who_asks_the_api_too_often_gets_its_own_form_of_429(door: Door) -> None:
    headers = bearer(door.stack.read_token)
    # more at once than may be, however slowly each is answered
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(lambda _: door.ask("/api/orders", headers=headers), range(128)))
    assert {reply.status for reply in replies} == {200, 429}
    refused = next(reply for reply in replies if reply.status == 429)
    assert json.loads(refused.body)["error"]["code"] == "too_many_requests"
    wait_for("the API open again", lambda: door.status("/api/orders", **headers) == 200, 60)


def test_the_log_has_paths_and_no_more(door: Door) -> None:
    door.ask(f"/desk/runs?token={SECRET}", headers={**PAGE, **bearer(SECRET), "Referer": f"https://x/{SECRET}"})
    door.ask(f"/grafana/?token={SECRET}")

    def told() -> list[dict[str, str]]:
        lines = [line for line in door.stack.logs("nginx", 2000).splitlines() if line.startswith('{"time"')]
        return [entry for entry in map(json.loads, lines) if entry["path"] == "/grafana/"]

    wait_for("the line of the log", told, 30)
    assert SECRET not in door.stack.logs("nginx", 2000)


def test_a_container_that_was_made_anew_is_found_at_its_new_address(door: Door, engine: Engine) -> None:
    def address() -> str:
        networks = door.stack.inspect("api")["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    before, nginx = address(), door.stack.inspect("nginx")["State"]["StartedAt"]
    network = next(iter(door.stack.inspect("api")["NetworkSettings"]["Networks"]))
    door.stack.compose("rm", "--stop", "--force", "api")
    # nobody at the address that nginx still has, or no such name any more
    assert door.status("/healthz") in (502, 504)
    # somebody else gets the address that became free
    guest = engine.docker(
        "run", "--detach", "--rm", "--network", network, "--entrypoint", "sleep", door.stack.image, "600"
    )
    try:
        door.stack.up("api")
        assert address() != before
        wait_for("the API through nginx", lambda: door.status("/healthz") == 200, 60)
        assert door.stack.inspect("nginx")["State"]["StartedAt"] == nginx
    finally:
        engine.docker("rm", "--force", guest)


def test_an_expired_certificate_is_renewed_without_a_restart(door: Door) -> None:
    stack = door.stack
    started = stack.inspect("nginx")["State"]["StartedAt"]
    # signed again by its own key, and over at once
    sign = "cd /tls && openssl x509 -in fullchain.pem -signkey privkey.pem -days 0 >/tmp/x && cat /tmp/x >fullchain.pem"
    good = door.certificate()
    stack.exec("certificates", "sh", "-c", sign)
    wait_for("the expired one is served", lambda: door.certificate() != good, 60)
    with pytest.raises(ssl.SSLError):
        door.ask("/healthz")
    # it looks every five minutes, and when it starts
    stack.compose("restart", "certificates")
    wait_for("a good one", lambda: door.status("/healthz") == 200, 60)
    assert stack.inspect("nginx")["State"]["StartedAt"] == started
    assert "nginx: reads the new certificate" in stack.logs("nginx")


def test_nginx_has_no_root_and_no_right_beyond_what_it_needs(door: Door) -> None:
    found = door.stack.inspect("nginx")
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert door.stack.exec("nginx", "id", "-un") == "nginx"
    assert door.stack.inspect("certificates")["HostConfig"]["NetworkMode"] == "none"
