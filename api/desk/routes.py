"""The desk's addresses. They are no part of the API and stand in none of its documents."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route

from api.desk import actions, alerts, analyses, entrance, overview, page, paths, runs, trades


def desk_routes() -> Sequence[Route]:
    """A new list of the routes."""
    reading = [
        (paths.HOME, overview.overview),
        ("/desk/analyses", analyses.analyses_page),
        ("/desk/analyses/{id:uuid}", analyses.analysis_page),
        ("/desk/positions", trades.positions_page),
        ("/desk/orders", trades.orders_page),
        ("/desk/orders/{id:uuid}", trades.order_page),
        ("/desk/alerts", alerts.alerts_page),
        ("/desk/runs", runs.runs_page),
        ("/desk/runs/{id:uuid}", runs.run_page),
        ("/desk/halt", actions.halt_page),
        ("/desk/analyze", actions.analyze_page),
        (paths.LOGIN, entrance.login_page),
        (paths.STYLE, page.static),
        (paths.ICON, page.static),
    ]
    changing = [
        ("/desk/halt", actions.halt),
        ("/desk/resume", actions.resume),
        ("/desk/analyze", actions.analyze_now),
        (paths.LOGIN, entrance.login),
        (paths.LOGOUT, entrance.logout),
    ]
    return [
        *(Route(path, handler, methods=["GET"], include_in_schema=False) for path, handler in reading),
        *(Route(path, handler, methods=["POST"], include_in_schema=False) for path, handler in changing),
    ]
