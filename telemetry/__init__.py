"""OpenTelemetry for every process: set-up, the catalogue of instruments, Celery signals, logs, redaction."""
