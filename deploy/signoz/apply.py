"""Brings the dashboards, the alert rules and the Telegram channel of this folder into a SigNoz; `make signoz-apply`.

What is written carries a mark: a digest of what it was made from. A second run finds the mark and changes nothing;
what carries no mark was made by somebody else and is left alone. Nothing is ever deleted.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import http.client
import json
import re
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from settings import Settings, get_settings
from telemetry.redaction import redact, secret_values

HERE = Path(__file__).resolve().parent
CHANNEL = "autotrader-telegram"
TIMEOUT_SECONDS = 10
# SigNoz gives at most this many dashboards at a time
PAGE = 200
LONGEST_REFUSAL = 500

# Alertmanager escapes what it fills in, as parse_mode is HTML.
MESSAGE = """\
{{ range .Alerts }}{{ if eq .Status "firing" }}🔥{{ else }}✅{{ end }} <b>{{ .Annotations.summary }}</b>
{{ .Annotations.description }}
{{ .Labels.alertname }} · {{ .Labels.severity }} · {{ .Labels.component }}
{{ .Annotations.runbook_url }}
{{ end }}"""

_MARK = re.compile(r"autotrader:([0-9a-f]{12})")

Body = dict[str, Any]


class Fault(Exception):
    """Nothing more can be done; one line that says what to change."""


class Refused(Exception):
    """SigNoz refuses one body; one line with its reason."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of thing that SigNoz keeps: its route, where its name stands, and where our mark goes.

    `mark_of` takes a row as SigNoz lists it.
    """

    name: str
    route: str
    key: str
    set_mark: Callable[[Body, str], None]
    mark_of: Callable[[Body], str]


def _mark_dashboard(body: Body, mark: str) -> None:
    display = body["spec"]["display"]
    display["description"] = f"{display.get('description', '')} [{mark}]".lstrip()


def _mark_rule(body: Body, mark: str) -> None:
    body.setdefault("annotations", {})["managed_by"] = mark


def _mark_channel(body: Body, mark: str) -> None:
    config = body["telegram_configs"][0]
    # a comment of the template language, which no message shows
    config["message"] = f"{{{{/* {mark} */}}}}" + config["message"]


DASHBOARD = Kind(
    "dashboard",
    "/api/v2/dashboards",
    "name",
    _mark_dashboard,
    lambda row: row["spec"].get("display", {}).get("description", ""),
)
RULE = Kind("rule", "/api/v2/rules", "alert", _mark_rule, lambda row: row.get("annotations", {}).get("managed_by", ""))
CHANNELS = Kind("channel", "/api/v1/channels", "name", _mark_channel, lambda row: row["data"])


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key must not follow a redirect to somebody else's server."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Api:
    """SigNoz' HTTP API with a key. Raises `Fault` and `Refused`."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key
        self._opener = urllib.request.build_opener(_NoRedirects)

    def list(self, kind: Kind) -> list[Body]:
        """Everything of one kind."""
        if kind is not DASHBOARD:
            return list(self._send("GET", kind.route) or [])
        rows: list[Body] = []
        while True:
            page = self._send("GET", f"{kind.route}?limit={PAGE}&offset={len(rows)}")
            rows += page["dashboards"]
            if not page["dashboards"] or len(rows) >= page["total"]:
                return rows

    def create(self, kind: Kind, body: Body) -> None:
        self._send("POST", kind.route, body)

    def update(self, kind: Kind, row: Body, body: Body) -> None:
        self._send("PUT", f"{kind.route}/{row['id']}", body)

    def _send(self, method: str, path: str, body: Body | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"SIGNOZ-API-KEY": self._key, "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
                if reply.status == HTTPStatus.NO_CONTENT:
                    return None
                return json.loads(reply.read())["data"]
        except urllib.error.HTTPError as error:
            raise self._refusal(error, f"{method} {path.partition('?')[0]}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Fault(f"{self._url} does not answer ({reason}): is SigNoz up, and is SIGNOZ_URL right?") from None
        except (ValueError, KeyError, TypeError):
            raise Fault(f"{self._url} does not answer {path} as SigNoz does: is SIGNOZ_URL right?") from None

    def _refusal(self, error: urllib.error.HTTPError, what: str) -> Exception:
        if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return Fault(
                f"SigNoz refuses the key ({error.code} at {what}): SIGNOZ_API_KEY must be the key of a service account "
                "with the role Admin (Settings, Service Accounts)"
            )
        if 300 <= error.code < 400:
            return Fault(f"{self._url} redirects to {error.headers.get('Location')}: set SIGNOZ_URL to SigNoz itself")
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Fault(f"SigNoz answers {error.code} at {what}: look at its log, then try again")
        try:
            fault = json.loads(error.read())["error"]
            lines = [fault["message"], *(other["message"] for other in fault.get("errors") or [])]
        except (ValueError, KeyError, TypeError):
            return Fault(f"{self._url} answers {error.code} at {what}, not as SigNoz does: is SIGNOZ_URL right?")
        return Refused("; ".join(" ".join(line.split()) for line in lines)[:LONGEST_REFUSAL])


def wanted(settings: Settings) -> Iterator[tuple[Kind, str, Body]]:
    """What SigNoz is to have, in the order in which it needs it: (kind, where it is from, body). Raises `Fault`."""
    yield CHANNELS, "the Telegram channel", _channel(settings)
    for kind, folder in ((DASHBOARD, "dashboards"), (RULE, "rules")):
        paths = sorted((HERE / folder).glob("*.json"))
        for path in paths:
            where = f"{folder}/{path.name}"
            try:
                body = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise Fault(f"{where} is not JSON: {error}") from None
            if not isinstance(body, dict) or not isinstance(body.get(kind.key), str):
                raise Fault(f"{where} has no {kind.key!r}, by which SigNoz would know it again")
            yield kind, where, body


def _channel(settings: Settings) -> Body:
    token = settings.telegram_token.get_secret_value()
    if not token or not settings.error_chat_id:
        raise Fault("TELEGRAM_TOKEN and TELEGRAM_CHAT_ID are missing: without them the rules could tell nobody")
    if not re.fullmatch(r"-?\d+", settings.error_chat_id):
        raise Fault("the chat must be a number for SigNoz, not a name: change TELEGRAM_CHAT_ID, or give its number")
    config = {
        "token": token,
        "chat": int(settings.error_chat_id),
        "api_url": settings.telegram_base_url,
        "parse_mode": "HTML",
        "message": MESSAGE,
        "send_resolved": True,
    }
    return {"name": CHANNEL, "telegram_configs": [config]}


def marked(kind: Kind, body: Body) -> tuple[Body, str]:
    """The body with our mark in it, and the digest that the mark carries."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
    body = copy.deepcopy(body)
    kind.set_mark(body, f"autotrader:{digest}")
    return body, digest


def apply_one(api: Api, kind: Kind, rows: list[Body], body: Body, dry_run: bool, force: bool) -> str:
    """Bring one thing into SigNoz; returns what was done. Raises `Refused`."""
    body, digest = marked(kind, body)
    row = next((row for row in rows if row[kind.key] == body[kind.key]), None)
    if row is None:
        if not dry_run:
            api.create(kind, body)
        return "created"
    found = _MARK.search(kind.mark_of(row))
    if found is None and not force:
        raise Refused("SigNoz has one of this name that was not made here: rename it there, or take it over by --force")
    if found is not None and found[1] == digest and not force:
        return "unchanged"
    if not dry_run:
        api.update(kind, row, body)
    return "updated"


def run(settings: Settings, dry_run: bool, force: bool) -> int:
    """Apply everything; returns how many bodies were refused. Raises `Fault`."""
    url, key = settings.signoz_url.rstrip("/"), settings.signoz_api_key.get_secret_value()
    if not url.startswith(("http://", "https://")):
        raise Fault("SIGNOZ_URL is missing or no address: set it to where SigNoz is, such as http://127.0.0.1:8080")
    if not key:
        raise Fault("SIGNOZ_API_KEY is missing: make a service account in SigNoz and give its key")
    todo = list(wanted(settings))
    api = Api(url, key)
    there = {kind.name: api.list(kind) for kind in (CHANNELS, DASHBOARD, RULE)}
    done: Counter[str] = Counter()
    for kind, where, body in todo:
        try:
            outcome = apply_one(api, kind, there[kind.name], body, dry_run, force)
        except Refused as refusal:
            outcome = "refused"
            _say(sys.stderr, settings, f"signoz: {where}: {refusal}")
        done[outcome] += 1
        _say(sys.stdout, settings, f"{kind.name} {body[kind.key]}: {outcome}")
    outcomes = ("created", "updated", "unchanged", "refused")
    summary = ", ".join(f"{done[outcome]} {outcome}" for outcome in outcomes if done[outcome])
    _say(sys.stdout, settings, f"{'dry run, nothing written: ' if dry_run else ''}{summary}")
    return done["refused"]


def _say(stream: Any, settings: Settings, line: str) -> None:
    stream.write(redact(line, secret_values(settings)) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 if something was refused or could not be done."""
    parser = argparse.ArgumentParser(prog="signoz-apply", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument("--force", action="store_true", help="write everything anew, and over what was made by hand")
    options = parser.parse_args(arguments)
    settings = get_settings()
    try:
        return 1 if run(settings, options.dry_run, options.force) else 0
    except Fault as fault:
        _say(sys.stderr, settings, f"signoz: {fault}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
