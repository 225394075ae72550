"""The overlays of the stack: every combination is one that compose takes, and each service is bounded and reachable by
the name that others know it by."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MINE = ("monitoring", "collector", "signoz")
COMBINATIONS = (
    (),
    ("monitoring",),
    ("collector",),
    ("signoz",),
    ("monitoring", "collector"),
    ("collector", "together"),
    ("signoz", "together"),
    ("sandbox", "monitoring", "collector", "together"),
)
PROCESSES = ("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")
GIVEN = {"POSTGRES_PASSWORD": "x", "REDIS_PASSWORD": "x", "GRAFANA_PASSWORD": "x", "COLLECTOR_ENDPOINT": "https://x"}


def parsed(name: str) -> dict[str, Any]:
    text = (DEPLOY / f"compose.{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def own(name: str) -> dict[str, dict[str, Any]]:
    """The services that an overlay brings, without those that it only changes."""
    return {
        service: found
        for service, found in parsed(name)["services"].items()
        if "image" in found and service not in (*PROCESSES, "trader")
    }


def compose() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        # the old one, in Python, does not know these files
        if asked.returncode == 0 and not asked.stdout.lstrip("v").startswith("1."):
            return command
    pytest.skip("no docker compose of version 2 is installed")


def configured(overlays: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """What compose makes of the files. Fails with what it says."""
    example = (DEPLOY / "signoz" / ".env.example").read_text(encoding="utf-8")
    signoz = folder / "signoz.env"
    signoz.write_text("".join(f"{name}=x\n" for name in re.findall(r"^(\w+)=$", example, re.MULTILINE)), "utf-8")
    env_file = folder / ".env"
    settings = {**GIVEN, "ENV_FILE": str(env_file), "SIGNOZ_ENV_FILE": str(signoz)}
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    files = [
        part for name in ("", *(f".{each}" for each in overlays)) for part in ("-f", f"{DEPLOY}/compose{name}.yaml")
    ]
    done = subprocess.run(
        [*compose(), "--env-file", str(env_file), *files, "config"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


@pytest.mark.parametrize("overlays", COMBINATIONS, ids=lambda names: " ".join(names) or "none")
def test_compose_takes_every_combination(overlays: tuple[str, ...], tmp_path: Path) -> None:
    services = configured(overlays, tmp_path)["services"]
    assert ("trader" in services) == ("together" in overlays)
    assert ("worker-upbit" in services) != ("together" in overlays)
    sending = {"trader"} if "together" in overlays else set(PROCESSES)
    for name in sending:
        endpoint = services[name]["environment"].get("OTEL_EXPORTER_OTLP_ENDPOINT")
        if {"collector", "signoz"} & set(overlays):
            assert endpoint == "http://collector:4318"
            # in a network in which that name is known
            assert set(services[name]["networks"]) & set(services["collector"]["networks"])
        else:
            assert endpoint is None


@pytest.mark.parametrize(("overlay", "service"), [(name, service) for name in MINE[:2] for service in own(name)])
def test_a_service_is_pinned_bounded_and_closed(overlay: str, service: str) -> None:
    found = own(overlay)[service]
    # of our own image compose says no version
    image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", found["image"])
    assert image == "autotrader:local" or re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", image), image
    assert found["mem_limit"]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["logging"]["options"].keys() == {"max-size", "max-file"}
    assert found["restart"] in ("unless-stopped", "on-failure")
    assert "ports" not in found
    for volume in found.get("volumes", ()):
        if isinstance(volume, str) and volume.startswith("./"):
            source, _, mode = volume.split(":")
            assert (DEPLOY / source).exists()
            assert mode == "ro"


def test_every_service_of_the_monitoring_that_can_be_asked_has_a_health_check() -> None:
    services = own("monitoring")
    # `reader` ends; the image of redis_exporter has nothing that could ask
    assert {name for name, found in services.items() if "healthcheck" not in found} == {"reader", "redis-exporter"}


def test_prometheus_knows_each_service_by_its_name() -> None:
    services = {*own("monitoring"), *PROCESSES}
    for file in (DEPLOY / "prometheus" / "targets").glob("*.yml"):
        [group] = yaml.safe_load(file.read_text(encoding="utf-8"))
        [target] = group["targets"]
        host, _, port = target.partition(":")
        assert host in services | {"localhost"}, file.name
        assert port.isdecimal()


def test_grafana_gets_every_name_that_its_data_sources_ask_for() -> None:
    sources = (DEPLOY / "grafana/provisioning/datasources/datasources.yml").read_text(encoding="utf-8")
    assert set(re.findall(r": \$(\w+)$", sources, re.MULTILINE)) <= set(own("monitoring")["grafana"]["environment"])


def test_alertmanager_gets_what_its_renderer_asks_for() -> None:
    script = (DEPLOY / "alertmanager" / "render.sh").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{([A-Z_]+):-", script)) - {"TELEGRAM_TOKEN_FILE"}
    assert asked <= set(own("monitoring")["alertmanager"]["environment"])


# --- the collector: neither apt, pip nor npm has it, so its file is held against what its components document ---

NAMES = r"[a-z_]+(/[a-z_]+)?"
SECONDS = r"\d+(ms|s|m)"
SCHEMA: dict[str, dict[str, Any]] = {
    "receivers/otlp": {"protocols": {"http": {"endpoint": str}, "grpc": {"endpoint": str}}},
    "processors/memory_limiter": {"check_interval": SECONDS, "limit_mib": int, "spike_limit_mib": int},
    "processors/batch": {"send_batch_size": int, "send_batch_max_size": int, "timeout": SECONDS},
    "exporters/otlphttp": {
        "endpoint": str,
        "headers": {"signoz-ingestion-key": str},
        "compression": r"gzip|zstd|snappy|none",
        "timeout": SECONDS,
        "retry_on_failure": {
            "enabled": bool,
            "initial_interval": SECONDS,
            "max_interval": SECONDS,
            "max_elapsed_time": SECONDS,
        },
        "sending_queue": {
            "enabled": bool,
            "storage": NAMES,
            "num_consumers": int,
            "sizer": r"requests|items|bytes",
            "queue_size": int,
            "block_on_overflow": bool,
        },
    },
    "extensions/health_check": {"endpoint": str},
    "extensions/file_storage": {
        "directory": str,
        "create_directory": bool,
        "timeout": SECONDS,
        "fsync": bool,
        "compaction": {
            "directory": str,
            "on_start": bool,
            "on_rebound": bool,
            "rebound_needed_threshold_mib": int,
            "rebound_trigger_threshold_mib": int,
            "cleanup_on_start": bool,
        },
    },
    "service/telemetry": {
        "logs": {"level": r"debug|info|warn|error", "encoding": r"json|console"},
        "metrics": {
            "level": r"none|basic|normal|detailed",
            "readers": [{"pull": {"exporter": {"prometheus": {"host": str, "port": int}}}}],
        },
    },
}
COLLECTOR: dict[str, Any] = yaml.safe_load((DEPLOY / "collector" / "collector.yaml").read_text(encoding="utf-8"))


def misfits(value: Any, schema: Any, where: str) -> list[str]:
    """Where a part of the file is not what the component's documentation lists."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{where}: no mapping"]
        unknown = [f"{where}.{name}: unknown" for name in value.keys() - schema.keys()]
        return unknown + [
            fault
            for name in value.keys() & schema.keys()
            for fault in misfits(value[name], schema[name], f"{where}.{name}")
        ]
    if isinstance(schema, list):
        return [fault for each in value for fault in misfits(each, schema[0], where)]
    if isinstance(schema, str):
        return [] if isinstance(value, str) and re.fullmatch(schema, value) else [f"{where}: {value!r}"]
    # bool is an int to Python, not to the collector
    return [] if type(value) is schema else [f"{where}: {value!r} is no {schema.__name__}"]


