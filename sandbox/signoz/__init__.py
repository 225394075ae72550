"""A stand-in of SigNoz's API, as far as dashboards, alert rules and notification channels go."""
