"""When things run: the schedule, and the dated sessions of each market."""
