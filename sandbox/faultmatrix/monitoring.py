"""Prometheus, Alertmanager and postgres_exporter on free ports, with the configuration of `deploy/`.

Only addresses, credentials and waiting times are replaced; expressions, labels, routes, inhibitions and texts are those
that production has.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from sandbox.client import answers
from sandbox.faultmatrix.ask import ask_json
from sandbox.faultmatrix.programs import Programs
from sandbox.local.server import free_port
from sandbox.processes import ProcessFailed

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
# a slow machine with two cores answers within two seconds, and a range holds five scrapes at least
SCRAPE_SECONDS, EVALUATE_SECONDS = 2, 1
SHORTEST_RANGE_SECONDS = 10.0
# of Alertmanager, instead of seconds, a minute and hours
GROUP_WAIT, GROUP_INTERVAL, REPEAT_INTERVAL = "1s", "2s", "1h"


class Monitoring:
    """The three programs as commands to start; `factors` are what waiting times of rules are multiplied by."""

    def __init__(self, programs: Programs, folder: Path, factors: Mapping[str, float]) -> None:
        self._programs = programs
        self._folder = folder
        self._factors = factors
        self.prometheus_url, self.alertmanager_url, self.exporter_url = (
            f"http://127.0.0.1:{free_port()}" for _ in range(3)
        )
        self._database_url = ""

    def configure(
        self, *, ports: Mapping[str, int], telegram_url: str, token: str, chat_id: str, database_url: str
    ) -> None:
        """Write the configuration files. `ports` are those of our processes by name."""
        for name in ("prometheus", "alertmanager"):
            (self._folder / name).mkdir(parents=True)
        self._database_url = database_url
        addresses = {f"autotrader-{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
        addresses |= {"postgres": _address(self.exporter_url), "prometheus": _address(self.prometheus_url)}
        addresses["alertmanager"] = _address(self.alertmanager_url)
        self._write_targets(addresses)
        quick = _rules()
        texts = quick.shortened(quick.load_rules(), self._factors, shortest_range=SHORTEST_RANGE_SECONDS)
        quick.write_rules(texts, self._folder / "rules")
        self._write("prometheus.yml", _prometheus())
        self._write("alertmanager.yml", self._alertmanager(telegram_url, token, chat_id))

    def commands(self) -> dict[str, tuple[list[str], dict[str, str]]]:
        """The command line of each program, and what its environment needs."""
        folder = self._folder
        prometheus = [
            str(self._programs.prometheus),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/prometheus",
            f"--web.listen-address={_address(self.prometheus_url)}",
            "--rules.alert.resend-delay=2s",
            "--log.level=warn",
        ]
        alertmanager = [
            str(self._programs.alertmanager),
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alertmanager",
            f"--web.listen-address={_address(self.alertmanager_url)}",
            "--cluster.listen-address=",
            "--log.level=info",
        ]
        exporter = [
            str(self._programs.postgres_exporter),
            f"--web.listen-address={_address(self.exporter_url)}",
            "--log.level=warn",
        ]
        return {
            "prometheus": (prometheus, {}),
            "alertmanager": (alertmanager, {}),
            "postgres_exporter": (exporter, {"DATA_SOURCE_NAME": self._database_url}),
        }

    def ready(self) -> bool:
        """Whether all three answer."""
        prometheus, alertmanager = (f"{url}/-/ready" for url in (self.prometheus_url, self.alertmanager_url))
        return answers(prometheus) and answers(alertmanager) and answers(f"{self.exporter_url}/metrics")

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = ask_json(f"{self.prometheus_url}/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def down(self) -> list[str]:
        """The jobs that Prometheus cannot scrape."""
        targets = ask_json(f"{self.prometheus_url}/api/v1/targets?state=active")["data"]["activeTargets"]
        return sorted({target["labels"]["job"] for target in targets if target["health"] != "up"})

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression. Raises `NoAnswer`, also for one that is malformed."""
        reply = ask_json(f"{self.prometheus_url}/api/v1/query?query={quote(expression)}")
        return list(reply["data"]["result"])

    def _write_targets(self, addresses: Mapping[str, str]) -> None:
        """The files of production with the addresses of this machine; their labels stay."""
        (self._folder / "targets").mkdir()
        for file in sorted((DEPLOY / "prometheus" / "targets").glob("*.yml")):
            if file.stem not in addresses:
                # an exporter that does not run here
                continue
            groups = yaml.safe_load(file.read_text("utf-8"))
            for group in groups:
                group["targets"] = [addresses[file.stem]]
            self._write(f"targets/{file.name}", groups)

    def _alertmanager(self, telegram_url: str, token: str, chat_id: str) -> dict[str, Any]:
        """What `render.sh` makes for production, with the waiting of its routes made short."""
        rendered = self._folder / "alertmanager.rendered.yml"
        env = {
            "PATH": os.environ["PATH"],
            "TELEGRAM_TOKEN": token,
            "ERROR_REPORTING_CHAT_ID": chat_id,
            "TELEGRAM_BASE_URL": telegram_url,
        }
        argv = ["sh", str(DEPLOY / "alertmanager" / "render.sh"), str(rendered)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ProcessFailed(f"render.sh ended with exit code {done.returncode}: {done.stderr.strip()}")
        config: dict[str, Any] = yaml.safe_load(rendered.read_text("utf-8"))
        _hasten(config["route"])
        return config

    def _write(self, name: str, content: Any) -> None:
        # JSON is YAML
        file = self._folder / name
        file.touch(mode=0o600)
        file.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _rules() -> Any:
    """The module beside the rules, which reads them and makes them quick; `deploy` is no package."""
    spec = importlib.util.spec_from_file_location("deployed_rules", DEPLOY / "prometheus" / "quick_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _prometheus() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    every = f"{SCRAPE_SECONDS}s"
    config["global"] |= {
        "scrape_interval": every,
        "scrape_timeout": every,
        "evaluation_interval": f"{EVALUATE_SECONDS}s",
    }
    return config


def _address(url: str) -> str:
    return url.removeprefix("http://")


def _hasten(route: dict[str, Any]) -> None:
    """Make a route and those below it wait seconds where production waits minutes."""
    route |= {"group_wait": GROUP_WAIT, "group_interval": GROUP_INTERVAL, "repeat_interval": REPEAT_INTERVAL}
    for below in route.get("routes", ()):
        _hasten(below)
