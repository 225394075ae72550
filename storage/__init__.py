"""PostgreSQL: the tables, their migrations and the few queries the rest of the system needs."""
