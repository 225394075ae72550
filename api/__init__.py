"""The HTTP interface: start an analysis, read what is stored, halt and resume, health and metrics."""