def test_the_collectors_file_has_only_what_its_components_document() -> None:
    faults = []
    parts = ("receivers", "processors", "exporters", "extensions")
    assert set(COLLECTOR) == {*parts, "service"}
    for part in parts:
        for name, value in COLLECTOR[part].items():
            faults += misfits(value, SCHEMA[f"{part}/{name.partition('/')[0]}"], f"{part}.{name}")
    faults += misfits(COLLECTOR["service"]["telemetry"], SCHEMA["service/telemetry"], "service.telemetry")
    assert faults == []
    assert misfits({"send_batch_sise": 1}, SCHEMA["processors/batch"], "x") == ["x.send_batch_sise: unknown"]


def test_the_collectors_pipelines_use_what_is_declared_and_limit_memory_first() -> None:
    service = COLLECTOR["service"]
    assert set(service["pipelines"]) == {"traces", "metrics", "logs"}
    for pipeline in service["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(COLLECTOR[part])
        # in this order: what is refused must not have been gathered before
        assert pipeline["processors"] == ["memory_limiter", "batch"]
    assert set(service["extensions"]) == set(COLLECTOR["extensions"])


def test_the_collector_keeps_on_its_volume_what_it_cannot_send_within_its_memory() -> None:
    exporter, storage = COLLECTOR["exporters"]["otlphttp"], COLLECTOR["extensions"]["file_storage"]
    assert exporter["sending_queue"]["storage"] == "file_storage"
    # never given up by time, but bounded in size
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert exporter["sending_queue"]["sizer"] == "items"
    assert exporter["sending_queue"]["queue_size"] <= 500_000
    service = parsed("collector")["services"]["collector"]
    assert f"collector:{storage['directory']}" in service["volumes"]
    limit = int(service["mem_limit"].removesuffix("m"))
    limiter = COLLECTOR["processors"]["memory_limiter"]
    assert limiter["spike_limit_mib"] < limiter["limit_mib"] < limit
    named = set(re.findall(r"\$\{env:(\w+)\}", (DEPLOY / "collector" / "collector.yaml").read_text(encoding="utf-8")))
    assert named <= set(service["environment"])


def test_prometheus_looks_for_the_collector_where_it_shows_its_own_numbers() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = [scrape for scrape in config["scrape_configs"] if scrape["job_name"] == "collector"]
    [reader] = COLLECTOR["service"]["telemetry"]["metrics"]["readers"]
    [found] = job["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["collector"], reader["pull"]["exporter"]["prometheus"]["port"])
