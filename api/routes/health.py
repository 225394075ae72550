"""Whether the process lives, whether the system can work, and its metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from api.auth import Scope
from api.errors import ApiError
from api.gate import granted_to
from api.models import Alive, CheckResult, Ready
from api.resources import Using

router = APIRouter(tags=["health"])
metrics_router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> Alive:
    """This process answers; that says nothing of the others."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready, "description": "something is not ready"}})
async def ready(request: Request, response: Response, using: Using) -> Ready:
    """Whether database, Redis, workers, beat and notifier work; with a token also which of them does not."""
    checks = await using.readiness.checks()
    all_ready = all(check.ready for check in checks.values())
    response.status_code = 200 if all_ready else 503
    response.headers["Cache-Control"] = "no-store"
    if Scope.READ not in granted_to(request.scope):
        return Ready(ready=all_ready)
    shown = {name: CheckResult(ready=check.ready, says=check.says) for name, check in checks.items()}
    return Ready(ready=all_ready, checks=shown)


@metrics_router.get("/metrics", response_class=PlainTextResponse)
async def metrics(using: Using) -> Response:
    """The text that Prometheus reads, as at PROMETHEUS_PORT."""
    if not using.settings.prometheus_port:
        raise ApiError(404, "not_found", "this process keeps no metrics for Prometheus", "set PROMETHEUS_PORT")
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)
