#!/bin/sh
# /etc/nginx/templates/NAME.template becomes /etc/nginx/conf.d/NAME; only variables of the environment are replaced.
set -e
templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
[ -d "$templates" ] || exit 0
known=$(env | sed -n "s/^\(${NGINX_ENVSUBST_FILTER:-[A-Za-z_][A-Za-z0-9_]*}\)=.*/\${\1}/p" | tr '\n' ' ')
if [ ! -w "$output" ]; then
  echo "$0: ERROR: $templates exists, but $output is not writable" >&2
  exit 0
fi
find "$templates" -follow -type f -name "*$suffix" | while read -r template; do
  path=$output/${template#"$templates"/}
  path=${path%"$suffix"}
  mkdir -p "$(dirname "$path")"
  envsubst "$known" <"$template" >"$path"
done
