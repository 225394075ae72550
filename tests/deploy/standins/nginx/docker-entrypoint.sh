#!/bin/sh
# The contract of the official image: before nginx starts, what lies in /docker-entrypoint.d runs in order;
# *.envsh is read, *.sh is run, each only where it is executable.
set -e
if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
  for file in /docker-entrypoint.d/*; do
    [ -x "$file" ] || continue
    case $file in
      *.envsh) . "$file" ;;
      *.sh) "$file" ;;
    esac
  done
fi
exec "$@"
