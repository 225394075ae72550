#!/bin/sh
# For certbot: `certbot certonly … --deploy-hook deploy/nginx/certbot-deploy-hook.sh`. Certbot runs it after the first
# certificate and after each renewal, with RENEWED_LINEAGE. nginx takes what is there within minutes, without a restart.
#
# TLS_GIVEN_DIR   the folder that .env names as TLS_GIVEN_DIR; /etc/autotrader/tls
# RELOAD          a command that reloads nginx, where it runs without Docker; none
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${RENEWED_LINEAGE:?certbot sets it; by hand: RENEWED_LINEAGE=/etc/letsencrypt/live/NAME}"
sh "$here/put-certificate.sh" "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" \
  "${TLS_GIVEN_DIR:-/etc/autotrader/tls}"
[ -z "${RELOAD:-}" ] || sh -c "$RELOAD"
