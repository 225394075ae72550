#!/bin/sh
# Write nginx's configuration for an nginx without Docker (the image of nginx fills in the templates itself):
#
#   render.sh FOLDER       for example: sudo SERVER_NAME=trader.lan deploy/nginx/render.sh /etc/autotrader/nginx
#   nginx -c FOLDER/nginx.conf
#
# What may be set, in the environment, with what it is otherwise:
#   SERVER_NAME        the names and addresses this host answers to, separated by spaces; any
#   HTTP_LISTEN, HTTPS_LISTEN   80, 443
#   HTTPS_PORT         the port that browsers see, where it is not the one above
#   API_UPSTREAM, FLOWER_UPSTREAM, GRAFANA_UPSTREAM   127.0.0.1:8000, 127.0.0.1:5555, 127.0.0.1:3000
#   ACME_DIR           where certbot --webroot writes; /var/www/acme
#   CACHE_DIR          FOLDER/cache
#   RATE_LOGIN, RATE_API, RATE_PAGES   10r/m, 10r/s, 20r/s
#   HSTS_SECONDS       31536000
#   RESOLVER           only asked where an upstream is a name; 127.0.0.53
#
# The certificate is FOLDER/tls/fullchain.pem and privkey.pem; certificates.sh --once makes one where there is none.
set -eu

[ $# -eq 1 ] || { echo "usage: render.sh FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/conf.d" "$1/tls"
NGINX_DIR=$(cd "$1" && pwd)
SERVER_NAME=${SERVER_NAME:-~.}
HTTP_LISTEN=${HTTP_LISTEN:-80}
HTTPS_LISTEN=${HTTPS_LISTEN:-443}
HTTPS_PORT=${HTTPS_PORT:-${HTTPS_LISTEN##*:}}
STATUS_PORT=${STATUS_PORT:-8081}
API_UPSTREAM=${API_UPSTREAM:-127.0.0.1:8000}
FLOWER_UPSTREAM=${FLOWER_UPSTREAM:-127.0.0.1:5555}
GRAFANA_UPSTREAM=${GRAFANA_UPSTREAM:-127.0.0.1:3000}
ACME_DIR=${ACME_DIR:-/var/www/acme}
CACHE_DIR=${CACHE_DIR:-$NGINX_DIR/cache}
ACCESS_LOG=${ACCESS_LOG:-/dev/stdout}
RATE_LOGIN=${RATE_LOGIN:-10r/m}
RATE_API=${RATE_API:-10r/s}
RATE_PAGES=${RATE_PAGES:-20r/s}
HSTS_SECONDS=${HSTS_SECONDS:-31536000}
RESOLVER=${RESOLVER:-127.0.0.53}

names="SERVER_NAME HTTP_LISTEN HTTPS_LISTEN HTTPS_PORT STATUS_PORT API_UPSTREAM FLOWER_UPSTREAM GRAFANA_UPSTREAM
  ACME_DIR CACHE_DIR ACCESS_LOG RATE_LOGIN RATE_API RATE_PAGES HSTS_SECONDS RESOLVER NGINX_DIR"
script=""
for name in $names; do
  eval "value=\$$name"
  # what is put in must not be able to end the directive, or the sed command
  case $value in
    *[!A-Za-z0-9\ ._:/~*-]* | "") echo "nginx/render.sh: $name has a character that it must not have, or is empty" >&2; exit 1 ;;
  esac
  script="$script;s|\${$name}|$value|g"
done

mkdir -p "$CACHE_DIR"
cp -R "$here/nginx.conf" "$here/snippets" "$here/pages" "$NGINX_DIR/"
sed "${script#;}" "$here/templates/autotrader.conf.template" >"$NGINX_DIR/conf.d/autotrader.conf.new"
mv "$NGINX_DIR/conf.d/autotrader.conf.new" "$NGINX_DIR/conf.d/autotrader.conf"
