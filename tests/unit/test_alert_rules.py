"""Every alert can be told from its files: it has its tests, its page, its label, and names only what is served."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from telemetry.catalogue import known_series

promql = pytest.importorskip("promql_parser", reason="promql-parser, of the extra dev, is not installed")

ROOT = Path(__file__).resolve().parents[2]
# deploy/ is no package: what is there is run from a checkout
_RULES = runpy.run_path(str(ROOT / "deploy" / "prometheus" / "quick_rules.py"))
load_rules, shortened, write_rules = (_RULES[name] for name in ("load_rules", "shortened", "write_rules"))
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"

SEED = {
    "SchedulerJobFailed": "critical",
    "SchedulerJobSlow": "warning",
    "HighErrorRate": "warning",
    "SlowAPIResponse": "warning",
    "MetricsNotCollected": "critical",
    "SchedulerDown": "critical",
    "AIDecisionStalled": "warning",
}
OURS = {
    *("WorkerDown", "NotifierDown", "QueueBacklog", "QueueWaitLong", "TaskExpired", "TaskDeadlineExceeded"),
    *("TaskRejected", "TaskPublishFailed", "TaskRedelivered", "EventLoopStuck", "VenueDown", "VenueThrottled"),
    *("MarketDataStale", "TelemetryNotExported", "DatabaseDown", "RedisDown", "AlertsSpooled", "AlertsNotDelivered"),
    *("TelegramUnusable", "AlertsDead", "OrdersUnproven", "CircuitBreakerTripped", "ClockOff", "CredentialExpiring"),
    *("BackupTooOld", "BackupCopyTooOld"),
    *("DiskFull", "DiskFilling", "HostHot", "HostUndervoltage", "HostMemoryShort", "RedisNearlyFull", "RedisNotSaving"),
}
PORTS = {
    "autotrader-worker-upbit": 9101,
    "autotrader-worker-kis": 9102,
    "autotrader-worker-yfinance": 9103,
    "autotrader-beat": 9104,
    "autotrader-notifier": 9105,
    "autotrader-api": 9106,
}
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

# added by Prometheus to whatever it scrapes
SCRAPED = frozenset({"job", "instance"})


def rules_of(files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Every alerting rule by its name; a name that stands twice is an error."""
    found: dict[str, dict[str, Any]] = {}
    for text in files.values():
        for group in yaml.safe_load(text)["groups"]:
            for rule in group["rules"]:
                assert rule["alert"] not in found
                found[rule["alert"]] = rule
    return found


RULES = rules_of(load_rules())


def served() -> dict[str, frozenset[str]]:
    """The labels of every series there may be: of our processes and of the exporters."""
    exporters = json.loads((PROMETHEUS / "exporters.json").read_text(encoding="utf-8"))
    return {name: frozenset(labels) | SCRAPED for name, labels in {**known_series(), **exporters}.items()}


def panels() -> Iterator[Any]:
    """(where, expression) of every Prometheus query of the dashboards, with Grafana's own variables filled in."""
    for file in DASHBOARDS:
        board = json.loads(file.read_text(encoding="utf-8"))
        queries = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", ())]
        queries += [("annotations", note) for note in board["annotations"]["list"]]
        for title, target in queries:
            if "expr" in target:
                expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "6h")
                yield pytest.param(expression, id=f"{file.stem}: {title}: {expression[:40]}")


