"""Deployments that end well, badly, or not at all: whatever happens, one release runs, and nothing is lost."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from switchtwin import APP, BROKEN, KNOWN, NEW, OLD, UNHEALTHY, Machine, PowerCut, TwinStack

from deploy.pi import switch
from deploy.pi.journal import alone, read_journal
from deploy.pi.layout import Layout

USER = "the user's own halt"
LATER = "20260109T000000Z-1a7e"
# the settings of the machine, and those that come with a release
MINE, SENT = "TRADING_MODE=paper\n", "TRADING_MODE=paper\nSENT=1\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One on which the old release runs, halted by its user."""
    return machine_at(tmp_path / "machine", monkeypatch)


def machine_at(root: Path, monkeypatch: pytest.MonkeyPatch, used: str | None = OLD) -> Machine:
    root.mkdir()
    machine = Machine(root)
    monkeypatch.setattr(switch, "Stack", TwinStack)
    monkeypatch.setattr(TwinStack, "machine", machine, raising=False)
    # a disk in memory cannot forget
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for name in (OLD, NEW, BROKEN, UNHEALTHY):
        machine.has_release(name)
    (root / "shared").mkdir()
    machine.layout.env.write_text(MINE)
    if used is not None:
        machine.halts.append("first")
        assert machine.switch("deploy", used, "--id", "first") == 0
        machine.halts.append(USER)
    return machine


def stands(machine: Machine, release: str, revision: str) -> None:
    """All of one release, its schema, and the user's halt as it was."""
    assert machine.layout.current_id() == release
    assert {machine.runs(name) for name in APP} == {f"autotrader:{release}"}
    assert machine.revision == revision
    assert machine.halts == [USER]
    assert machine.orders == 3
    journal = read_journal(machine.layout)
    assert journal is not None
    assert journal.phase == "ended"
    assert {machine.settings[name] for name in APP} == {machine.layout.env.read_text()}


def came_with_its_settings(machine: Machine, release: str) -> None:
    """The machine has those that were sent with the release, and the old ones beside them, or neither."""
    used = machine.layout.current_id() == release
    assert machine.layout.env.read_text() == (SENT if used else MINE)
    left = {path.name: path.read_text() for path in machine.layout.env.parent.iterdir() if path != machine.layout.env}
    assert left == ({".env.before": MINE} if used else {})


