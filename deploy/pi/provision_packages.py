"""The Debian packages that a machine needs which runs the stack."""

PACKAGES = (
    # the engine, its command line, and `docker compose`
    "docker.io",
    "docker-cli",
    "docker-compose",
    # a Pi has no battery clock: orders are signed and stamped with the time of this
    "chrony",
    "nftables",
    "fail2ban",
    # through which fail2ban reads the journal; there is no auth.log any more
    "python3-systemd",
    "unattended-upgrades",
    "systemd-zram-generator",
    # copies of the backups to another machine, encrypted
    "restic",
    # what a deploy sends
    "rsync",
    "zstd",
    "ca-certificates",
    "python3",
)
