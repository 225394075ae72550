#!/usr/bin/env bash
# The contract of the official image: a first start makes the cluster as POSTGRES_* say and runs
# /docker-entrypoint-initdb.d; root only hands the folders over and goes on as postgres.
set -Eeuo pipefail

# POSTGRES_X, or the content of the file that POSTGRES_X_FILE names
from_file() {
  local name=$1 file="$1_FILE" default=${2:-}
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
    echo "error: both $name and $file are set" >&2
    exit 1
  fi
  if [ -n "${!file:-}" ]; then export "$name=$(<"${!file}")"; else export "$name=${!name:-$default}"; fi
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
  chmod 0700 "$PGDATA"
  chown postgres /var/run/postgresql 2>/dev/null || true
  chmod 03775 /var/run/postgresql 2>/dev/null || true
  exec gosu postgres "$BASH_SOURCE" "$@"
fi

mkdir -p "$PGDATA"
chmod 0700 "$PGDATA" 2>/dev/null || true
if [ -s "$PGDATA/PG_VERSION" ]; then
  echo "PostgreSQL Database directory appears to contain a database; Skipping initialization"
  exec "$@"
fi

from_file POSTGRES_PASSWORD
from_file POSTGRES_USER postgres
from_file POSTGRES_DB "$POSTGRES_USER"
from_file POSTGRES_INITDB_ARGS
if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
  echo "Error: Database is uninitialized and superuser password is not specified." >&2
  echo "       POSTGRES_PASSWORD must be a non-empty value." >&2
  exit 1
fi
eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") $POSTGRES_INITDB_ARGS"
unset PGPASSWORD
method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}
printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

# without TCP, so that nobody takes it for ready yet
# without arguments printf would give one that is empty, which postgres refuses
given=$([ $# = 1 ] || printf '%q ' "${@:2}")
PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$given -c listen_addresses=''" -w start
run_sql() { PGHOST= psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"; }
if [ -z "$(run_sql -d postgres -tAc "SELECT 1 FROM pg_database WHERE datname = '$POSTGRES_DB'")" ]; then
  run_sql -d postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
fi
for file in /docker-entrypoint-initdb.d/*; do
  case $file in
    *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
    *.sql) run_sql -d "$POSTGRES_DB" -f "$file" ;;
    *.sql.gz) gunzip -c "$file" | run_sql -d "$POSTGRES_DB" ;;
  esac
done
PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
echo "PostgreSQL init process complete; ready for start up."
exec "$@"