def parts(node: Any) -> list[Any]:
    """What an expression is made of, itself first."""
    found = [node]
    for name in ("expr", "lhs", "rhs", "args", "param", "vector_selector"):
        below = getattr(node, name, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None:
                found += parts(child)
    return found


def selectors(node: Any) -> list[Any]:
    return [part for part in parts(node) if type(part).__name__ == "VectorSelector"]


def unknown(expression: str) -> list[str]:
    """Metrics and labels in an expression that nothing serves."""
    known = served()
    tree = promql.parse(expression)
    found = []
    for selector in selectors(tree):
        if selector.name not in known:
            found.append(f"no series {selector.name}")
            continue
        named = {matcher.name for matcher in selector.matchers.matchers}
        found += [f"{selector.name} has no label {label}" for label in sorted(named - known[selector.name])]
    for part in parts(tree):
        there = {label for selector in selectors(part) for label in known.get(selector.name, ())} | made_by(part)
        found += [f"nothing below has the label {label}" for label in sorted(labels_of(part) - there)]
    return found


def labels_of(part: Any) -> set[str]:
    """The labels that an aggregation groups by, that two sides are matched on, or that a new one is made from."""
    if type(part).__name__ == "AggregateExpr" and part.modifier:
        return set(part.modifier.labels)
    if type(part).__name__ == "BinaryExpr" and part.modifier and part.modifier.matching:
        return set(part.modifier.matching.labels)
    if type(part).__name__ == "Call" and part.func.name == "label_replace" and part.args[3].val:
        return {part.args[3].val}
    return set()


def made_by(part: Any) -> set[str]:
    return {
        below.args[1].val
        for below in parts(part)
        if type(below).__name__ == "Call" and below.func.name == "label_replace"
    }


def test_the_rules_are_those_that_were_agreed_on() -> None:
    assert set(RULES) == OURS | set(SEED)
    assert {name: RULES[name]["labels"]["severity"] for name in SEED} == SEED


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_alert_says_how_bad_it_is_and_what_to_do_in_korean(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["labels"]["component"]
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    for text in (annotations["summary"], annotations["description"]):
        assert re.search("[가-힣]{2}", text)
    assert annotations["runbook_url"] == f"docs/runbooks/{name}.md"
    # the message cuts what is longer, with values in place of the templates
    assert len(annotations["summary"]) <= 60
    assert len(re.sub(r"{{.*?}}", "", annotations["description"])) <= 120


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(RULES)


def cases() -> dict[str, list[bool]]:
    """By alert, whether each of its tests expects it to fire."""
    found: dict[str, list[bool]] = {}
    for file in (PROMETHEUS / "tests").glob("*.test.yml"):
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for asked in test["alert_rule_test"]:
                found.setdefault(asked["alertname"], []).append(bool(asked["exp_alerts"]))
    return found


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    assert {name for name, fires in cases().items() if set(fires) == {True, False}} == set(RULES)


def fed_series() -> Iterable[Any]:
    for file in sorted((PROMETHEUS / "tests").glob("*.test.yml")):
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for given in test.get("input_series", ()):
                yield given["series"]


def test_the_tests_of_the_rules_feed_only_series_that_are_served() -> None:
    assert {fault for series in set(fed_series()) for fault in unknown(series)} == set()


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_names_only_what_is_served(name: str) -> None:
    assert unknown(RULES[name]["expr"]) == []


@pytest.mark.parametrize("expression", list(panels()))
def test_a_panel_names_only_what_is_served(expression: str) -> None:
    assert unknown(expression) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("celery_queue_size > 1", ["no series celery_queue_size"]),
        ('sum(celery_queue_length{name="upbit"})', ["celery_queue_length has no label name"]),
        ("sum by (task) (celery_queue_length)", ["nothing below has the label task"]),
        ("celery_queue_length and on (task) up", ["nothing below has the label task"]),
        ("rate(scheduler_job_duration_seconds{job_name='x'}[5m])", ["no series scheduler_job_duration_seconds"]),
        ("max by (le, queue) (celery_task_queue_wait_seconds_bucket)", []),
    ],
)
def test_a_name_that_nothing_serves_is_found(expression: str, said: list[str]) -> None:
    assert unknown(expression) == said


def test_a_rule_asks_prometheus_for_no_more_than_it_shows() -> None:
    for name, rule in RULES.items():
        texts = " ".join(rule["annotations"].values())
        tree = promql.parse(rule["expr"])
        there = {label for item in selectors(tree) for label in served()[item.name]} | made_by(tree)
        assert set(re.findall(r"\$labels\.(\w+)", texts)) <= there, name


def test_every_process_has_its_scrape_job_on_its_port_here_and_in_compose() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {scrape["job_name"]: scrape for scrape in config["scrape_configs"]}
    # the collector runs in few places: it is looked for by its name
    assert jobs.pop("collector").keys() == {"job_name", "dns_sd_configs"}
    assert set(jobs) == {*PORTS, "postgres", "redis", "node", "prometheus"}
    files = {name for scrape in jobs.values() for found in scrape["file_sd_configs"] for name in found["files"]}
    alerting = config["alerting"]["alertmanagers"][0]["file_sd_configs"][0]["files"]
    for folder in ("targets", "targets-host"):
        there = {f"targets/{path.name}" for path in (PROMETHEUS / folder).iterdir()}
        assert there == files | set(alerting)
        for job, port in PORTS.items():
            [group] = yaml.safe_load((PROMETHEUS / folder / f"{job}.yml").read_text(encoding="utf-8"))
            host = job.removeprefix("autotrader-") if folder == "targets" else "127.0.0.1"
            assert group["targets"] == [f"{host}:{port}"]


def without_durations(expression: str) -> str:
    bare = re.sub(r"(\[|offset )\d+(ms|[smhd])", r"\1", expression)
    return re.sub(r"\d+(\.\d+)?(?=[ ),]*# seconds)", "", bare)


@pytest.mark.parametrize("factor", [0.5, 1 / 60, 1 / 1000])
def test_shortened_rules_differ_in_durations_only(factor: float) -> None:
    quick = rules_of(shortened(load_rules(), factor))
    assert set(quick) == set(RULES)
    for name, rule in quick.items():
        promql.parse(rule["expr"])
        assert without_durations(rule["expr"]) == without_durations(RULES[name]["expr"])
        untimed = {"expr": "", "for": "", "keep_firing_for": ""}
        assert {**rule, **untimed} == {**RULES[name], **untimed}


