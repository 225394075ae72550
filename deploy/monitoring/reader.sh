#!/bin/sh
# Make or renew the role `reader` of PostgreSQL, which sees the tables and the statistics and changes nothing.
# PGHOST, PGUSER, PGDATABASE, PGPASSWORD say where; READER_PASSWORD is what it is to sign in with.
set -eu
: "${READER_PASSWORD:?is missing}"

# psql reads the password from its environment and quotes it: one that a shell writes into SQL may end the statement.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password READER_PASSWORD
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SELECT 'CREATE ROLE reader' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') \gexec
ALTER ROLE reader WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 10 PASSWORD :'password';
ALTER ROLE reader SET default_transaction_read_only = on;
ALTER ROLE reader SET statement_timeout = '30s';
GRANT pg_read_all_data, pg_monitor TO reader;
SQL
echo "the role reader may sign in, and read"
