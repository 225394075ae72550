"""What SigNoz checks beyond the schema: names, references between parts of a body, and the geometry of a grid.

The rules and their wording are those of v0.138.0 (pkg/types/dashboardtypes, ruletypes, querybuildertypesv5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

SCHEMA_VERSION = "v6"
MOST_TAGS = 10
LONGEST_NAME = 128
GRID_COLUMNS = 12
RESERVED_TAGS = {"name", "description", "created_at", "updated_at", "created_by", "locked", "source"}
# a DNS-1123 label
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PANEL = "#/spec/panels/"
# a dashboard's panel names its query by a plugin, a composite query by a type
_PLUGINS = {
    "builder_query": "signoz/BuilderQuery",
    "builder_formula": "signoz/Formula",
    "builder_trace_operator": "signoz/TraceOperator",
    "promql": "signoz/PromQLQuery",
    "clickhouse_sql": "signoz/ClickHouseSQL",
}
_NO_PROMQL = {"signoz/PieChartPanel", "signoz/TablePanel"}

Body = Mapping[str, Any]


def dashboard_faults(body: Body) -> Iterator[str]:
    """What SigNoz would refuse in a dashboard that has the right shape."""
    if body["schemaVersion"] != SCHEMA_VERSION:
        yield f'schemaVersion must be "{SCHEMA_VERSION}", got "{body["schemaVersion"]}"'
    name = body.get("name", "")
    if body.get("generateName"):
        if name:
            yield f'name must be empty when generateName is true, got "{name}"'
    elif not name:
        yield "name is required"
    elif not _NAME.fullmatch(name):
        yield f'name "{name}" is invalid: a lowercase RFC 1123 label must consist of lower case alphanumerics or "-"'
    tags = body["tags"] or []
    if len(tags) > MOST_TAGS:
        yield f"a dashboard can have at most {MOST_TAGS} tags"
    for tag in tags:
        if tag["key"].strip().lower() in RESERVED_TAGS:
            yield f'tag key "{tag["key"]}" is reserved'
    spec = body["spec"]
    if len(spec["display"]["name"]) > LONGEST_NAME:
        yield f"spec.display.name: dashboard name must be at most {LONGEST_NAME} characters"
    variables = [variable["spec"]["name"] for variable in spec["variables"]]
    for index, variable in enumerate(variables):
        if variable in variables[:index]:
            yield f'spec.variables[{index}]: duplicate variable name "{variable}"'
    for key, panel in spec["panels"].items():
        yield from _panel_faults(f"spec.panels.{key}", panel["spec"])
    yield from _layout_faults(spec)


def _panel_faults(path: str, panel: Body) -> Iterator[str]:
    kind, queries = panel["plugin"]["kind"], panel["queries"]
    if len(panel["display"]["name"]) > LONGEST_NAME:
        yield f"{path}.spec.display.name: panel name must be at most {LONGEST_NAME} characters"
    if len(queries) != 1:
        yield f"{path}.spec.queries: panel must have one query, found {len(queries)}"
        return
    plugin = queries[0]["spec"]["plugin"]
    where = f"{path}.spec.queries[0].spec.plugin"
    parts = [(plugin["kind"], plugin["spec"])]
    if plugin["kind"] == "signoz/CompositeQuery":
        parts = [(_PLUGINS[part["type"]], part["spec"]) for part in plugin["spec"]["queries"]]
    for part, spec in parts:
        if (part == "signoz/PromQLQuery" and kind in _NO_PROMQL) or (
            kind == "signoz/ListPanel" and plugin["kind"] != "signoz/BuilderQuery"
        ):
            yield f'{where}: query kind "{part}" is not supported by panel kind "{kind}"'
        if part == "signoz/BuilderQuery":
            for fault in _query_faults(spec, scalar=queries[0]["kind"] == "scalar", raw=queries[0]["kind"] == "raw"):
                yield f"{where}: {fault}"
    yield from (f"{where}: {fault}" for fault in _formula_faults(parts))


def _query_faults(query: Body, scalar: bool = False, raw: bool = False) -> Iterator[str]:
    name = query.get("name", "")
    aggregations = query.get("aggregations") or []
    if not aggregations and not raw:
        yield "at least one aggregation is required"
    for number, aggregation in enumerate(aggregations, 1):
        which = f"aggregation #{number} in query '{name}'"
        if query["signal"] != "metrics":
            if not aggregation.get("expression"):
                yield f"expression is required for {query['signal'].removesuffix('s')} {which}"
            continue
        if not aggregation.get("metricName"):
            yield f"metric name is required for {which}"
        if not aggregation.get("spaceAggregation"):
            yield (
                "invalid space aggregation, should be one of the following: "
                "[`sum`, `avg`, `min`, `max`, `count`, `p50`, `p75`, `p90`, `p95`, `p99`]"
            )
        if scalar and not aggregation.get("reduceTo"):
            yield f"reduceTo is required for {which} for the scalar request type"


def _formula_faults(parts: list[tuple[str, Any]]) -> Iterator[str]:
    """A formula may only use queries that stand beside it."""
    names = {spec.get("name") for _, spec in parts}
    for kind, spec in parts:
        if kind == "signoz/Formula":
            for used in sorted(set(re.findall(r"\b[A-Z][0-9]?\b", spec["expression"])) - names):
                yield f"formula '{spec.get('name')}' references query '{used}' which does not exist"


def _layout_faults(spec: Body) -> Iterator[str]:
    placed: dict[str, str] = {}
    for number, layout in enumerate(spec["layouts"]):
        items = layout["spec"].get("items") or []
        for index, item in enumerate(items):
            where = f"spec.layouts[{number}].spec.items[{index}]"
            x, width = item.get("x", 0), item.get("width", 0)
            if width < 1 or item.get("height", 0) < 1:
                yield f"{where}: width and height must be at least 1"
            if x < 0 or item.get("y", 0) < 0:
                yield f"{where}: x and y must not be negative"
            if x + width > GRID_COLUMNS:
                yield f"{where}: x ({x}) + width ({width}) exceeds grid width {GRID_COLUMNS}"
            for other in range(index):
                if _overlap(items[other], item):
                    yield f"spec.layouts[{number}].spec.items[{other}] and items[{index}] overlap"
            reference = item.get("content", {}).get("$ref", "")
            key = reference.removeprefix(_PANEL)
            if not reference.startswith(_PANEL):
                yield f'{where}.content: "{reference}" must reference a panel as "{_PANEL}<key>"'
            elif key not in spec["panels"]:
                yield f'{where}.content: references unknown panel "{key}"'
            elif key in placed:
                yield f'{where}.content: panel "{key}" is already placed by {placed[key]}'
            placed.setdefault(key, f"{where}.content")


def _overlap(one: Body, other: Body) -> bool:
    return bool(
        one["x"] < other["x"] + other["width"]
        and other["x"] < one["x"] + one["width"]
        and one["y"] < other["y"] + other["height"]
        and other["y"] < one["y"] + one["height"]
    )


def rule_faults(body: Body, channels: set[str]) -> Iterator[str]:
    """What SigNoz would refuse in a rule that has the right shape, where these channels exist."""
    condition = body["condition"]
    if not body["alert"]:
        yield "alert: field is required"
    if body.get("version", "v5") != "v5":
        yield f"version: only v5 is supported, got {json.dumps(body['version'])}"
    if body.get("schemaVersion") != "v2alpha1":
        yield f'schemaVersion: this stand-in takes "v2alpha1" only, got {json.dumps(body.get("schemaVersion"))}'
    for field in ("evaluation", "notificationSettings"):
        if field not in body:
            yield f'{field}: field is required for schemaVersion "v2alpha1"'
    renotify = body.get("notificationSettings", {}).get("renotify", {})
    if renotify.get("enabled") and not renotify.get("interval"):
        yield "notificationSettings.renotify.interval: must be a positive duration when renotify is enabled"
    for state in renotify.get("alertStates") or []:
        if state not in ("firing", "nodata"):
            yield f"invalid alert state: {state}"
    queries = condition["compositeQuery"]["queries"] or []
    if not queries:
        yield "condition.compositeQuery.queries: must have at least one query"
    selected = condition.get("selectedQueryName", "")
    if selected and selected not in {query["spec"].get("name") for query in queries}:
        yield f'condition.selectedQueryName: "{selected}" does not match any query in compositeQuery'
    for query in queries:
        if query["type"] == "builder_query":
            yield from _query_faults(query["spec"])
    yield from _formula_faults([(_PLUGINS[query["type"]], query["spec"]) for query in queries])
    for labels, what in ((body.get("labels", {}), "label"), (body.get("annotations", {}), "annotation")):
        for name in labels:
            if not re.fullmatch(r"[A-Za-z_.][A-Za-z0-9_.]*", name):
                yield f"invalid {what} name: {name}"
    if "thresholds" not in condition:
        yield 'condition.thresholds: field is required for schemaVersion "v2alpha1"'
        return
    thresholds = condition["thresholds"]["spec"] or []
    named = {channel for threshold in thresholds for channel in threshold.get("channels") or []}
    if unknown := sorted(named - channels):
        yield f"channels: the following channels do not exist: [{' '.join(unknown)}]"
