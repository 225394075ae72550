#!/bin/sh
# `make backup` and `make restore`: backup.py here, or, with PI=user@host, the one of the Pi's running release.
# From the environment: FILE, and PI, PI_ROOT, PI_PORT, PI_KEY and SSH_OPTIONS as for `make deploy-pi`.
set -eu
cd "$(dirname "$0")/../.."
what=$1
root=${PI_ROOT:-/opt/autotrader}

if [ "$what" = restore ] && [ -z "${FILE:-}" ]; then
    echo "make restore: say what to restore: FILE=backups/NAME.dump, FILE=latest or FILE=restic:latest" >&2
    [ -n "${PI:-}" ] || python3 deploy/backup/backup.py list >&2
    exit 2
fi
if [ "$what" = restore ] && [ "${YES:-}" != 1 ] && [ -t 0 ]; then
    echo "The database is replaced by $FILE${PI:+ on $PI}; that of now is kept beside it. Trading is halted until you resume."
    printf 'Type restore to go on: '
    read -r answer
    [ "$answer" = restore ] || { echo "nothing was changed"; exit 1; }
fi
if [ -z "${PI:-}" ]; then
    [ "$what" = restore ] || exec python3 deploy/backup/backup.py make
    exec python3 deploy/backup/backup.py restore "$FILE"
fi

# what a shell at the other end is to read as one word
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }
# shellcheck disable=SC2086 # several options in one text
set -- ${SSH_OPTIONS:-}
[ -z "${PI_KEY:-}" ] || set -- "$@" -i "$PI_KEY"
script="$root/current/deploy/backup/backup.py"
there="python3 $(quoted "$script")"
if [ "$what" = restore ]; then
    name=$FILE
    if [ -f "$FILE" ]; then
        [ -f "$FILE.sha256" ] || { echo "make restore: $FILE.sha256 is missing: without it nobody can tell that $FILE is whole" >&2; exit 1; }
        name=$(basename "$FILE")
        scp -q "$@" ${PI_PORT:+-P "$PI_PORT"} -- "$FILE" "$FILE.sha256" "$PI:$root/backups/"
    fi
    exec ssh "$@" ${PI_PORT:+-p "$PI_PORT"} -- "$PI" "$there restore $(quoted "$name") --root $(quoted "$root")"
fi
exec ssh "$@" ${PI_PORT:+-p "$PI_PORT"} -- "$PI" "$there make --root $(quoted "$root")"
