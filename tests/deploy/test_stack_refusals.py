"""What `make up` says to a .env that cannot work: the fault and the cure, before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from engine import Engine, EngineFailed
from stack import Stack


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., AbstractContextManager[Stack]]) -> Iterator[Stack]:
    with new_stack("refused", overlays=(), settings={"KIS_SYMBOLS": ""}) as made:
        yield made


def refused(stack: Stack, **env: str) -> str:
    """What `make up` says when it refuses; nothing runs afterwards."""
    with pytest.raises(EngineFailed) as caught:
        stack.make("up", **env)
    assert stack.containers() == {}
    said = caught.value.stdout + caught.value.stderr
    assert "Traceback" not in said
    return said


def test_no_env_is_told_with_the_way_to_one(stack: Stack) -> None:
    stack.env_file.unlink()
    said = refused(stack)
    assert f"{stack.env_file} is missing" in said
    assert "make env" in said


def test_a_password_that_is_missing_is_named(stack: Stack) -> None:
    stack.write_env("POSTGRES_PASSWORD")
    said = refused(stack)
    assert "POSTGRES_PASSWORD" in said
    assert "is missing in .env" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KIS_SWEEP_MINUTES", "often"),
        ("TRADING_MODE", "reel"),
        ("API_OPERATE_TOKEN", "short-secret"),
        ("REDIS_PASSWORD", "with/a-slash@secret"),
        ("TELEGRAM_TOKEN", ""),
        # compose itself would show it
        ("KIS_APP_SECRET", '"secret-without-an-end'),
    ],
)
def test_a_setting_that_cannot_be_is_named_and_a_secret_is_not_shown(stack: Stack, name: str, value: str) -> None:
    stack.write_env(**{name: value})
    said = refused(stack)
    assert name in said
    assert "secret" not in value or value not in said


def test_symbols_without_the_keys_for_their_quotes_are_told_with_the_cure(stack: Stack) -> None:
    stack.write_env(KIS_SYMBOLS="005930")
    said = refused(stack)
    assert "KIS_APP_KEY" in said
    assert "set them, or KIS_SYMBOLS=" in said


def test_an_overlay_that_does_not_exist_is_told_with_those_that_do(stack: Stack) -> None:
    stack.write_env()
    said = refused(stack, WITH="monitorring")
    assert "no overlay 'monitorring'" in said
    assert "together" in said


def test_make_env_writes_one_with_passwords_of_its_own_and_never_over_another(stack: Stack, engine: Engine) -> None:
    path = stack.folder / "new.env"
    stack.make("env", ENV_FILE=str(path))
    first = path.read_text(encoding="utf-8")
    values = dict(line.split("=", 1) for line in first.splitlines() if line and not line.startswith("#"))
    assert path.stat().st_mode & 0o077 == 0, "others may read its passwords"
    secrets = [values[name] for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "API_READ_TOKEN", "API_OPERATE_TOKEN")]
    assert all(len(secret) >= 24 for secret in secrets)
    assert len(set(secrets)) == len(secrets)
    with pytest.raises(EngineFailed, match="exists, and is left as it is"):
        stack.make("env", ENV_FILE=str(path))
    assert path.read_text(encoding="utf-8") == first