def test_a_release_is_switched_to_step_by_step(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.switch("deploy", NEW, "--id", "second") == 0
    stands(machine, NEW, "0003")
    journal = read_journal(machine.layout)
    assert journal is not None
    names = [step.name for step in journal.steps]
    assert names == ["verify", "drain", "dump", "migrate", "start", "smoke", "switch", "lift"]
    assert all(step.ended for step in journal.steps)
    log = machine.layout.log_of("second").read_text()
    assert "schema 0002 -> 0003" in log
    assert log.endswith("END 0\n")
    assert machine.switch("follow", "second") == 0
    assert "is in use" in capsys.readouterr().out


@pytest.mark.parametrize("release", [BROKEN, UNHEALTHY])
def test_a_release_that_does_not_work_gives_way_to_the_one_before(machine: Machine, release: str) -> None:
    assert machine.switch("deploy", release, "--id", "second") == 1
    stands(machine, OLD, "0002")
    journal = read_journal(machine.layout)
    assert journal is not None
    assert journal.outcome == "rolled back"
    assert ("canary" if release == BROKEN else "does not get healthy") in journal.fault


def test_a_rollback_goes_the_same_way_backwards(machine: Machine) -> None:
    assert machine.switch("deploy", NEW) == 0
    assert machine.switch("rollback", "--id", "back") == 0
    stands(machine, OLD, "0002")
    assert "schema 0003 -> 0002" in machine.layout.log_of("back").read_text()


def cuts(machine: Machine, *arguments: str) -> int:
    """How many commands it takes."""
    machine.switch(*arguments)
    return machine.calls


@pytest.mark.parametrize("release", [NEW, BROKEN, UNHEALTHY])
def test_a_power_cut_at_any_command_is_recovered_from_also_when_the_recovery_is_cut(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = release != UNHEALTHY
    commands = cuts(machine_at(tmp_path / "whole", monkeypatch), "deploy", release)
    tried = 0
    for call, after in itertools.product(range(1, commands + 1), (False, True)):
        # at some of them the recovery is cut too, at each of its commands
        for second in itertools.count(1) if call % 9 == 5 and after else (10**6,):
            machine = machine_at(tmp_path / f"{call}-{after}-{second}", monkeypatch)
            if sent:
                machine.is_sent(release, SENT)
            try:
                machine.switch("deploy", release, "--id", "cut", cut_at=(call, after))
                # it came after the end: what is removed last is no part of it
                assert call > commands - 3
            except PowerCut:
                pass
            machine.boot()
            ended = True
            try:
                machine.switch("recover", cut_at=(second, after))
            except PowerCut:
                ended = False
            machine.boot()
            assert machine.switch("recover") == 0
            assert machine.switch("up") == 0
            deployed = machine.layout.current_id() == NEW
            stands(machine, NEW if deployed else OLD, "0003" if deployed else "0002")
            assert not deployed or release == NEW
            if sent:
                came_with_its_settings(machine, release)
            tried += 1
            if ended:
                break
    assert tried > commands


def test_a_rollback_that_is_cut_ends_with_one_whole_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = machine_at(tmp_path / "whole", monkeypatch)
    whole.switch("deploy", NEW)
    commands = cuts(whole, "rollback", OLD)
    for call, after in itertools.product(range(1, commands + 1), (False, True)):
        machine = machine_at(tmp_path / f"{call}-{after}", monkeypatch)
        assert machine.switch("deploy", NEW) == 0
        try:
            machine.switch("rollback", OLD, cut_at=(call, after))
        except PowerCut:
            machine.boot()
        assert machine.switch("recover") == 0
        assert machine.switch("up") == 0
        back = machine.layout.current_id() == OLD
        stands(machine, OLD if back else NEW, "0002" if back else "0003")


def test_a_first_deployment_that_fails_leaves_the_machine_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_at(tmp_path / "machine", monkeypatch, None)
    machine.orders = 0
    assert machine.switch("deploy", BROKEN) == 1
    assert (machine.containers, machine.volumes, machine.layout.current_id()) == ({}, set(), None)
    assert machine.switch("deploy", NEW) == 0
    assert machine.layout.current_id() == NEW


def test_a_first_deployment_that_is_cut_at_any_command_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = cuts(machine_at(tmp_path / "whole", monkeypatch, None), "deploy", NEW)
    for call, after in itertools.product(range(1, commands + 1), (False, True)):
        machine = machine_at(tmp_path / f"{call}-{after}", monkeypatch, None)
        machine.orders = 0
        try:
            machine.switch("deploy", NEW, cut_at=(call, after))
        except PowerCut:
            machine.boot()
            # the unit of the boot finds whom to ask
            assert machine.layout.current_id() == NEW or machine.layout.begun.resolve().name == NEW
        assert machine.switch("recover") == 0
        assert not machine.layout.begun.is_symlink()
        if machine.layout.current_id() is None:
            assert machine.switch("deploy", NEW) == 0
        assert {machine.runs(name) for name in APP} == {f"autotrader:{NEW}"}
        assert machine.halts == []


def test_two_deployments_at_once_are_refused(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(machine.layout):
        assert machine.switch("deploy", NEW) == switch.BUSY
        assert machine.switch("launch", "deploy", NEW) == switch.BUSY
    assert "another deployment is under way" in capsys.readouterr().err
    assert machine.switch("deploy", NEW) == 0


def test_a_setting_that_the_new_release_refuses_changes_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.bad_settings = "autotrader: setting SWEEP_MINUTES: should be a number (set it in .env or the environment)"
    before = dict(machine.containers)
    assert machine.switch("deploy", NEW, "--id", "second") == 1
    assert machine.containers == before
    stands(machine, OLD, "0002")
    log = machine.layout.log_of("second").read_text()
    assert "SWEEP_MINUTES" in log
    assert "nothing had been changed" in log


def test_processes_that_do_not_stop_keep_the_new_release_from_starting(machine: Machine) -> None:
    machine.stuck = True
    machine.switch("deploy", NEW, "--id", "second")
    assert "did not stop" in machine.layout.log_of("second").read_text()
    assert {machine.runs(name) for name in APP} == {f"autotrader:{OLD}"}
    machine.stuck = False
    assert machine.switch("recover") == 0
    stands(machine, OLD, "0002")


def test_a_dump_is_put_back_only_if_no_order_was_written_since(machine: Machine) -> None:
    machine.frozen = True
    assert machine.switch("deploy", BROKEN, "--id", "second") == 1
    assert (machine.revision, machine.layout.current_id()) == ("0002", OLD)
    assert "restored from" in machine.layout.log_of("second").read_text()


def test_with_orders_written_since_the_dump_everything_stays_stopped_and_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.frozen = True
    ask = TwinStack._ask

    def trades(self: TwinStack, words: list[str], release: object) -> str:
        machine.orders += words[:2] == ["release", "smoke"]
        return ask(self, words, release)  # type: ignore[arg-type]

    monkeypatch.setattr(TwinStack, "_ask", trades)
    assert machine.switch("deploy", BROKEN, "--id", "second") == switch.REFUSED
    log = machine.layout.log_of("second").read_text()
    assert "there were 3 and are 4" in log
    assert machine.revision == "0004"
    assert not any(machine.runs(name) for name in APP)
    # a person has found the way back, and has it gone on
    machine.frozen = False
    assert machine.switch("recover") == 0
    assert machine.layout.current_id() == OLD
    assert machine.revision == "0002"


def test_what_cannot_be_deployed_is_refused_with_its_cure(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for release, told in {
        "20991231T000000Z-fff": f"not in {machine.root}/releases",
        "../../etc": "is no release",
        OLD: "in use already",
    }.items():
        assert machine.switch("deploy", release) == switch.REFUSED
        assert told in capsys.readouterr().err
    machine.images.discard(f"autotrader:{NEW}")
    assert machine.switch("deploy", NEW, "--id", "second") == 1
    assert "not on this machine; deploy it again" in machine.layout.log_of("second").read_text()
    machine.layout.env.unlink()
    assert machine.switch("deploy", BROKEN, "--id", "third") == 1
    assert ".env is missing" in machine.layout.log_of("third").read_text()
    assert {machine.runs(name) for name in APP} == {f"autotrader:{OLD}"}


def test_a_machine_where_something_else_of_ours_runs_is_not_deployed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_at(tmp_path / "machine", monkeypatch, None)
    machine.containers = {"beat": ("autotrader:local", "running"), "postgres": ("postgres", "running")}
    machine.volumes = {"autotrader_postgres", "autotrader_redis"}
    running = dict(machine.containers)
    machine.switch("deploy", NEW, "--id", "first")
    assert "stop them first" in machine.layout.log_of("first").read_text()
    assert machine.containers == running
    assert machine.volumes >= {"autotrader_postgres", "autotrader_redis"}


@pytest.mark.parametrize("fault", ["no image", "no settings", "bad settings", "a power cut"])
def test_a_first_deployment_that_is_refused_leaves_the_database_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    machine = machine_at(tmp_path / "machine", monkeypatch, None)
    machine.volumes = {"autotrader_postgres", "autotrader_redis"}
    machine.revision = "0002"
    if fault == "no image":
        machine.images.discard(f"autotrader:{NEW}")
    elif fault == "no settings":
        machine.layout.env.unlink()
    elif fault == "bad settings":
        machine.bad_settings = "POSTGRES_PASSWORD is missing"
    if fault == "a power cut":
        for call in range(1, 6):
            with pytest.raises(PowerCut):
                machine.switch("deploy", NEW, "--id", f"first-{call}", cut_at=(call, True))
            machine.boot()
            assert machine.switch("recover") == 0
    else:
        assert machine.switch("deploy", NEW, "--id", "first") == 1
    assert machine.volumes >= {"autotrader_postgres", "autotrader_redis"}
    assert machine.revision == "0002"


@pytest.mark.parametrize("release", [NEW, BROKEN, UNHEALTHY])
def test_settings_that_came_with_a_release_go_with_it(machine: Machine, release: str) -> None:
    machine.is_sent(release, SENT)
    machine.switch("deploy", release, "--id", "second")
    assert machine.layout.current_id() == (NEW if release == NEW else OLD)
    came_with_its_settings(machine, release)
    assert {machine.settings[name] for name in APP} == {machine.layout.env.read_text()}
    assert ".env is the one that was sent" in machine.layout.log_of("second").read_text()
    if release == NEW:
        assert machine.layout.env.stat().st_mode & 0o777 == 0o600


def test_settings_that_wait_for_a_release_change_nothing_before_it_is_switched_to(machine: Machine) -> None:
    machine.is_sent(NEW, SENT)
    # the power is cut while the image is built
    machine.boot()
    assert machine.switch("up") == 0
    stands(machine, OLD, "0002")
    with alone(machine.layout):
        assert machine.switch("deploy", NEW) == switch.BUSY
    assert machine.layout.env.read_text() == MINE
    # nor are they another release's, or for going back to
    assert machine.switch("deploy", UNHEALTHY) == 1
    assert machine.switch("rollback", NEW) == 0
    assert machine.layout.env.read_text() == MINE


@pytest.mark.parametrize("release", [NEW, BROKEN])
def test_a_power_cut_between_two_names_of_the_settings_leaves_those_of_the_release_that_runs(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, cut_at = 0, (0, False)

    def cut(name: str) -> None:
        real = getattr(os, name)

        def counted(path: os.PathLike[str], *arguments: object, **given: object) -> None:
            nonlocal calls
            ours = Path(path).name.startswith(".env")
            calls += ours
            if ours and (calls, False) == cut_at:
                raise PowerCut
            real(path, *arguments, **given)
            if ours and (calls, True) == cut_at:
                raise PowerCut

        monkeypatch.setattr(os, name, counted)

    for name in ("link", "replace", "unlink"):
        cut(name)
    for call, after in itertools.product(range(1, 20), (False, True)):
        machine = machine_at(tmp_path / f"{call}-{after}", monkeypatch)
        machine.is_sent(release, SENT)
        calls, cut_at = 0, (call, after)
        try:
            machine.switch("deploy", release)
            break
        except PowerCut:
            cut_at = (0, False)
        machine.boot()
        assert machine.layout.env.read_text() in (MINE, SENT)
        assert machine.switch("recover") == 0
        assert machine.switch("up") == 0
        deployed = machine.layout.current_id() == NEW
        stands(machine, NEW if deployed else OLD, "0003" if deployed else "0002")
        came_with_its_settings(machine, release)
    assert 3 <= call < 19


def test_settings_of_somebody_else_are_named_with_the_cure_and_stay(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_ours(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    # what the kernel says of a file of root's, to anybody but root (fs.protected_hardlinks)
    monkeypatch.setattr(os, "link", not_ours)
    machine.is_sent(NEW, SENT)
    assert machine.switch("deploy", NEW, "--id", "second") == 1
    assert "sudo chown $USER" in machine.layout.log_of("second").read_text()
    stands(machine, OLD, "0002")
    came_with_its_settings(machine, NEW)


def test_settings_that_were_never_used_go_with_old_releases(machine: Machine) -> None:
    gone, waits = "20251231T000000Z-0ff", "20991231T000000Z-0ff"
    machine.is_sent(gone, SENT)
    machine.is_sent(waits, SENT)
    # sent and never switched to
    machine.is_sent(NEW, SENT)
    assert machine.switch("deploy", UNHEALTHY) == 1
    machine.has_release(LATER)
    KNOWN[LATER] = KNOWN[NEW]
    machine.images.add(f"autotrader:{LATER}")
    try:
        assert machine.switch("deploy", LATER) == 0
    finally:
        del KNOWN[LATER]
    assert machine.layout.ids() == [OLD, LATER]
    left = {path.name for path in machine.layout.env.parent.iterdir()}
    assert left == {".env", machine.layout.env_new(waits).name}


@pytest.mark.parametrize("release", [BROKEN, UNHEALTHY])
def test_a_deployment_that_fails_starts_nobody_whom_somebody_had_stopped(
    release: str, machine: Machine, tmp_path: Path
) -> None:
    assert machine.switch("down") == 0
    assert machine.switch("deploy", release, "--id", "second") == 1
    assert not [name for name in APP if machine.runs(name)]
    assert machine.runs("postgres")
    # its own hold does not outlive it
    assert machine.halts == [USER]
    assert (machine.revision, machine.layout.current_id()) == ("0002", OLD)
    told = machine.layout.log_of("second").read_text()
    assert "it was stopped before, and stays so; `python3" in told
    assert machine.switch("up") == 0
    stands(machine, OLD, "0002")


def test_a_journal_is_what_older_releases_know_and_theirs_brings_the_release_of_before_back(machine: Machine) -> None:
    with pytest.raises(PowerCut):
        machine.switch("deploy", NEW, cut_at=(25, True))
    path = machine.layout.state / "deploy.json"
    said = json.loads(path.read_text())
    assert said["phase"] == "forward"
    assert "acted" not in said["facts"]
    machine.boot()
    assert machine.switch("recover") == 0
    stands(machine, OLD, "0002")


def test_whoever_was_stopped_stays_so_also_after_a_power_cut(machine: Machine) -> None:
    assert machine.switch("down") == 0
    with pytest.raises(PowerCut):
        machine.switch("deploy", NEW, cut_at=(25, True))
    assert any(machine.runs(name) for name in APP)
    machine.boot()
    assert machine.switch("recover") == 0
    assert not [name for name in APP if machine.runs(name)]
    assert machine.halts == [USER]
    # the release that is in use may be older than that fact, and reads the journal
    assert "acted" not in json.loads((machine.layout.state / "deploy.json").read_text())["facts"]


def test_going_back_twice_goes_back_twice(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.has_release(LATER)
    KNOWN[LATER] = KNOWN[NEW]
    machine.images.add(f"autotrader:{LATER}")
    try:
        assert machine.switch("deploy", NEW) == 0
        assert machine.switch("deploy", LATER) == 0
        assert machine.switch("rollback") == 0
        assert machine.layout.current_id() == NEW
        assert machine.switch("rollback") == 0
        stands(machine, OLD, "0002")
        assert machine.switch("rollback") == switch.REFUSED
        assert "TO=<id>" in capsys.readouterr().err
        stands(machine, OLD, "0002")
        # by its name it is what somebody wants
        assert machine.switch("rollback", LATER) == 0
    finally:
        del KNOWN[LATER]


def test_what_nobody_thought_of_brings_the_release_of_before_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> str:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(TwinStack, "unhealthy", unreadable)
    assert machine.switch("deploy", UNHEALTHY, "--id", "odd") == 1
    assert machine.layout.current_id() == OLD
    assert {machine.runs(name) for name in APP} == {f"autotrader:{OLD}"}
    assert machine.halts == [USER]
    assert "UnicodeDecodeError" in machine.layout.log_of("odd").read_text()


def test_three_releases_stay(machine: Machine) -> None:
    for name in (NEW, OLD, NEW):
        assert machine.switch("deploy", name) == 0
    machine.has_release(LATER)
    machine.images.add(f"autotrader:{LATER}")
    KNOWN[LATER] = KNOWN[NEW]
    try:
        assert machine.switch("deploy", LATER) == 0
    finally:
        del KNOWN[LATER]
    assert machine.layout.ids() == [OLD, NEW, LATER]
    assert machine.images == {f"autotrader:{name}" for name in (OLD, NEW, LATER)}


def test_status_shows_what_runs_and_how_the_last_deployment_ended(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.switch("deploy", BROKEN)
    capsys.readouterr()
    assert machine.switch("status", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert OLD in told["release"]["says"]
    assert "rolled back" in told["last deployment"]["says"]
    assert "canary" in told["last deployment"]["says"]
    assert told["api"]["well"] is False
    assert "h ago" in told["backups"]["says"]


def test_a_journal_that_cannot_be_read_is_not_written_over(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Layout(machine.root).state / "deploy.json"
    path.write_text("{half")
    assert machine.switch("deploy", NEW) == switch.REFUSED
    assert "look into it" in capsys.readouterr().err
    assert path.read_text() == "{half"
