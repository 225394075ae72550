"""Flower for a system that trades: a login always, no secret on any page, state that survives a restart.

Read by Flower itself: `celery -A tasks flower --conf=deploy/flower/flowerconfig.py`, or `autotrader flower`. Every
option below can be set by its variable, FLOWER_MAX_TASKS for `max_tasks`, in the environment or in `.env`.

Flower's own `format_task` masks the pages only: its REST API, its search and its state file show tasks as they came
(2.2.0, `flower/api/tasks.py`). So secrets are taken out of the events before Flower keeps them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import flower.app
import flower.urls
from dotenv import dotenv_values
from flower.api.tasks import TaskResult
from flower.events import Events
from flower.views.monitor import Metrics
from tornado.escape import json_encode, xhtml_escape
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, authenticated

from settings import get_settings
from telemetry.redaction import MARK, redact, secret_values

# A shorter secret may be a word of the page itself.
SHORTEST_ON_PAGE = 8
TEXTS_OF_AN_EVENT = ("args", "kwargs", "result", "exception", "traceback")
PAGES = ("text/html", "application/json", "text/plain")
DAY_SECONDS = 86_400


def said(name: str, default: str = "") -> str:
    """What FLOWER_<name> says: the environment first, then `.env`."""
    return os.environ.get(f"FLOWER_{name}") or _FILE.get(f"FLOWER_{name}") or default


_FILE = dotenv_values(".env")


def login() -> tuple[list[str], str]:
    """The logins of FLOWER_BASIC_AUTH and the accounts of FLOWER_AUTH; without either Flower does not start."""
    users, accounts = [user for user in said("BASIC_AUTH").split(",") if user], said("AUTH")
    if not users and not accounts:
        sys.exit(
            "autotrader: Flower does not start without a login: set FLOWER_BASIC_AUTH=user:password "
            "(or FLOWER_AUTH with FLOWER_AUTH_PROVIDER and the FLOWER_OAUTH2_… of your provider)"
        )
    if any(not re.fullmatch(r"[^:]+:.+", user) for user in users):
        sys.exit("autotrader: FLOWER_BASIC_AUTH must be user:password, several separated by commas")
    needed = ("AUTH_PROVIDER", "OAUTH2_KEY", "OAUTH2_SECRET", "OAUTH2_REDIRECT_URI")
    if missing := [f"FLOWER_{name}" for name in needed if accounts and not said(name)]:
        sys.exit(f"autotrader: FLOWER_AUTH needs {', '.join(missing)}")
    return users, accounts


def state_file() -> str:
    """Where Flower keeps its tasks, in a folder that only this user can read."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(said("DB", str(Path(home) / "autotrader" / "flower" / "state")))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(
            f"autotrader: {path.parent} cannot be made ({error.strerror}): set FLOWER_DB to a file Flower may write"
        )
    if not os.access(path.parent, os.W_OK):
        sys.exit(f"autotrader: {path.parent} cannot be written to: set FLOWER_DB to a file Flower may write")
    return str(path)


basic_auth, auth = login()
auth_provider = said("AUTH_PROVIDER") or None
oauth2_key, oauth2_secret = said("OAUTH2_KEY") or None, said("OAUTH2_SECRET") or None
oauth2_redirect_uri = said("OAUTH2_REDIRECT_URI") or None

address = said("ADDRESS", "127.0.0.1")
port = int(said("PORT", "5555"))
# behind nginx at https://host/flower/: FLOWER_URL_PREFIX=flower
url_prefix = said("URL_PREFIX").strip("/")

# the buttons and calls that stop workers, revoke tasks or start them
read_only = said("READ_ONLY", "true").lower() not in ("false", "no", "0", "off")

# every task in memory costs about 4 kB, and as much in the file, which is written anew each time
max_tasks = int(said("MAX_TASKS", "10000"))
max_workers = int(said("MAX_WORKERS", "100"))
purge_offline_workers = int(said("PURGE_OFFLINE_WORKERS", str(DAY_SECONDS)))

persistent = True
db = state_file()
state_save_interval = int(said("STATE_SAVE_INTERVAL", "60000"))
os.umask(0o077)

tasks_columns = said("TASKS_COLUMNS", "name,uuid,state,args,received,runtime,worker")

_passwords = (user.partition(":")[2] for user in basic_auth)
_SECRETS = (*secret_values(get_settings()), *_passwords, *filter(None, [oauth2_secret]))


class RedactedEvents(Events):  # type: ignore[misc]
    """Events with the secrets taken out before anything is kept of them."""

    def on_event(self, event: dict[str, Any]) -> None:
        for name in TEXTS_OF_AN_EVENT:
            if isinstance(event.get(name), str):
                event[name] = redact(event[name], _SECRETS)
        super().on_event(event)


class RedactedResult(TaskResult):  # type: ignore[misc]
    """A result as the backend has it, which no event has gone through."""

    def update_response_result(self, response: dict[str, Any], result: Any) -> None:
        super().update_response_result(response, result)
        text = redact(json.dumps(response["result"]), _SECRETS)
        try:
            response["result"] = json.loads(text)
        except ValueError:
            # the secret was part of the JSON's own form
            response["result"] = text
        if response.get("traceback"):
            response["traceback"] = redact(response["traceback"], _SECRETS)


class ClosedMetrics(Metrics):  # type: ignore[misc]
    """Flower's /metrics names workers and tasks; it asks for the login as all else does. /healthcheck says only OK."""

    @authenticated
    async def get(self) -> None:
        await super().get()


class Redaction(OutputTransform):
    """The last net: no page shows a secret of the settings, wherever it came from (a worker's configuration, say)."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._is_page = False

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        # a page comes in one piece; what comes in several is a file of Flower's own
        self._is_page = finishing and headers.get("Content-Type", "").startswith(PAGES)
        if self._is_page:
            chunk = self.transform_chunk(chunk, finishing)
            headers["Content-Length"] = str(len(chunk))
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        if self._is_page:
            for form in _ON_PAGE:
                chunk = chunk.replace(form, MARK.encode())
        return chunk


def _forms(secret: str) -> set[bytes]:
    """A secret as HTML, JSON and Python write it."""
    return {text.encode() for text in (secret, xhtml_escape(secret), json_encode(secret)[1:-1], repr(secret)[1:-1])}


_ON_PAGE = sorted(
    {form for secret in _SECRETS if len(secret) >= SHORTEST_ON_PAGE for form in _forms(secret)}, key=len, reverse=True
)
_INSTEAD = {TaskResult: RedactedResult, Metrics: ClosedMetrics}


def _instead(handler: Any) -> Any:
    """A route of Flower's with our handler in the place of its own."""
    if isinstance(handler, tuple):
        return (handler[0], _INSTEAD.get(handler[1], handler[1]), *handler[2:])
    return handler


flower.app.Events = RedactedEvents
flower.urls.handlers[:] = [_instead(handler) for handler in flower.urls.handlers]
flower.urls.settings["transforms"] = [Redaction]
