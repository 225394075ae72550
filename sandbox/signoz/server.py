"""The HTTP server of the stand-in: it keeps what it is given, and refuses what SigNoz v0.138.0 would refuse."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from sandbox.signoz.checks import dashboard_faults, rule_faults
from sandbox.signoz.schema import faults

HOST = "127.0.0.1"
KEY_HEADER = "SIGNOZ-API-KEY"
DEFAULT_PAGE, LARGEST_PAGE = 20, 200

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A refusal of the API: status, code, message, and what else is wrong."""

    def __init__(self, status: int, code: str, message: str, others: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.others = status, code, list(others)


class SigNoz:
    """Dashboards, rules and channels of one organisation, for whoever has `api_key`.

    `writes` are the requests that changed something, as (method, path), oldest first. With `broken` set to a status,
    every request is answered with it, as by a proxy in front of a SigNoz that is down.
    """

    def __init__(self, api_key: str) -> None:
        self._key = api_key
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []
        self.broken: int | None = None
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> str:
        """Listen on `port` (0: a free one) and return the URL. Raises `OSError` if the port is in use."""
        app = web.Application(middlewares=[self._gate])
        app.add_routes(
            [
                web.get("/api/v2/dashboards", self._list_dashboards),
                web.post("/api/v2/dashboards", self._create_dashboard),
                web.put("/api/v2/dashboards/{id}", self._update_dashboard),
                web.get("/api/v2/rules", self._list_rules),
                web.post("/api/v2/rules", self._create_rule),
                web.put("/api/v2/rules/{id}", self._update_rule),
                web.get("/api/v1/channels", self._list_channels),
                web.post("/api/v1/channels", self._create_channel),
                web.put("/api/v1/channels/{id}", self._update_channel),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, port).start()
        host, chosen = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{chosen}"
        return self.url

    async def stop(self) -> None:
        """Stop listening; what was kept can still be read."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.broken is not None:
            return web.Response(status=self.broken, text="<html>Bad Gateway</html>", content_type="text/html")
        try:
            if request.headers.get(KEY_HEADER) != self._key:
                raise Refused(401, "unauthenticated", "unauthenticated")
            response = await handler(request)
        except Refused as refusal:
            return _refusal(refusal)
        except web.HTTPException as error:
            # what is no route of the API is the user interface's
            return web.Response(status=error.status, text="<!doctype html><title>SigNoz</title>")
        if request.method != "GET":
            self.writes.append((request.method, request.path))
        return response

    async def _list_dashboards(self, request: web.Request) -> web.Response:
        limit = min(int(request.query.get("limit", DEFAULT_PAGE)), LARGEST_PAGE)
        offset = int(request.query.get("offset", 0))
        rows = [row | {"spec": {"display": row["spec"]["display"]}} for row in self.dashboards.values()]
        page = {"dashboards": rows[offset : offset + limit], "total": len(rows), "tags": [], "reservedKeywords": []}
        return _success(page)

    async def _create_dashboard(self, request: web.Request) -> web.Response:
        body = await _body(request)
        _check("dashboard_invalid_input", faults("DashboardtypesPostableDashboardV2", body))
        _check("dashboard_invalid_input", dashboard_faults(body))
        row = _stamp(body) | {"locked": False, "source": "user", "orgId": "1"}
        self.dashboards[row["id"]] = row
        return _success(row, 201)

    async def _update_dashboard(self, request: web.Request) -> web.Response:
        row = _kept(self.dashboards, request, "dashboard")
        body = await _body(request)
        _check("dashboard_invalid_input", faults("DashboardtypesUpdatableDashboardV2", body))
        _check("dashboard_invalid_input", dashboard_faults(body))
        if body["name"] != row["name"]:
            raise Refused(
                400,
                "dashboard_immutable",
                f'name is immutable; cannot change from "{row["name"]}" to "{body["name"]}"',
            )
        row |= body | {"updatedAt": _now()}
        return _success(row)

    async def _list_rules(self, _: web.Request) -> web.Response:
        return _success(list(self.rules.values()))

    async def _create_rule(self, request: web.Request) -> web.Response:
        row = _stamp(await self._rule(request)) | {"state": "inactive"}
        self.rules[row["id"]] = row
        return _success(row, 201)

    async def _update_rule(self, request: web.Request) -> web.Response:
        row = _kept(self.rules, request, "rule")
        changed = await self._rule(request)
        kept = {field: row[field] for field in ("id", "state", "createdAt")}
        self.rules[row["id"]] = changed | kept | {"updatedAt": _now()}
        return web.Response(status=204)

    async def _rule(self, request: web.Request) -> dict[str, Any]:
        body = await _body(request)
        _check("invalid_input", faults("RuletypesPostableRule", body), "alert rule is not valid")
        names = {channel["name"] for channel in self.channels.values()}
        _check("invalid_input", rule_faults(body, names), "alert rule is not valid")
        return body

    async def _list_channels(self, _: web.Request) -> web.Response:
        return _success(list(self.channels.values()))

    async def _create_channel(self, request: web.Request) -> web.Response:
        receiver = await _receiver(request)
        if any(channel["name"] == receiver["name"] for channel in self.channels.values()):
            raise Refused(409, "already_exists", f"channel {receiver['name']} already exists")
        row = _stamp({"name": receiver["name"], "type": "telegram", "data": json.dumps(receiver), "orgId": "1"})
        self.channels[row["id"]] = row
        return _success(row, 201)

    async def _update_channel(self, request: web.Request) -> web.Response:
        row = _kept(self.channels, request, "channel")
        receiver = await _receiver(request)
        if receiver["name"] != row["name"]:
            raise Refused(400, "alertmanager_channel_name_mismatch", "cannot update channel name")
        row |= {"data": json.dumps(receiver), "updatedAt": _now()}
        return web.Response(status=204)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise Refused(400, "invalid_input", f"failed to parse json: {error}") from None
    if not isinstance(body, dict):
        raise Refused(400, "invalid_input", "failed to parse json: the body must be an object")
    return body


async def _receiver(request: web.Request) -> dict[str, Any]:
    body = await _body(request)
    _check("alertmanager_channel_invalid", faults("Channel", body))
    if not body["telegram_configs"]:
        raise Refused(
            400,
            "alertmanager_channel_invalid",
            f"channel '{body['name']}' must have at least one notification configuration",
        )
    for config in body["telegram_configs"]:
        if not config.get("token"):
            raise Refused(400, "invalid_input", "missing bot_token or bot_token_file on telegram_config")
        if not config.get("chat"):
            raise Refused(400, "invalid_input", "missing chat_id on telegram_config")
        if config.get("parse_mode", "") not in ("", "Markdown", "MarkdownV2", "HTML"):
            raise Refused(400, "invalid_input", "unknown parse_mode on telegram_config, must be Markdown or HTML")
    return body


def _check(code: str, found: Iterable[str], summary: str = "") -> None:
    """Refuse if anything was found: under a summary, or with the first fault as the message."""
    if lines := list(found):
        raise Refused(400, code, summary or lines[0], lines if summary else lines[1:])


def _kept(rows: dict[str, dict[str, Any]], request: web.Request, what: str) -> dict[str, Any]:
    row = rows.get(request.match_info["id"])
    if row is None:
        raise Refused(404, "not_found", f"{what} with id {request.match_info['id']} does not exist")
    return row


def _stamp(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"id": str(uuid4()), "createdAt": _now(), "updatedAt": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _success(data: object, status: int = 200) -> web.Response:
    return web.json_response({"status": "success", "data": data}, status=status)


def _refusal(refusal: Refused) -> web.Response:
    kinds = {400: "invalid-input", 401: "unauthenticated", 404: "not-found", 409: "already-exists"}
    error = {
        "type": kinds[refusal.status],
        "code": refusal.code,
        "message": str(refusal),
        "errors": [{"message": line, "suggestions": []} for line in refusal.others],
        "suggestions": [],
    }
    return web.json_response({"status": "error", "error": error}, status=refusal.status)
