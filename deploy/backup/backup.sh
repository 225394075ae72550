#!/bin/sh
# `make backup` and `make restore`: backup.py here, or, with PI=user@host, the one of the Pi's running release.
# From the environment: FILE, and PI, PI_ROOT, PI_PORT, PI_KEY and SSH_OPTIONS as for `make deploy-pi`.
set -eu
cd "$(dirname "$0")/../.."
what=$1
root=${PI_ROOT:-/opt/autotrader}

if [ -z "${PI:-}" ] && [ -n "${PI_ROOT:-}" ]; then
    echo "make $what: PI_ROOT is a folder of a Pi: say PI=user@host too. On that machine itself: python3 $root/current/deploy/backup/backup.py $what${FILE:+ $FILE} --root $root" >&2
    exit 2
fi
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

# Put FILE among the dumps of the Pi. It gets its name last: one that is cut off leaves what is there as it is.
# shellcheck disable=SC2016 # for the shell at the other end
send() {
    of() { printf 'sh -c %s sh %s %s %s' "$(quoted "$1")" "$(quoted "$root/backups")" "$(quoted "$name")" "$hash"; }
    begin='set -eu; umask 077; cd "$1"; is() { [ "$(sha256sum <"$1" | cut -c 1-64)" = "$2" ]; }
        named() { printf "%s  %s\n" "$2" "$1" >"$1.sha256.incoming"; mv "$1.sha256.incoming" "$1.sha256"; }'
    state=$(ssh "$@" ${PI_PORT:+-p "$PI_PORT"} -- "$PI" "$(of "$begin"'
        if [ ! -e "$2" ]; then echo none; elif is "$2" "$3"; then named "$2" "$3"; echo same; else echo other; fi')" </dev/null)
    case $state in
        same) return ;;
        none) ;;
        *) echo "make restore: $PI has another $name in $root/backups, and it stays. To restore yours, rename it and its .sha256 here; if that one is damaged, move it away there" >&2; exit 1 ;;
    esac
    ssh "$@" ${PI_PORT:+-p "$PI_PORT"} -- "$PI" "$(of "$begin"'
        cat >"$2.incoming"
        is "$2.incoming" "$3" || { rm -f "$2.incoming"; exit 9; }
        sync "$2.incoming"; mv "$2.incoming" "$2"; named "$2" "$3"')" <"$FILE" ||
        { echo "make restore: $FILE did not come to $PI whole; nothing was changed there. Is it whole here (sha256sum --check)? Then try again" >&2; exit 1; }
}

if [ "$what" = restore ]; then
    name=$FILE
    if [ -f "$FILE" ]; then
        [ -f "$FILE.sha256" ] || { echo "make restore: $FILE.sha256 is missing: without it nobody can tell that $FILE is whole" >&2; exit 1; }
        name=$(basename "$FILE")
        hash=$(sed -n '1s/^\([0-9a-f]\{64\}\).*/\1/p' "$FILE.sha256")
        [ -n "$hash" ] || { echo "make restore: $FILE.sha256 holds no hash; make it: sha256sum $FILE > $FILE.sha256" >&2; exit 1; }
        send "$@"
    fi
    exec ssh "$@" ${PI_PORT:+-p "$PI_PORT"} -- "$PI" "$there restore $(quoted "$name") --root $(quoted "$root")"
fi
exec ssh "$@" ${PI_PORT:+-p "$PI_PORT"} -- "$PI" "$there make --root $(quoted "$root")"
