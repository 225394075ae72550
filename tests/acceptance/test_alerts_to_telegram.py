"""From a metric to the chat: real Prometheus and Alertmanager with our configuration, and the sandbox's Telegram.

Only addresses, intervals and the durations of the rules are other than in production.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from nodes import ROOT
from world import TOKEN, wait_for

from sandbox.client import SandboxControl, answers
from sandbox.local.server import free_port
from sandbox.processes import ProcessGroup

PROGRAMS = ("prometheus", "prometheus-alertmanager")
pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in PROGRAMS), reason=f"{' and '.join(PROGRAMS)} are not on PATH"
)

CHAT = "-1003003"
# deploy/ is no package: what is there is run from a checkout
_RULES = runpy.run_path(str(ROOT / "deploy" / "prometheus" / "quick_rules.py"))
load_rules, shortened, write_rules = (_RULES[name] for name in ("load_rules", "shortened", "write_rules"))
FACTOR = 1 / 30
WORKER, BEAT, NOTIFIER = "autotrader-worker-upbit", "autotrader-beat", "autotrader-notifier"
USABLE = 'autotrader_telegram_usable{chat="error"}'
MOST_UTF16_UNITS = 4096


class Exporter:
    """One process as Prometheus sees it: a page of metrics, which may go away and come back at the same address."""

    def __init__(self, *names: str) -> None:
        self.values = dict.fromkeys(names, 0.0)
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        exporter = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(exporter.text().encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Page)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def text(self) -> str:
        """What is alive has just shown it."""
        now = time.time()
        alive = ("_last_tick_seconds", "_last_heartbeat_seconds", "_last_sent_seconds")
        return "".join(
            f"{name} {now if name.partition('{')[0].endswith(alive) else value}\n"
            for name, value in self.values.items()
        )


@dataclass
class Watch:
    """The two programs, what they watch, and the chat."""

    exporters: dict[str, Exporter]
    alertmanager: str
    prometheus: str
    sandbox: SandboxControl
    receiver: Receiver

    def messages(self) -> list[dict[str, Any]]:
        received = self.sandbox.get("telegram/messages")
        return [message for message in received if str(message["chat_id"]) == CHAT]

    def texts(self, about: str) -> list[str]:
        return [message["text"] for message in self.messages() if about in message["text"].partition("\n")[0]]

    def raise_alerts(self, alerts: list[dict[str, Any]]) -> None:
        """Give alerts to Alertmanager as Prometheus does."""
        request = urllib.request.Request(
            f"{self.alertmanager}/api/v2/alerts",
            json.dumps(alerts).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            assert reply.status == 200

    def alerts(self) -> set[str]:
        """What fires in Prometheus."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{self.prometheus}/api/v1/alerts"
        ) as reply:
            alerts = json.load(reply)["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def configure_prometheus(folder: Path, addresses: dict[str, str]) -> None:
    """The configuration of `deploy/` with quicker intervals, shortened rules and other addresses."""
    source = ROOT / "deploy" / "prometheus"
    text = (source / "prometheus.yml").read_text(encoding="utf-8")
    quick = re.sub(r"^(  (?:scrape|evaluation)_(?:interval|timeout)): \d+s$", r"\1: 1s", text, flags=re.MULTILINE)
    assert quick.count(": 1s") == 3
    folder.mkdir()
    (folder / "prometheus.yml").write_text(quick, encoding="utf-8")
    write_rules(shortened(load_rules(), FACTOR), folder / "rules")
    (folder / "targets").mkdir()
    for path in (source / "targets").iterdir():
        if path.stem not in addresses:
            # an exporter that does not run here
            continue
        target = json.dumps([{"targets": [addresses[path.stem]]}])
        (folder / "targets" / path.name).write_text(target, encoding="utf-8")


class Receiver:
    """Whoever else is told: an address that takes Alertmanager's webhook."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str]] = []
        receiver = self

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.alerts += [(alert["labels"]["alertname"], alert["status"]) for alert in told["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?template=alertmanager&of=the%20test"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def configure_alertmanager(folder: Path, telegram: str, webhook: str) -> None:
    folder.mkdir()
    file = folder / "alertmanager.yml"
    env = {"PATH": os.environ["PATH"], "TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": CHAT, "TELEGRAM_BASE_URL": telegram}
    env["ALERT_WEBHOOK_URL"] = webhook
    subprocess.run(["sh", ROOT / "deploy" / "alertmanager" / "render.sh", file], env=env, check=True, timeout=30)
    text = file.read_text(encoding="utf-8")
    quick = text.replace("group_wait: 10s", "group_wait: 1s").replace("group_interval: 1m", "group_interval: 2s")
    assert quick != text
    file.write_text(quick, encoding="utf-8")


@pytest.fixture(scope="module")
def running(sandbox: SandboxControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    exporters = {
        WORKER: Exporter('celery_worker_last_heartbeat_seconds{worker="upbit@here"}'),
        "autotrader-worker-kis": Exporter('celery_worker_last_heartbeat_seconds{worker="kis@here"}'),
        "autotrader-worker-yfinance": Exporter('celery_worker_last_heartbeat_seconds{worker="yfinance@here"}'),
        BEAT: Exporter("celery_beat_last_tick_seconds"),
        NOTIFIER: Exporter(USABLE, "autotrader_alerts_dead", 'celery_queue_length{queue="upbit"}'),
        "autotrader-api": Exporter('bot_running{process="api"}'),
        "postgres": Exporter("pg_up"),
    }
    exporters["postgres"].values["pg_up"] = 1
    exporters[NOTIFIER].values[USABLE] = 1
    prometheus, alertmanager = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    addresses = {name: f"127.0.0.1:{exporter.port}" for name, exporter in exporters.items()}
    addresses |= {"prometheus": prometheus[7:], "alertmanager": alertmanager[7:]}
    folder = tmp_path_factory.mktemp("monitoring")
    configure_prometheus(folder / "prometheus", addresses)
    receiver = Receiver()
    configure_alertmanager(folder / "alertmanager", f"{sandbox.url}/telegram", receiver.url)
    for exporter in exporters.values():
        exporter.start()
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_PROXY": "*"}
    try:
        with ProcessGroup(folder) as group:
            own = [f"--config.file={folder}/alertmanager/alertmanager.yml", f"--storage.path={folder}/am"]
            own += [f"--web.listen-address={alertmanager[7:]}", "--cluster.listen-address="]
            group.start("alertmanager", ["prometheus-alertmanager", *own], env=env)
            own = [f"--config.file={folder}/prometheus/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
            own += [f"--web.listen-address={prometheus[7:]}", "--rules.alert.resend-delay=2s"]
            group.start("prometheus", ["prometheus", *own], env=env)
            for name, url in (("Alertmanager", alertmanager), ("Prometheus", prometheus)):
                group.wait_until(lambda url=url: answers(f"{url}/-/ready"), 60, f"the start of {name}")  # type: ignore[misc]
            yield Watch(exporters, alertmanager, prometheus, sandbox, receiver)
    finally:
        receiver.stop()
        for exporter in exporters.values():
            exporter.stop()


@pytest.fixture
def watch(running: Watch) -> Watch:
    """An empty chat, and nothing wrong."""
    wait_for("every alert of the test before is over", lambda: not running.alerts(), 60)
    running.sandbox.delete("state")
    return running


def test_an_alert_reaches_the_chat_in_korean_and_so_does_its_end(watch: Watch) -> None:
    notifier = watch.exporters[NOTIFIER]
    notifier.values["autotrader_alerts_dead"] = 3
    [fired] = wait_for("the alert is in the chat", lambda: watch.texts("AlertsDead"), 60)
    assert fired == (
        "⚠️ 경고 · AlertsDead\n"
        "• 전송 포기된 알림\n"
        "  전송을 포기한 알림이 3건 보관되어 있습니다. 내용을 확인하고 정리하세요.\n"
        "대응: docs/runbooks/AlertsDead.md"
    )
    notifier.values["autotrader_alerts_dead"] = 0
    texts = wait_for("its end is in the chat", lambda: len(found := watch.texts("AlertsDead")) > 1 and found, 60)
    assert texts[1:] == ["✅ 해소 · AlertsDead\n✔ 해소: 전송 포기된 알림"]
    # as plain text, so no label can break the message
    assert {message["parse_mode"] for message in watch.messages()} <= {None, ""}


def test_a_worker_that_is_gone_is_told_of_once_and_by_its_own_name(watch: Watch) -> None:
    worker = watch.exporters[WORKER]
    worker.stop()
    [fired] = wait_for("the alert is in the chat", lambda: watch.texts("WorkerDown"), 60)
    assert fired.startswith("🚨 긴급 · WorkerDown\n• 워커 중단\n  upbit 워커가 응답하지 않습니다.")
    wait_for("the same is seen by the collection of metrics", lambda: "MetricsNotCollected" in watch.alerts(), 60)
    # time enough for a message, were it not suppressed
    time.sleep(8)
    assert watch.texts("MetricsNotCollected") == []
    worker.start()
    wait_for("its end is in the chat", lambda: [text for text in watch.texts("WorkerDown") if "해소" in text], 60)
    assert watch.texts("WorkerDown")[-1] == "✅ 해소 · WorkerDown\n✔ 해소: 워커 중단 (upbit)"
    wait_for("all is well", lambda: not watch.alerts(), 60)
    assert watch.texts("MetricsNotCollected") == []


def test_what_telegram_may_not_be_able_to_tell_is_told_another_way_too(watch: Watch) -> None:
    notifier = watch.exporters[NOTIFIER]
    notifier.values |= {USABLE: 0, "autotrader_alerts_dead": 1}
    wait_for("the other way has it", lambda: ("TelegramUnusable", "firing") in watch.receiver.alerts, 90)
    # Telegram is tried all the same, and what is not about it goes there only
    assert wait_for("the chat has it", lambda: watch.texts("TelegramUnusable"), 60)[0].startswith("🚨 긴급")
    assert wait_for("the other alert is in the chat", lambda: watch.texts("AlertsDead"), 60)
    notifier.values |= {USABLE: 1, "autotrader_alerts_dead": 0}
    wait_for("the other way has its end", lambda: ("TelegramUnusable", "resolved") in watch.receiver.alerts, 60)
    assert {name for name, _ in watch.receiver.alerts} == {"TelegramUnusable"}


WORST = "𝕏<b>_*[`\\\"'\n\r\t&\u202e" * 400


def test_no_label_makes_a_message_too_long_or_malformed(watch: Watch) -> None:
    alerts = [
        {
            "labels": {"alertname": f"Test{WORST}", "severity": "critical", "market": f"{number}{WORST}"},
            "annotations": dict.fromkeys(("summary", "description"), f"{number}{WORST}") | {"runbook_url": WORST},
        }
        for number in range(40)
    ]

    def messages() -> list[dict[str, Any]]:
        """Those of these alerts: the end of an earlier one may be told meanwhile."""
        return [one for one in watch.messages() if "· Test" in one["text"]]

    watch.raise_alerts(alerts)
    [message] = wait_for("the message is in the chat", messages, 60)
    assert len(message["text"].encode("utf-16-le")) // 2 <= MOST_UTF16_UNITS
    assert "모두 40건" in message["text"]
    ended = [{**alert, "endsAt": "2026-01-01T00:00:00Z", "startsAt": "2025-01-01T00:00:00Z"} for alert in alerts]
    watch.raise_alerts(ended)
    wait_for("the end is in the chat", lambda: len(messages()) > 1, 60)
    text = messages()[-1]["text"]
    assert text.startswith("✅ 해소")
    assert len(text.encode("utf-16-le")) // 2 <= MOST_UTF16_UNITS
    assert "모두 40건 해소" in text
