"""What the compose files promise, read as Docker Compose reads them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import health
from doctor.processes import PORTS
from settings import Settings
from settings.containers import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PASSWORDS = "POSTGRES_PASSWORD=a-password-of-it\nREDIS_PASSWORD=another-of-it\n"
PROCESSES = ("worker-upbit", "worker-kis", "worker-yfinance", "beat", "notifier", "api")
# read by `make` and the scripts
NOT_IN_FILES = {"DEPLOY_WITH"}
# where .env itself is, and what the processes read as well
NOT_DECLARED = {"ENV_FILE", *(name.upper() for name in Settings.model_fields)}


def compose(
    *arguments: str, files: tuple[str, ...], env_file: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    named = [part for name in files for part in ("-f", str(DEPLOY / name))]
    return subprocess.run(
        ["docker", "compose", "--env-file", str(env_file), *named, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "ENV_FILE": str(env_file), **environ}
        | {name: os.environ[name] for name in ("DOCKER_CONFIG",) if name in os.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    version = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=60)
    if version.returncode:
        pytest.skip("docker has no compose plugin")
    file = tmp_path_factory.mktemp("env") / ".env"
    file.write_text((ROOT / ".env.example").read_text(encoding="utf-8") + PASSWORDS)
    return file


def services(env_file: Path, *files: str) -> dict[str, Any]:
    done = compose("config", "--format", "json", files=("compose.yaml", *files), env_file=env_file)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


@pytest.fixture(scope="module")
def core(env_file: Path) -> dict[str, Any]:
    return services(env_file)


def test_every_service_is_bounded_and_without_rights(core: dict[str, Any]) -> None:
    for name, service in core.items():
        assert int(service["mem_limit"]) <= 512 * 2**20, name
        assert service["logging"]["driver"] == "json-file", name
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys(), name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        assert service["init"], name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name


def test_only_nginx_is_reached_from_outside_and_only_from_here_unless_told(core: dict[str, Any]) -> None:
    assert [name for name, service in core.items() if service.get("ports")] == ["nginx"]
    assert {port["host_ip"] for port in core["nginx"]["ports"]} == {"127.0.0.1"}


def test_nothing_of_ours_starts_before_the_tables_are_there(core: dict[str, Any]) -> None:
    for name in (*PROCESSES, "flower"):
        assert core[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully", name
        assert core[name]["depends_on"]["redis"]["condition"] == "service_healthy", name
    assert core["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_the_beat_ends_first_and_the_notifier_last(core: dict[str, Any]) -> None:
    # Compose stops who depends on others before them
    for name in ("worker-upbit", "worker-kis", "worker-yfinance"):
        assert name in core["beat"]["depends_on"]
        assert "notifier" in core[name]["depends_on"]


def test_a_worker_may_finish_its_longest_task(core: dict[str, Any], env_file: Path) -> None:
    assert {core[f"worker-{market}"]["stop_grace_period"] for market in health.MARKETS} == {"2m0s"}
    done = compose("config", files=("compose.yaml",), env_file=env_file, VISIBILITY_TIMEOUT_SECONDS="700")
    assert done.stdout.count("stop_grace_period: 11m40s") == 3


def test_each_process_serves_its_text_where_prometheus_looks(core: dict[str, Any]) -> None:
    ports = {name: core[name]["environment"]["PROMETHEUS_PORT"] for name in PROCESSES}
    assert {int(port): name for name, port in ports.items()} == PORTS
    for name, port in ports.items():
        target = (DEPLOY / "prometheus" / "targets" / f"autotrader-{name}.yml").read_text()
        assert f'"{name}:{port}"' in target
    assert health.TOGETHER == PROCESSES


def test_redis_forgets_nothing_and_its_password_is_no_argument(core: dict[str, Any]) -> None:
    command = " ".join(core["redis"]["command"])
    for part in ("--maxmemory-policy noeviction", "--appendonly yes", "--appendfsync everysec"):
        assert part in command
    assert "another-of-it" not in command
    assert "fsync=on" in core["postgres"]["command"]
    assert "--data-checksums" in core["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "REDIS_PASSWORD"])
def test_a_password_that_is_missing_is_no_default(env_file: Path, tmp_path: Path, missing: str) -> None:
    lacking = tmp_path / ".env"
    lacking.write_text("\n".join(line for line in PASSWORDS.splitlines() if not line.startswith(missing)))
    done = compose("config", "--quiet", files=("compose.yaml",), env_file=lacking)
    assert done.returncode != 0
    assert f"required variable {missing} is missing a value: is missing in .env, make env writes one" in done.stderr


def test_together_is_one_service_under_all_their_names(env_file: Path) -> None:
    found = services(env_file, "compose.together.yaml")
    assert not set(PROCESSES) & set(found)
    trader = found["trader"]
    assert trader["networks"]["default"]["aliases"] == list(PROCESSES)
    assert "--together" in trader["healthcheck"]["test"]
    assert trader["environment"]["PROMETHEUS_PORT"] == "9101"


@pytest.mark.parametrize("overlays", [("compose.sandbox.yaml",), ("compose.sandbox.yaml", "compose.together.yaml")])
def test_a_rehearsal_asks_nobody_outside_whatever_the_settings_say(
    env_file: Path, tmp_path: Path, overlays: tuple[str, ...]
) -> None:
    live = tmp_path / ".env"
    live.write_text(
        PASSWORDS + "TRADING_MODE=live\nUPBIT_ACCESS_KEY=a-real-key\nUPBIT_SECRET_KEY=a-real-key\n"
        "KIS_APP_KEY=a-real-key\nKIS_APP_SECRET=a-real-key\nTELEGRAM_TOKEN=1:a-real-key\nKIS_ACCOUNT=12345678-01\n"
    )
    found = services(live, *overlays)
    ours = [service for name, service in found.items() if name in (*PROCESSES, "trader", "migrate", "flower")]
    assert len(ours) in (3, 8)
    for service in ours:
        said = service["environment"]
        assert said["TRADING_MODE"] == "paper"
        assert "a-real-key" not in said.values()
        addresses = [value for name, value in said.items() if name.endswith("_BASE_URL")]
        assert len(addresses) == 5
        assert all(address.startswith("http://sandbox:8900/") for address in addresses)
    done = compose("config", files=("compose.yaml", *overlays), env_file=live)
    assert "name: autotrader-sandbox" in done.stdout


@pytest.mark.usefixtures("env_file")
def test_the_alertmanager_of_a_rehearsal_tells_the_stand_in_or_does_not_start(tmp_path: Path) -> None:
    live = tmp_path / ".env"
    real = "TELEGRAM_TOKEN=1:a-real-key\nTELEGRAM_CHAT_ID=42\nERROR_REPORTING_CHAT_ID=43\nGRAFANA_PASSWORD=a-password\n"
    live.write_text(PASSWORDS + real + "ALERT_WEBHOOK_URL=https://real.example\n")
    sandbox, monitoring = "compose.sandbox.yaml", "compose.monitoring.yaml"
    files = ("compose.yaml", monitoring, sandbox)
    done = compose("--profile", "monitoring", "config", "--format", "json", files=files, env_file=live)
    said = json.loads(done.stdout)["services"]["alertmanager"]["environment"]
    assert said["TELEGRAM_BASE_URL"] == "http://sandbox:8900/telegram"
    assert (said["TELEGRAM_CHAT_ID"], said["ERROR_REPORTING_CHAT_ID"], said["ALERT_WEBHOOK_URL"]) == (
        "1001",
        "2002",
        "",
    )
    assert "a-real-key" not in said.values()
    for overlays in ((sandbox,), (sandbox, monitoring), (monitoring, sandbox)):
        assert "alertmanager" not in services(live, *overlays)
    assert services(live, monitoring)["alertmanager"]["environment"]["TELEGRAM_TOKEN"] == "1:a-real-key"
    # what `make up` makes of it
    chosen = stack("files", live, os.environ["PATH"], WITH="together sandbox monitoring").stdout
    assert chosen.split() == [f"deploy/{name}" for name in (*files, "compose.together.yaml")]


def test_every_variable_of_the_files_is_explained_in_the_example() -> None:
    declared = {variable.name: variable for variable in VARIABLES}
    used: dict[str, set[str]] = {}
    for file in DEPLOY.glob("compose*.yaml"):
        for variable, default in re.findall(r"\$\{([A-Z_]+)(?::?-([^}]*))?", file.read_text(encoding="utf-8")):
            used.setdefault(variable, set()).add(default)
    assert not used.keys() - declared.keys() - NOT_DECLARED
    assert declared.keys() - used.keys() == NOT_IN_FILES
    assert not {name: used[name] for name in declared if name in used and declared[name].default not in used[name]}


def stack(command: str, env_file: Path, path: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(DEPLOY / "stack.sh"), command],
        env={"PATH": path, "ENV_FILE": str(env_file), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_make_env_writes_passwords_once_and_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert stack("env", file, os.environ["PATH"]).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    said = dict(line.split("=", 1) for line in file.read_text().splitlines() if re.match(r"[A-Z]", line))
    secrets = [said[name] for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "API_READ_TOKEN", "API_OPERATE_TOKEN")]
    assert len(set(secrets)) == 4
    assert all(re.fullmatch("[0-9a-f]{48}", secret) for secret in secrets)
    assert said["FLOWER_BASIC_AUTH"].startswith("admin:")
    again = stack("env", file, os.environ["PATH"])
    assert again.returncode == 1
    assert again.stderr == f"autotrader: {file} exists, and is left as it is\n"


def test_a_machine_without_docker_is_told_what_to_install(tmp_path: Path) -> None:
    for name in ("sh", "dirname", "sed", "tail", "id"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = stack("up", tmp_path / ".env", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("autotrader: docker is not installed; on Debian 13")


def test_an_overlay_that_there_is_not_is_named_with_those_there_are(tmp_path: Path) -> None:
    done = stack("files", tmp_path / ".env", os.environ["PATH"], WITH="monitering")
    assert done.returncode == 1
    assert "there is no overlay 'monitering'" in done.stderr
    assert " together" in done.stderr
    last = stack("files", tmp_path / ".env", os.environ["PATH"], WITH="together sandbox")
    assert last.stdout.split() == [f"deploy/{name}" for name in ("compose.yaml", "compose.sandbox.yaml")] + [
        "deploy/compose.together.yaml"
    ]