def test_the_longest_wait_is_shortened_by_the_factor_and_ranges_keep_some_scrapes() -> None:
    quick = rules_of(shortened(load_rules(), 1 / 60))
    assert quick["AIDecisionStalled"]["for"] == "120s"
    assert "[60s]" in quick["AIDecisionStalled"]["expr"]
    assert "[5s]" in quick["TelemetryNotExported"]["expr"]
    assert "> 5 # seconds" in quick["OrdersUnproven"]["expr"]
    # a limit that is no waiting time stays
    assert "/ 86400 < 14" in quick["CredentialExpiring"]["expr"]
    assert quick["QueueBacklog"]["expr"] == RULES["QueueBacklog"]["expr"]


def test_one_alert_can_be_shortened_less_than_the_others() -> None:
    quick = rules_of(shortened(load_rules(), {"*": 1 / 60, "OrdersUnproven": 0.5, "WorkerDown": 0.5}))
    assert "> 150 # seconds" in quick["OrdersUnproven"]["expr"]
    assert (quick["WorkerDown"]["for"], quick["WorkerDown"]["keep_firing_for"]) == ("30s", "30s")
    assert quick["NotifierDown"]["for"] == "1s"


def test_what_depends_on_a_period_of_the_beat_is_not_shortened() -> None:
    # a heartbeat comes every 30 s however short the rules are
    quick = rules_of(shortened(load_rules(), 1 / 60))
    assert ") > 120" in quick["WorkerDown"]["expr"]
    assert ") > 60\n" in quick["SchedulerDown"]["expr"]


def test_rules_are_written_as_files(tmp_path: Path) -> None:
    write_rules(load_rules(), tmp_path / "rules")
    assert load_rules(tmp_path / "rules") == load_rules()


def test_alertmanager_suppresses_only_alerts_that_there_are() -> None:
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    matchers = [
        matcher
        for rule in config["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        if matcher.startswith("alertname")
    ]
    named = {name for matcher in matchers for name in re.findall(r"[A-Z]\w+", matcher)}
    assert named
    assert named <= set(RULES)
    # an alert never suppresses itself, nor what suppresses it
    for rule in config["inhibit_rules"]:
        sources, targets = (
            set(re.findall(r"[A-Z]\w+", str(rule[end]))) for end in ("source_matchers", "target_matchers")
        )
        assert not sources & targets


def test_the_trading_bots_dashboard_has_the_ten_panels_of_the_guide() -> None:
    board = json.loads((DEPLOY / "grafana/dashboards/trading-bot-dashboard.json").read_text(encoding="utf-8"))
    assert board["uid"] == "trading-bot-dashboard"
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for panel in board["panels"]:
        if panel["type"] == "row":
            row = rows.setdefault(panel["title"], [])
        else:
            row.append((panel["type"], panel["title"], " ".join(target["expr"] for target in panel["targets"])))
    wanted = {
        "스케줄러 상태": [
            ("piechart", "스케줄러 작업 성공/실패", ["scheduler_job_success_total", "scheduler_job_failure_total"]),
            ("timeseries", "작업 실행 시간 추이", ["scheduler_job_duration_seconds_"]),
        ],
        "AI 판단 분석": [
            ("piechart", "AI 판단 분포", ["sum by (decision)", "ai_decision_total"]),
            ("timeseries", "AI 판단 추이", ["rate(ai_decision_total[5m])"]),
        ],
        "시스템 상태": [
            ("stat", "Backend 상태", ['up{job="autotrader-api"}']),
            ("stat", "총 에러 건수", ["bot_errors_total"]),
            ("stat", "API 응답 시간 (p95)", ["histogram_quantile(0.95", "http_request_duration_seconds_bucket[5m]"]),
        ],
        "거래 & 포트폴리오": [
            ("stat", "총 거래 횟수", ["trades_total"]),
            ("timeseries", "포트폴리오 가치 추이", ["portfolio_value_krw"]),
            ("timeseries", "시간별 스케줄러 성공/실패", ["success_total[1h]", "failure_total[1h]"]),
        ],
    }
    assert {row: [(kind, title) for kind, title, _ in found] for row, found in rows.items()} == {
        row: [(kind, title) for kind, title, _ in found] for row, found in wanted.items()
    }
    for row, found in wanted.items():
        for (_, _, expressions), (_, _, pieces) in zip(rows[row], found, strict=True):
            assert [piece for piece in pieces if piece not in expressions] == []


def test_dashboards_ask_the_data_sources_that_are_provisioned() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "datasources.yml").read_text(encoding="utf-8"))
    there = {(source["uid"], source["type"]) for source in sources["datasources"]}
    ids = []
    for file in DASHBOARDS:
        board = json.loads(file.read_text(encoding="utf-8"))
        assert board["uid"] == file.stem
        ids.append([panel["id"] for panel in board["panels"]])
        asked = {
            (target["datasource"]["uid"], target["datasource"]["type"])
            for panel in board["panels"]
            for target in (panel, *panel.get("targets", ()))
            if "datasource" in target
        }
        assert asked
        assert asked <= there
    assert all(len(set(numbers)) == len(numbers) for numbers in ids)
    assert {path.stem for path in DASHBOARDS} == {"trading-bot-dashboard", "workers-and-queues", "postgres"}
