"""Names in `.env` that nobody reads and that look like one of ours: a setting that is misspelt is not in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from pydantic_settings import DotEnvSettingsSource

from settings.checked import Settings
from settings.containers import VARIABLES

# as `difflib` counts likeness: TELEGRAM_BOT_TOKEN is TELEGRAM_TOKEN to 0.88, POSTGRES_PORT is POSTGRES_PASSWORD to 0.80
ALIKE = 0.83
# families of which others have many names, all alike: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT is one of OpenTelemetry's
OTHERS = (
    *("AWS_", "AZURE_", "B2_", "COMPOSE_", "DOCKER_", "FLOWER_", "GF_", "GOOGLE_APPLICATION_", "OTEL_", "PG", "PI_"),
    *("RESTIC_", "SIGNOZ_", "TEST_", "XDG_"),
)
NEARLY_THE_SAME = 0.94


def misspelt(names: Iterable[str]) -> Iterator[str]:
    """A line for each name that nobody reads although it nearly is one that somebody reads, with the right one."""
    known = {*(name.upper() for name in Settings.model_fields), *(variable.name for variable in VARIABLES)}
    for name in sorted({name.upper() for name in names} - known):
        alike = NEARLY_THE_SAME if name.startswith(OTHERS) else ALIKE
        for near in get_close_matches(name, known, n=1, cutoff=alike):
            yield f"{name} is no setting, so it is not in force: did you mean {near}?"


def names_in_env() -> set[str]:
    """The names in the `.env` that the settings are read from; none where there is no such file."""
    return set(DotEnvSettingsSource(Settings).env_vars)
