"""Settings that cannot be read are named by line, never by what stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.pi.env_file import faults, value_of
from deploy.pi.layout import DeployError
from deploy.pi.remote import Machine
from deploy.pi.sending import send_settings

SECRET = "hunter2hunter2"
ID = "20260102T000000Z-0e3"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"just {SECRET}", "line 2 is no NAME=value"),
        (f"API TOKEN={SECRET}", "line 2 is no NAME=value"),
        (f'API_TOKEN="{SECRET}', "line 2: the value of API_TOKEN begins with a quote"),
        (f"export API_TOKEN='{SECRET}", "line 2: the value of API_TOKEN begins with a quote"),
        (f'API_TOKEN="{SECRET}\\"', "line 2: the value of API_TOKEN begins with a quote"),
    ],
)
def test_a_line_that_is_no_setting_is_named_without_its_value(line: str, says: str) -> None:
    (fault,) = faults(f"TRADING_MODE=paper\n{line}\n")
    assert says in fault
    assert SECRET not in fault


def test_settings_as_people_write_them_have_no_fault() -> None:
    text = "# a comment\n\nexport A=1\n B = \"two words\" # why\nC='it is #1'\nD=it's\nE=\nF=a=b\n"
    assert list(faults(text)) == []
    example = Path(__file__).resolve().parents[2] / ".env.example"
    assert list(faults(example.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ("", ""),
        ("DEPLOY_WITH=", ""),
        ("#DEPLOY_WITH=sandbox\nNO_DEPLOY_WITH=sandbox\nDEPLOY_WITH_X=sandbox", ""),
        ("DEPLOY_WITH=monitoring sandbox", "monitoring sandbox"),
        ("export DEPLOY_WITH=sandbox", "sandbox"),
        ("  export\tDEPLOY_WITH = 'sandbox'  # as a rehearsal", "sandbox"),
        ('DEPLOY_WITH="monitoring sandbox"\r', "monitoring sandbox"),
        ("DEPLOY_WITH=sandbox # as a rehearsal", "sandbox"),
        ("DEPLOY_WITH=monitoring\n DEPLOY_WITH=sandbox", "sandbox"),
        ("DEPLOY_WITH=sandbox\nDEPLOY_WITH=", ""),
    ],
)
def test_a_setting_is_read_as_compose_reads_it(lines: str, value: str) -> None:
    assert value_of("DEPLOY_WITH", lines) == value


def test_settings_that_cannot_be_read_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / ".env.pi").write_text(f'API_TOKEN="{SECRET}\n')
    with pytest.raises(DeployError, match="line 1: the value of API_TOKEN") as raised:
        send_settings(Machine("local"), str(tmp_path / "root"), ID, False, False, tmp_path)
    assert SECRET not in str(raised.value)
    assert not (tmp_path / "root").exists()
