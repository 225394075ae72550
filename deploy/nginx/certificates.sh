#!/bin/sh
# Keep a certificate where nginx reads it, from the first start on:
#
#   certificates.sh [--once]
#
# TLS_MODE     local: one of our own authority (local-ca.sh), renewed by itself. files: fullchain.pem and privkey.pem of
#              GIVEN_DIR, which certbot, tailscale.sh or you put there; while there are none, or none that can be
#              served, one of our own authority, so that nginx starts.
# SERVER_NAME, TLS_NAMES   the names and addresses the certificate of our own is for, besides localhost
# TLS_DIR, CA_DIR, GIVEN_DIR   /tls, /ca, /given
# CHECK_SECONDS   how often it looks; 300
set -u

here=$(cd "$(dirname "$0")" && pwd)
mode=${TLS_MODE:-local}
tls=${TLS_DIR:-/tls} authority=${CA_DIR:-/ca} given=${GIVEN_DIR:-/given}
every=${CHECK_SECONDS:-300}
case $mode in
  local | files) ;;
  *) echo "nginx/certificates.sh: TLS_MODE=$mode is none of: local, files" >&2; exit 2 ;;
esac
case $every in
  *[!0-9]* | "" | 0) echo "nginx/certificates.sh: CHECK_SECONDS=$every is no number of seconds" >&2; exit 2 ;;
esac

names="localhost 127.0.0.1 ::1"
set -f
for name in ${SERVER_NAME:-} ${TLS_NAMES:-}; do
  # a pattern of nginx's, such as the ~. that stands for any name, is no name
  case $name in "~"* | _) ;; *) names="$names $name" ;; esac
done

said=""
told=0
tell() {
  # the same fault once a day, not every five minutes
  if [ "$1" != "$said" ] || [ $(($(date +%s) - told)) -ge 86400 ]; then
    [ -z "$1" ] || echo "$1" >&2
    told=$(date +%s)
  fi
  said=$1
}

own() {
  # shellcheck disable=SC2086
  sh "$here/local-ca.sh" "$authority" "$tls" $names
}

keep() {
  if [ "$mode" = local ]; then
    own
    return
  fi
  if [ -e "$given/fullchain.pem" ] || [ -e "$given/privkey.pem" ]; then
    if fault=$(sh "$here/put-certificate.sh" "$given/fullchain.pem" "$given/privkey.pem" "$tls" 2>&1); then
      [ -z "$fault" ] || echo "$fault"
      # the next one of our own, should there be one, is made anew
      rm -f "$tls/.local-ca"
      tell ""
      return
    fi
    tell "$fault"
  else
    tell "nginx: no fullchain.pem and privkey.pem are in $given yet; until then a certificate of our own is served"
  fi
  # what was given before and is still valid is better than one that no browser trusts
  if [ -e "$tls/.local-ca" ] || ! openssl x509 -in "$tls/fullchain.pem" -noout -checkend 0 >/dev/null 2>&1; then
    own
  fi
}

keep
kept=$?
[ "${1:-}" != --once ] || exit $kept
trap 'exit 0' TERM INT
while :; do
  sleep "$every" &
  wait $!
  keep || true
done
