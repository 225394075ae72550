"""Every alert has its runbook, and what the runbooks and the troubleshooting tell one to type or to look at exists."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import cli
from settings import Settings
from telemetry.catalogue import FOREIGN, prometheus_names
from telemetry.instruments import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
IMAGES = ROOT / "docs" / "images"
FLOWER = ROOT / "deploy" / "flower" / "README.md"
SECTIONS = ["지금 할 일", "What it means", "How it is measured", "Where to look", "Do not"]
LARGEST_IMAGE = 300_000

# of Prometheus itself and of the exporters
OTHERS = set(json.loads((ROOT / "deploy/prometheus/exporters.json").read_text("utf-8")))
HANGUL = re.compile(r"[가-힣]")


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by name, as Prometheus reads them."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "deploy/prometheus/rules").glob("*.yml")]
    groups = chain.from_iterable(file["groups"] for file in files)
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
DOCUMENTS = [*PAGES, RUNBOOKS / "README.md", TROUBLESHOOTING, FLOWER]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_alert_has_a_runbook_and_no_runbook_is_without_its_alert() -> None:
    assert {path.stem for path in PAGES} == set(rules())
    for name, rule in rules().items():
        assert rule["annotations"]["runbook_url"].endswith(f"docs/runbooks/{name}.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_runbook_is_shaped_like_all_others(path: Path) -> None:
    text, rule = text_of(path), rules()[path.stem]
    assert text.startswith(f"# {path.stem}: ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    [summary] = re.findall(r"^> \*\*요약\.\*\* (.*)$", text, re.MULTILINE)
    steps = re.findall(r"^\d+\. (.*)$", text, re.MULTILINE)
    assert len(steps) >= 3
    assert all(HANGUL.search(line) or line.startswith("`") for line in (summary, *steps))
    assert f"Severity **{rule['labels']['severity']}**, component `{rule['labels']['component']}`." in text
    assert 25 <= len(text.splitlines()) <= 50


def test_the_index_says_of_each_alert_what_its_rule_says() -> None:
    row = re.compile(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| (\w+) \| (.+) \|$", re.MULTILINE)
    listed = {
        name: (file, severity, component)
        for name, file, severity, component, _ in row.findall(text_of(RUNBOOKS / "README.md"))
    }
    labels = {name: rule["labels"] for name, rule in rules().items()}
    assert listed == {name: (name, label["severity"], label["component"]) for name, label in labels.items()}


def series_of(expression: str) -> set[str]:
    """The metrics of ours that an expression or a text names."""
    known = re.compile(
        r"\b((?:autotrader|celery|scheduler|bot|ai|risk|api|http|process|flower|portfolio|trades|trade|analysis)_[a-z_]+"
        r"|up|pg_up|(?:node|redis)_[A-Za-z_]+)\b(?=[{\[`)\s])"
    )
    return set(known.findall(expression))


def test_the_runbooks_name_metrics_that_there_are() -> None:
    there = set(chain.from_iterable(prometheus_names(entry) for entry in CATALOGUE.values())) | OTHERS | set(FOREIGN)
    there |= {name.removesuffix(suffix) for name in there for suffix in ("_bucket", "_sum", "_count")}
    jobs = {"trading_job", "sweep_job"}
    for path in PAGES:
        named = set(re.findall(r"`((?:autotrader|celery|scheduler|bot|ai|risk|api|http)_[a-z_]+)", text_of(path)))
        assert named - jobs <= there, path.stem


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_runbook_says_what_its_rule_is_measured_by(path: Path) -> None:
    measured = text_of(path).partition("## How it is measured")[2].partition("## ")[0]
    named = series_of(rules()[path.stem]["expr"])
    assert named, path.stem
    bare = {name.removesuffix("_bucket") for name in named}
    assert any(f"`{name}" in measured for name in bare), (path.stem, bare)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_a_document_names_are_there(path: Path) -> None:
    command: Any = typer.main.get_command(cli.app)
    blocks = re.findall(r"`([^`\n]+)`|```\w*\n(.*?)```", text_of(path), re.DOTALL)
    code = "\n".join(inline or block for inline, block in blocks)
    for name, option in re.findall(r"\bautotrader ([a-z][a-z-]+)\b(?!-)(?:[^\n`#]*?(--[a-z-]+))?", code):
        found = command.commands.get(name)
        assert found is not None, f"autotrader {name}"
        options = {
            text
            for each in [found, *getattr(found, "commands", {}).values()]
            for parameter in each.params
            for text in parameter.opts
        }
        assert not option or option in options, f"autotrader {name} {option}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_settings_and_links_that_a_document_names_are_there(path: Path) -> None:
    text = text_of(path)
    settings = {name.upper() for name in Settings.model_fields}
    families = "SIGNOZ|TELEGRAM|ERROR|PROMETHEUS|REDIS|DATABASE|ALERT|WORKER|BEAT|DEAD|WATCHDOG|VISIBILITY|ANALYZE"
    own = re.findall(rf"`((?:{families})_[A-Z_]+)", text)
    rendered = set(re.findall(r"\$\{([A-Z_]+)", text_of(ROOT / "deploy" / "alertmanager" / "render.sh")))
    # named as what it is not called
    assert set(own) - settings - rendered <= {"TELEGRAM_BOT_TOKEN"}
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), target


def test_every_question_of_the_list_is_answered() -> None:
    text = text_of(TROUBLESHOOTING)
    asked = re.findall(r"^\| \[(.+)\]\(#(.+)\) \|", text, re.MULTILINE)
    answered = re.findall(r"^## (\d+\. .+)$", text, re.MULTILINE)
    assert [question for question, _ in asked] == answered
    for question, anchor in asked:
        # as GitHub makes anchors of headings
        assert anchor == re.sub(r"[^\w\- ]", "", question.lower()).replace(" ", "-")
    assert len(answered) >= 10


def test_pictures_are_shown_somewhere_and_are_no_burden() -> None:
    documents = [ROOT / "README.md", FLOWER, *(ROOT / "docs").glob("*.md")]
    shown = set(
        re.findall(r"(?:!\[[^\]]*\]\(|<img src=\")[^)\"]*images/([\w-]+\.png)", "\n".join(map(text_of, documents)))
    )
    pictures = {path.name: path for path in IMAGES.glob("*.png")}
    assert shown
    assert shown == set(pictures)
    for path in pictures.values():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < LARGEST_IMAGE
