"""What `make status-pi` calls well, and what a deployment that was cut off at its very end leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.pi import journal as journals
from deploy.pi.journal import Journal, read_journal
from deploy.pi.layout import Layout, Release
from deploy.pi.stack import Stack
from deploy.pi.standing import deployed, stand

RELEASE = "20260101T000000Z-0123abc"
RULES = {"migrate": "no", "reader": "on-failure", "collector-room": "on-failure:3", "beat": "unless-stopped"}


class Listed(Stack):
    """Containers that have ended with a code."""

    ended: dict[str, int]

    def compose(self, release: Release, *arguments: str, check: bool = True) -> str:
        if arguments[0] == "config":
            return json.dumps({"services": {name: {"restart": rule} for name, rule in RULES.items()}})
        return "\n".join(
            json.dumps({"Service": name, "State": "exited", "ExitCode": code, "Status": f"Exited ({code})"})
            for name, code in self.ended.items()
        )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    folder = tmp_path / "releases" / RELEASE
    folder.mkdir(parents=True)
    told = {"image": "autotrader:x", "revision": "x", "project": "autotrader", "overlays": []}
    (folder / "release.json").write_text(json.dumps(told))
    layout = Layout(tmp_path)
    layout.use(RELEASE)
    layout.state.mkdir()
    return layout


def test_what_is_to_end_may_have_ended_and_nobody_else(layout: Layout) -> None:
    stack = Listed(layout)
    stack.ended = {"migrate": 0, "reader": 0, "collector-room": 0, "beat": 0, "of-another-release": 0}
    found = json.loads(stand(layout, stack, as_json=True)[0][0])
    well = {name: found[name]["well"] for name in stack.ended}
    assert well == {**dict.fromkeys(("migrate", "reader", "collector-room"), True), "beat": False} | {
        "of-another-release": False
    }
    stack.ended = {"reader": 1}
    assert not json.loads(stand(layout, stack, as_json=True)[0][0])["reader"]["well"]


def test_a_deployment_that_has_ended_is_in_the_history_whenever_the_power_went(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(layout, "deploy-1", "deploy", RELEASE, None, "switch.py")
    journal.save()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(journals, "write_whole", cut)
        with pytest.raises(KeyboardInterrupt):
            journal.end("deployed")
    # recovery finds it open, and ends it again
    again = read_journal(layout)
    assert again is not None
    assert again.phase == "forward"
    again.end("deployed")
    assert deployed(layout) == [RELEASE]

    # and it is closed only once the history has it
    with monkeypatch.context() as patched:
        patched.setattr(journals, "append_line", cut)
        with pytest.raises(KeyboardInterrupt):
            Journal(layout, "deploy-2", "deploy", RELEASE, None, "switch.py").end("deployed")
    left = read_journal(layout)
    assert left is not None
    assert left.id == "deploy-1"
