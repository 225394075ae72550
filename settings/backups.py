from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr

from settings.declaring import OPERATING, setting


class BackupSettings(BaseModel):
    """Backups"""

    model_config = ConfigDict(defer_build=True)

    restic_repository: SecretStr = setting(
        SecretStr(""),
        "Where restic keeps the encrypted copies of the backups, off this device (docs/backups.md). Its own variables, "
        "such as AWS_ACCESS_KEY_ID, may stand beside it. Empty = they stay on this disk only.",
        by=OPERATING,
        form="sftp:user@host:/path, rest:https://host/path, s3:https://host/bucket or a folder",
    )
    restic_password: SecretStr = setting(
        SecretStr(""),
        "What they are encrypted with. Keep it somewhere else too: without it no copy can be read.",
        by=("commands",),
    )

    @property
    def copied_away(self) -> bool:
        """Whether backups are to be copied off this device."""
        return bool(self.restic_repository.get_secret_value())
