#!/bin/sh
# For /docker-entrypoint.d of nginx's image. At the first start the certificate may be a second away: wait for it. Then
# watch it: nginx reads it when it starts or is told to. It is told once key and certificate fit each other (`nginx -t`);
# connections go on.
set -u

folder=${TLS_FOLDER:-/etc/nginx/tls}
state() { cat "$folder/fullchain.pem" "$folder/privkey.pem" 2>/dev/null | cksum; }

waited=0
until [ -s "$folder/fullchain.pem" ] && [ -s "$folder/privkey.pem" ]; do
  if [ "$waited" -ge "${CERTIFICATE_WAIT_SECONDS:-120}" ]; then
    echo "nginx: no certificate came into $folder within $waited s: see what the service certificates says" >&2
    exit 1
  fi
  sleep 1
  waited=$((waited + 1))
done

known=$(state)
(
  while sleep "${RELOAD_CHECK_SECONDS:-10}"; do
    now=$(state)
    if [ "$now" != "$known" ] && nginx -t -q && nginx -s reload; then
      known=$now
      echo "nginx: reads the new certificate"
    fi
  done
) &
