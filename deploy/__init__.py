"""How it gets onto machines: containers, systemd, monitoring, a Raspberry Pi."""
