"""The fault matrix: what goes wrong in the running system, and which alert tells of it after how many seconds."""
