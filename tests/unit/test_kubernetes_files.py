"""The manifests of deploy/kubernetes: taken by the cluster's own schemas, and no looser than the compose stack."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml

import cli
from settings import MARKETS, Settings, orders_queue
from telemetry.queues import PRIORITY_SEPARATOR

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
PLACES = ("base", "overlays/paper", "overlays/scaled")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
PROCESSES = (*(f"worker-{market}" for market in MARKETS), "beat", "notifier", "api")


def documents(*paths: Path) -> list[dict[str, Any]]:
    return [one for path in paths for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


BASE = documents(*(path for path in (FOLDER / "base").glob("*.yaml") if path.name != "kustomization.yaml"))


def of_kind(kind: str, among: list[dict[str, Any]] = BASE) -> dict[str, dict[str, Any]]:
    """By name, without the beginning that all have."""
    return {one["metadata"]["name"].removeprefix("autotrader-"): one for one in among if one["kind"] == kind}


DEPLOYMENTS = of_kind("Deployment")
PODS = {name: one["spec"]["template"]["spec"] for name, one in {**DEPLOYMENTS, **of_kind("Job")}.items()}


def built(place: str) -> list[dict[str, Any]]:
    """What kustomize makes of an overlay."""
    command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    if shutil.which(command[0]) is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    done = subprocess.run([*command, str(FOLDER / place)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.mark.parametrize("place", PLACES)
def test_kustomize_builds_it_and_every_name_it_refers_to_is_there(place: str) -> None:
    made = built(place)
    assert {one["metadata"].get("namespace", "autotrader") for one in made} == {"autotrader"}
    # made of the user's .env, and never a file here
    there = {(one["kind"], one["metadata"]["name"]) for one in made} | {("Secret", "autotrader")}
    for deployment in of_kind("Deployment", made).values():
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        for source in container["envFrom"]:
            kind = "ConfigMap" if "configMapRef" in source else "Secret"
            assert (kind, source[f"{kind[0].lower()}{kind[1:]}Ref"]["name"]) in there
        assert container["image"].startswith("ghcr.io/")
    for scaled in of_kind("ScaledObject", made).values():
        assert ("Deployment", scaled["spec"]["scaleTargetRef"]["name"]) in there
    for budget in of_kind("PodDisruptionBudget", made).values():
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        pods = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind("Deployment", made).values()]
        assert sum(wanted <= labels.items() for labels in pods) == 1


@pytest.mark.parametrize("place", PLACES)
def test_the_schemas_of_kubernetes_take_it(place: str) -> None:
    for one in built(place):
        # KEDA's are no kinds of Kubernetes itself
        if not one["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_every_process_of_the_compose_stack_is_there() -> None:
    assert set(DEPLOYMENTS) == set(PROCESSES) <= set(COMPOSE)
    known: Any = typer.main.get_command(cli.app)
    for name, pod in PODS.items():
        [container] = pod["containers"]
        assert container["args"] == COMPOSE[name]["command"]
        assert container["args"][0] in known.commands


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_is_locked_in_as_its_container_of_the_compose_stack(name: str) -> None:
    pod, theirs = PODS[name], COMPOSE[name]
    [container] = pod["containers"]
    assert (theirs["read_only"], theirs["cap_drop"]) == (True, ["ALL"])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    user = pod["securityContext"]
    uid = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert uid
    assert (user["runAsNonRoot"], user["runAsUser"], user["runAsGroup"]) == (True, int(uid[1]), int(uid[2]))
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["resources"]["limits"]["memory"] == theirs["mem_limit"].replace("m", "Mi")
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"/var/lib/autotrader", "/tmp"}


@pytest.mark.parametrize("name", sorted(DEPLOYMENTS))
def test_a_process_is_asked_by_the_health_check_of_the_image(name: str) -> None:
    [container] = PODS[name]["containers"]
    asked = COMPOSE["beat"]["healthcheck"]["test"][1:]
    assert container["livenessProbe"]["exec"]["command"] == container["startupProbe"]["exec"]["command"] == asked
    # it has the time that the compose stack gives it, and is not killed for less than Docker calls it unhealthy
    probe, theirs = container["startupProbe"], COMPOSE["beat"]["healthcheck"]["start_period"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= int(theirs.removesuffix("s"))


def test_nothing_is_killed_in_the_middle_of_a_task() -> None:
    longest = Settings.model_fields["visibility_timeout_seconds"].default
    for name, pod in PODS.items():
        if name.startswith("worker-"):
            assert pod["terminationGracePeriodSeconds"] >= longest


def test_there_is_never_a_second_beat_or_notifier_by_an_update() -> None:
    for name in ("beat", "notifier"):
        assert DEPLOYMENTS[name]["spec"]["replicas"] == 1
        assert DEPLOYMENTS[name]["spec"]["strategy"] == {"type": "Recreate"}


def test_workers_are_scaled_by_both_queues_of_their_market() -> None:
    scaling = documents(FOLDER / "overlays" / "scaled" / "scaling.yaml")
    scaled = of_kind("ScaledObject", scaling)
    assert set(scaled) == {f"worker-{market}" for market in MARKETS}
    for market in MARKETS:
        spec = scaled[f"worker-{market}"]["spec"]
        lists = [trigger["metadata"]["listName"] for trigger in spec["triggers"]]
        assert lists == [market, orders_queue(market)]
        lengths = {trigger["metadata"]["listLength"] for trigger in spec["triggers"]}
        assert lengths == {str(Settings.model_fields["worker_concurrency"].default)}
        # never none: it also looks at orders and positions
        assert spec["minReplicaCount"] == spec["fallback"]["replicas"] == 1
    [trust] = of_kind("TriggerAuthentication", scaling).values()
    assert {part["name"] for part in trust["spec"]["secretTargetRef"]} == {"autotrader"}


def test_no_message_of_ours_has_a_priority_so_a_queue_is_one_list() -> None:
    assert PRIORITY_SEPARATOR not in "".join(MARKETS)
    sources = [path for folder in ("tasks", "beat") for path in (ROOT / folder).glob("*.py")]
    given = re.compile(r"\bpriority\s*=|[\"']priority[\"']\s*:|task_default_priority|task_queue_max_priority")
    assert [path.name for path in sources if given.search(path.read_text(encoding="utf-8"))] == []


def test_no_secret_is_in_the_manifests() -> None:
    assert [one["metadata"]["name"] for one in BASE if one["kind"] == "Secret"] == []
    given = documents(FOLDER / "base" / "kustomization.yaml")[0]["configMapGenerator"][0]["literals"]
    secret = {name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert not {line.partition("=")[0] for line in given} & secret
