"""The workflows run what everybody runs, build the image of deploy/, and trust only what is pinned."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = {path.stem: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


def read(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))
    return loaded


def steps(name: str) -> Iterator[dict[str, Any]]:
    for job in read(name)["jobs"].values():
        yield from job["steps"]


def triggers(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the word `on` as true
    found: dict[str, Any] = read(name)[True]
    return found


def test_there_is_one_for_changes_and_one_for_releases() -> None:
    assert set(WORKFLOWS) == {"ci", "release"}
    assert set(triggers("ci")) == {"push", "pull_request"}
    assert triggers("release") == {"push": {"tags": ["v*"]}}


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_it_runs_the_same_as_everybody_before_anything_else(name: str) -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    jobs = read(name)["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    if name == "release":
        assert {job["needs"] for other, job in jobs.items() if other != "test"} == {"test"}


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_whatever_comes_from_others_is_pinned_to_a_commit_with_its_version_beside_it(name: str) -> None:
    used = [step["uses"] for step in steps(name) if "uses" in step]
    assert used
    assert [one for one in used if not PINNED.fullmatch(one)] == []
    lines = [line for line in WORKFLOWS[name].read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert all(re.search(r"# v\d+\.\d+\.\d+$", line) for line in lines)


def test_the_same_action_is_everywhere_of_the_same_commit() -> None:
    used = {step["uses"] for name in WORKFLOWS for step in steps(name) if "uses" in step}
    assert len({one.partition("@")[0] for one in used}) == len(used)


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_it_may_do_no_more_than_it_must(name: str) -> None:
    workflow = read(name)
    assert workflow["permissions"] == {"contents": "read"}
    more = {job: spec["permissions"] for job, spec in workflow["jobs"].items() if "permissions" in spec}
    assert more == ({"image": {"contents": "read", "packages": "write"}} if name == "release" else {})
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        # what somebody else may have written is never a part of a script
        assert "${{" not in step.get("run", "")


def test_a_release_is_the_image_of_deploy_for_both_architectures_with_where_it_comes_from() -> None:
    [build] = [step for step in steps("release") if step.get("uses", "").startswith("docker/build-push-action@")]
    given = build["with"]
    assert (ROOT / given["context"] / given["file"]).samefile(ROOT / "deploy" / "Dockerfile")
    assert given["platforms"] == "linux/amd64,linux/arm64"
    assert (given["push"], given["provenance"], given["sbom"]) == (True, "mode=max", True)
    arguments = re.findall(r"^ARG (\w+)", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    passed = {line.partition("=")[0] for line in given["build-args"].splitlines()}
    assert passed == {"REVISION", "VERSION"} <= set(arguments)


def test_every_change_builds_the_image_as_a_raspberry_pi_runs_it() -> None:
    job = read("ci")["jobs"]["image"]
    assert job["runs-on"].endswith("-arm")
    [command] = [step["run"] for step in job["steps"] if "docker build" in step.get("run", "")]
    assert "--file deploy/Dockerfile" in command


def test_actionlint_finds_nothing() -> None:
    if shutil.which("actionlint") is None:
        pytest.skip("actionlint is not installed")
    files = [str(path) for path in WORKFLOWS.values()]
    done = subprocess.run(
        ["actionlint", "-no-color", "-format", "{{json .}}", *files], capture_output=True, text=True, check=False
    )
    # an older one does not know the newest machines
    assert [fault for fault in json.loads(done.stdout or "[]") if fault["kind"] != "runner-label"] == []
