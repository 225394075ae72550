"""What deploy/signoz brings into SigNoz: names that exist, alerts that can be acted on, files that fit together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from sandbox.signoz.checks import dashboard_faults, rule_faults
from sandbox.signoz.schema import faults
from telemetry.instruments import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
SIGNOZ = ROOT / "deploy/signoz"
CHANNEL = "autotrader-telegram"

# Attributes of every measurement by its resource, beside those the catalogue gives it.
RESOURCE = {"service.name", "deployment.environment"}
# Attributes of our spans that a dashboard may ask for; the tests of SigNoz' Celery page hold that spans carry them.
SPAN_ATTRIBUTES = {"celery.action", "celery.task_name", "celery.state", "celery.hostname"}
SPAN_FIELDS = {"duration_nano"}


def read(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return body


DASHBOARDS = {path.stem: read(path) for path in sorted((SIGNOZ / "dashboards").glob("*.json"))}
RULES = {path.stem: read(path) for path in sorted((SIGNOZ / "rules").glob("*.json"))}
FILES = DASHBOARDS | RULES


def queries(part: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every query of a body: its kind and spec."""
    if isinstance(part, dict):
        if (kind := part.get("type")) in ("builder_query", "builder_formula", "promql"):
            yield kind, part["spec"]
        elif part.get("kind") in ("signoz/BuilderQuery", "signoz/Formula", "signoz/PromQLQuery"):
            yield {"B": "builder_query", "F": "builder_formula", "P": "promql"}[part["kind"][7]], part["spec"]
        else:
            for value in part.values():
                yield from queries(value)
    elif isinstance(part, list):
        for value in part:
            yield from queries(value)


def attributes_of(metric: str) -> set[str]:
    """The attributes of a metric as SigNoz names it. Raises `KeyError` for one that is not in the catalogue."""
    base = metric.removesuffix(".bucket")
    instrument = CATALOGUE[base]
    if (base != metric) != (instrument.kind == "histogram"):
        raise KeyError(metric)
    return set(instrument.attributes) | RESOURCE


def named_in(filter_expression: str) -> set[str]:
    """The attributes a filter expression asks for."""
    return set(re.findall(r"([A-Za-z_][\w.]*)\s*(?:=|!=|IN\b|LIKE\b|EXISTS\b)", filter_expression))


