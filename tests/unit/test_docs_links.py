"""No link of a document leads nowhere, every document is in the index, and both READMEs say the same."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    """A document without its blocks and spans of code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@cache
def anchors(document: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-"))
    return frozenset(found)


def broken(document: Path) -> list[str]:
    """The links of a document to a file or heading that is not there."""
    found = []
    for target in LINK.findall(without_code(document.read_text(encoding="utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            found.append(f"{target}: no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            found.append(f"{target}: no such heading")
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_leads_nowhere(document: Path) -> None:
    assert broken(document) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n[a](#a-page) [b](#none) [c](gone.md) `[d](x)`\n\n```\n[e](y)\n```\n", encoding="utf-8")
    assert broken(page) == ["#none: no such heading", "gone.md: no such file"]


def test_every_document_is_in_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in LINK.findall(index.read_text(encoding="utf-8"))}
    assert set(DOCS.glob("*.md")) - linked - {index} == set()


def blocks(document: Path) -> list[str]:
    """The blocks of code of a document: commands, settings, output."""
    return re.findall(r"^```.*?^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shape(document: Path) -> list[int]:
    """The levels of a document's headings, in order."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]


ENGLISH, KOREAN = ROOT / "README.md", ROOT / "README.ko.md"


def test_both_readmes_have_the_same_sections() -> None:
    assert shape(KOREAN) == shape(ENGLISH)


def test_both_readmes_have_the_same_commands() -> None:
    assert blocks(KOREAN) == blocks(ENGLISH)


def commands_in_tables(document: Path) -> list[str]:
    """What stands as code at the beginning of each table's rows."""
    return re.findall(r"^\| (`autotrader [^|]*`) \|", document.read_text(encoding="utf-8"), re.MULTILINE)


def test_both_readmes_explain_the_same_commands_and_lead_to_the_same_places() -> None:
    assert commands_in_tables(KOREAN) == commands_in_tables(ENGLISH)
    own = {"README.md", "README.ko.md"}
    korean, english = ([*LINK.findall(document.read_text(encoding="utf-8"))] for document in (KOREAN, ENGLISH))
    assert set(korean) - own == set(english) - own


@pytest.mark.parametrize(
    "document", [ENGLISH, DOCS / "paper-trading.md", DOCS / "live-trading.md"], ids=lambda p: p.name
)
def test_every_command_that_is_shown_exists(document: Path) -> None:
    from typer.main import get_command

    from cli import app

    known: dict[str, object] = getattr(get_command(app), "commands")  # noqa: B009
    text = document.read_text(encoding="utf-8")
    shown = set(re.findall(r"(?:^|\$ |`|bin/)autotrader ([a-z][a-z-]+)", text, re.MULTILINE))
    shown -= {"worker"} & set(known)
    assert shown
    assert shown - set(known) == set()


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(blocks(ENGLISH))))
    assert shown
    assert shown - targets == set()
