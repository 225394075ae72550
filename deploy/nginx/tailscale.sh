#!/bin/sh
# A certificate of this machine's name in the tailnet, which every browser trusts and for which no port is opened:
#
#   sudo deploy/nginx/tailscale.sh NAME        for example pi.tail1234.ts.net (`tailscale status --json` has it)
#
# Run it again by autotrader-tailscale.timer: Tailscale renews what has less than a third of its time left.
#
# TLS_GIVEN_DIR   the folder that .env names as TLS_GIVEN_DIR; /etc/autotrader/tls
set -eu

[ $# -eq 1 ] || { echo "usage: tailscale.sh NAME" >&2; exit 2; }
command -v tailscale >/dev/null || { echo "nginx/tailscale.sh: tailscale is not installed: https://tailscale.com/download" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tailscale cert --cert-file "$work/fullchain.pem" --key-file "$work/privkey.pem" "$1" >&2 || {
  echo "nginx/tailscale.sh: no certificate: switch HTTPS on at https://login.tailscale.com/admin/dns, and log this machine in" >&2
  exit 1
}
sh "$here/put-certificate.sh" "$work/fullchain.pem" "$work/privkey.pem" "${TLS_GIVEN_DIR:-/etc/autotrader/tls}"