def promql_parts(query: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels of a PromQL query with quoted names."""
    metrics, labels = set(), set()
    for selector in re.findall(r"\{([^}]*)\}", query):
        for part in re.findall(r'"([^"]+)"\s*(=~|!~|!=|=)?', re.sub(r'(=~|!~|!=|=)\s*"[^"]*"', r"\1", selector)):
            (labels if part[1] else metrics).add(part[0])
    for group in re.findall(r"by \(([^)]*)\)", query):
        labels |= {label.strip() for label in group.split(",")}
    return metrics, labels


@pytest.mark.parametrize("name", FILES)
def test_every_metric_and_attribute_exists_in_the_catalogue(name: str) -> None:
    found = list(queries(FILES[name]))
    assert found
    for kind, spec in found:
        if kind == "promql":
            metrics, labels = promql_parts(spec["query"])
            assert metrics
            for metric in metrics:
                assert labels <= attributes_of(metric)
        elif kind == "builder_query":
            asked = {key["name"] for key in spec.get("groupBy", [])}
            asked |= named_in(spec.get("filter", {}).get("expression", ""))
            if spec["signal"] == "traces":
                assert asked <= SPAN_ATTRIBUTES | RESOURCE
                for aggregation in spec["aggregations"]:
                    assert set(re.findall(r"\((\w+)\)", aggregation["expression"])) <= SPAN_FIELDS
                continue
            assert spec["signal"] == "metrics"
            for aggregation in spec["aggregations"]:
                assert asked <= attributes_of(aggregation["metricName"])


@pytest.mark.parametrize("name", FILES)
def test_a_query_aggregates_as_its_instrument_allows(name: str) -> None:
    for kind, spec in queries(FILES[name]):
        if kind != "builder_query" or spec["signal"] != "metrics":
            continue
        for aggregation in spec["aggregations"]:
            instrument = CATALOGUE[aggregation["metricName"].removesuffix(".bucket")]
            over_time, over_space = aggregation["timeAggregation"], aggregation["spaceAggregation"]
            match instrument.kind:
                case "histogram":
                    assert (over_time, over_space[0]) == ("", "p")
                case "counter":
                    assert over_time in ("rate", "increase")
                    assert over_space == "sum"
                case _:
                    assert over_time in ("latest", "max", "min", "avg")


@pytest.mark.parametrize("name", FILES)
def test_a_legend_shows_only_what_its_query_groups_by(name: str) -> None:
    for kind, spec in queries(FILES[name]):
        shown = set(re.findall(r"\{\{([\w.]+)\}\}", spec.get("legend", "")))
        if kind == "promql":
            assert shown <= promql_parts(spec["query"])[1]
        elif kind == "builder_query":
            assert shown == {key["name"] for key in spec.get("groupBy", [])} or spec.get("disabled")


def test_metrics_of_no_catalogue_are_found_out() -> None:
    for metric in ("celery.queue.lenght", "api_calls", "api.call.duration", "bot_running.bucket"):
        with pytest.raises(KeyError):
            attributes_of(metric)
    assert promql_parts('max by (worker) ({"a.b", "c"=~"d.*"}) - time()') == ({"a.b"}, {"c", "worker"})
    assert named_in("status = 'error' AND deployment.environment IN $environment") == {
        "status",
        "deployment.environment",
    }


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_one_that_signoz_takes(name: str) -> None:
    body = DASHBOARDS[name]
    assert body["name"] == name
    assert faults("DashboardtypesPostableDashboardV2", body) == []
    assert faults("DashboardtypesUpdatableDashboardV2", body) == []
    assert list(dashboard_faults(body)) == []
    placed = [item["content"]["$ref"] for layout in body["spec"]["layouts"] for item in layout["spec"]["items"]]
    assert sorted(placed) == sorted(f"#/spec/panels/{key}" for key in body["spec"]["panels"])


def test_the_four_panels_of_the_analysis_are_there_by_their_names() -> None:
    first = DASHBOARDS["autotrader-analysis"]["spec"]
    titles = [panel["spec"]["display"]["name"] for panel in first["panels"].values()]
    assert titles[:4] == [
        "Analysis Executions by Asset Type",
        "Analysis Duration (P50, P95, P99)",
        "Investment Decision Distribution",
        "API Call Success Rate",
    ]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_one_that_signoz_takes(name: str) -> None:
    assert RULES[name]["alert"] == name
    assert faults("RuletypesPostableRule", RULES[name]) == []
    assert list(rule_faults(RULES[name], {CHANNEL})) == []


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_in_korean_what_is_wrong_and_where_to_read_on(name: str) -> None:
    rule = RULES[name]
    notes, labels = rule["annotations"], rule["labels"]
    assert re.search("[가-힣]", notes["summary"])
    assert re.search("[가-힣]", notes["description"])
    assert notes["runbook_url"] == f"docs/runbooks/{name.partition('-')[0]}.md"
    assert labels["severity"] in ("critical", "warning")
    assert labels["component"]
    for threshold in rule["condition"]["thresholds"]["spec"]:
        assert threshold["channels"] == [CHANNEL]
        assert threshold["name"] == labels["severity"]


def test_every_process_that_must_live_has_a_rule_that_notices_its_silence() -> None:
    noticed = {name for name, rule in RULES.items() if rule["condition"].get("alertOnAbsent")}
    assert noticed == {"SchedulerDown", "NotifierDown", "WorkerDown-upbit", "WorkerDown-kis", "WorkerDown-yfinance"}
    for name in noticed:
        assert RULES[name]["condition"]["absentFor"] >= 1
        assert "nodata" in RULES[name]["notificationSettings"]["renotify"]["alertStates"]


COMPOSE: dict[str, Any] = yaml.safe_load((SIGNOZ / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
ONCE = {"functions", "migrator"}


def test_foundry_installs_the_same_release() -> None:
    casting = yaml.safe_load((SIGNOZ / "casting.yaml").read_text(encoding="utf-8"))["spec"]
    theirs = {part["spec"]["image"] for part in casting.values() if isinstance(part, dict) and "spec" in part}
    assert theirs == {service["image"] for service in SERVICES.values()}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_bounded_and_starts_again(name: str) -> None:
    service = SERVICES[name]
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert re.search(r"\d+\.\d+", tag)
    assert service["mem_limit"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == ("on-failure" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (SIGNOZ / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]


def test_services_wait_for_what_they_need() -> None:
    for name, service in SERVICES.items():
        for needed, condition in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert condition == {"condition": expected}, f"{name} waits for {needed}"
    assert set(SERVICES["signoz"]["depends_on"]) == {"migrator", "functions", "metastore"}
    assert set(SERVICES["collector"]["depends_on"]) == {"migrator", "signoz"}


def test_signoz_sends_nothing_home_and_nobody_else_can_sign_up_as_its_administrator() -> None:
    environment = SERVICES["signoz"]["environment"]
    assert environment["SIGNOZ_STATSREPORTER_ENABLED"] == environment["SIGNOZ_ANALYTICS_ENABLED"] == "false"
    assert environment["SIGNOZ_USER_ROOT_ENABLED"] == "true"
    asked = set(re.findall(r"\$\{(\w+):\?", (SIGNOZ / "compose.yaml").read_text(encoding="utf-8")))
    example = set(re.findall(r"^(\w+)=$", (SIGNOZ / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert asked == example


def test_the_collectors_pipelines_use_what_is_declared_and_declare_what_is_used() -> None:
    config = yaml.safe_load((SIGNOZ / "collector.yaml").read_text(encoding="utf-8"))
    used: dict[str, set[str]] = {part: set() for part in ("receivers", "processors", "exporters", "connectors")}
    for pipeline in config["service"]["pipelines"].values():
        for part, names in pipeline.items():
            for component in names:
                used["connectors" if component in config["connectors"] else part].add(component)
    for part, names in used.items():
        assert names == set(config[part])
    assert set(config["service"]["extensions"]) == set(config["extensions"])


def test_clickhouse_knows_its_keeper_and_itself_by_the_names_of_the_services() -> None:
    config = ElementTree.parse(SIGNOZ / "clickhouse/config.xml").getroot()
    keeper = ElementTree.parse(SIGNOZ / "clickhouse/keeper.xml").getroot()
    ElementTree.parse(SIGNOZ / "clickhouse/users.xml")
    assert config.findtext("zookeeper/node/host") in SERVICES
    assert config.findtext("zookeeper/node/port") == keeper.findtext("keeper_server/tcp_port")
    assert config.findtext("remote_servers/cluster/shard/replica/host") in SERVICES
    assert keeper.findtext("keeper_server/raft_configuration/server/hostname") in SERVICES


def test_docker_compose_takes_the_file() -> None:
    docker = shutil.which("docker")
    if shutil.which("docker-compose"):
        command = ["docker-compose"]
    elif docker and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0:
        command = ["docker", "compose"]
    else:
        pytest.skip("neither docker-compose nor the compose plugin of docker is installed")
    example = (SIGNOZ / ".env.example").read_text(encoding="utf-8")
    environment = dict.fromkeys(re.findall(r"^(\w+)=$", example, re.MULTILINE), "x")
    done = subprocess.run(
        [*command, "-f", str(SIGNOZ / "compose.yaml"), "config"],
        env=environment | {"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)


@pytest.mark.parametrize("name", FILES)
def test_prometheus_can_read_every_promql_query(name: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed")
    asked = [spec["query"] for kind, spec in queries(FILES[name]) if kind == "promql"]
    # a quoted name is Prometheus 3's way to write what all versions know as __name__, or as a plain label
    plain = [re.sub(r'\{"([^"]+)"', r'{__name__="\1"', query) for query in asked]
    rules = [{"record": "x:y", "expr": re.sub(r', "(\w+)"(=~|=)', r", \1\2", query)} for query in plain]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", "--lint=none", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


QUANTILES = (
    # bounds, counts, level, and what Prometheus' histogram_quantile says
    ("0.1, 1, inf", "5, 9, 10", "0.500", "0.1"),
    ("inf, 0.1, 1", "10, 5, 9", "0.700", "0.55"),
    ("0.1, 1, inf", "5, 9, 10", "0.950", "1"),
    ("0.1, 1, inf", "10, 10, 10", "0.500", "0.05"),
    ("-1, 1, inf", "5, 9, 10", "0.100", "-1"),
    ("0.1, 1, inf", "0, 0, 0", "0.500", "nan"),
    ("0.1, 1", "5, 9", "0.500", "nan"),
)


def test_percentiles_in_sql_are_those_of_prometheus() -> None:
    if not shutil.which("clickhouse"):
        pytest.skip("clickhouse is not installed")
    function = (SIGNOZ / "clickhouse/histogram_quantile.sql").read_text(encoding="utf-8")
    asked = [
        f"round(histogramQuantile([{bounds}]::Array(Float64), [{counts}]::Array(Float64), {level}), 9)"
        for bounds, counts, level, _ in QUANTILES
    ]
    query = f"{function} SELECT arrayJoin([{', '.join(asked)}])"
    done = subprocess.run(["clickhouse", "local", "--query", query], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [expected for _, _, _, expected in QUANTILES]
