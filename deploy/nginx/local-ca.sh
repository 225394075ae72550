#!/bin/sh
# A certificate authority for one house, and this host's certificate by it:
#
#   local-ca.sh CA_FOLDER FOLDER NAME...
#
# CA_FOLDER gets ca.key and ca.crt once, valid ten years: keep the key as you keep the keys of venues. FOLDER gets
# fullchain.pem and privkey.pem for the NAMEs (host names and IP addresses), and a copy of ca.crt, which is what phones
# and browsers are to trust. Run again it changes nothing, unless less than RENEW_DAYS (30) are left, the NAMEs are
# others, or the authority is another.
#
# LEAF_DAYS  how long the host's certificate is valid; 390. Apple's devices refuse more than 825.
set -eu
umask 077

fail() {
  echo "nginx/local-ca.sh: $1" >&2
  exit 1
}

[ $# -ge 3 ] || { echo "usage: local-ca.sh CA_FOLDER FOLDER NAME..." >&2; exit 2; }
command -v openssl >/dev/null || fail "openssl is not installed: apt-get install openssl"
here=$(cd "$(dirname "$0")" && pwd)
authority=$1 folder=$2
shift 2
renew_seconds=$((${RENEW_DAYS:-30} * 86400))
leaf_days=${LEAF_DAYS:-390}

names=""
for name in "$@"; do
  case $name in
    *[!A-Za-z0-9.:*-]* | "") fail "$name is neither a host name nor an IP address" ;;
    *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
  esac
  names="$names,$kind:$name"
done
names=${names#,}

mkdir -p "$authority" "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- the authority, once
if ! [ -s "$authority/ca.key" ] || ! openssl x509 -in "$authority/ca.crt" -noout -checkend "$renew_seconds" >/dev/null 2>&1; then
  if [ -s "$authority/ca.key" ] && [ -s "$authority/ca.crt" ]; then
    echo "nginx: the local authority ends soon or has ended; every device has to trust the new one"
  fi
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days 3650 \
    -keyout "$work/ca.key" -out "$work/ca.crt" -subj "/CN=autotrader $(date -u +%Y-%m-%d) $(openssl rand -hex 4)" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>"$work/said" ||
    fail "$(cat "$work/said")"
  mv -f "$work/ca.key" "$authority/ca.key"
  mv -f "$work/ca.crt" "$authority/ca.crt"
  chmod 644 "$authority/ca.crt"
  echo "nginx: new local authority, $(openssl x509 -in "$authority/ca.crt" -noout -fingerprint -sha256)"
fi

# --- the host's certificate. What it is for stands in a file, for openssl writes names in a form of its own
wanted="$names by $(openssl x509 -in "$authority/ca.crt" -noout -fingerprint -sha256)"
if [ "$(cat "$folder/.local-ca" 2>/dev/null)" != "$wanted" ] ||
  ! openssl x509 -in "$folder/fullchain.pem" -noout -checkend "$renew_seconds" >/dev/null 2>&1 ||
  [ "$(openssl x509 -in "$folder/fullchain.pem" -noout -pubkey 2>/dev/null)" != \
    "$(openssl pkey -in "$folder/privkey.pem" -pubout 2>/dev/null)" ]; then
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 \
    -keyout "$work/leaf.key" -out "$work/leaf.csr" -subj "/CN=autotrader" 2>"$work/said" || fail "$(cat "$work/said")"
  cat >"$work/leaf.cnf" <<END
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=$names
END
  openssl x509 -req -in "$work/leaf.csr" -CA "$authority/ca.crt" -CAkey "$authority/ca.key" -sha256 \
    -set_serial "0x$(openssl rand -hex 16)" -days "$leaf_days" -extfile "$work/leaf.cnf" -out "$work/leaf.crt" \
    2>"$work/said" || fail "a certificate for $names cannot be made: $(tail -n 1 "$work/said")"
  cat "$work/leaf.crt" "$authority/ca.crt" >"$work/fullchain.pem"
  sh "$here/put-certificate.sh" "$work/fullchain.pem" "$work/leaf.key" "$folder"
  printf '%s\n' "$wanted" >"$folder/.local-ca"
fi
cmp -s "$authority/ca.crt" "$folder/ca.crt" || { cp "$authority/ca.crt" "$folder/ca.crt"; chmod 644 "$folder/ca.crt"; }
