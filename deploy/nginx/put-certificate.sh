#!/bin/sh
# Put a certificate and its key where nginx reads them, after a look at both:
#
#   put-certificate.sh CERTIFICATE KEY FOLDER
#
# CERTIFICATE is the host's, followed by those that vouch for it. FOLDER gets fullchain.pem and privkey.pem, which only
# its owner reads: this user, or KEY_OWNER (a uid:gid). Says nothing and changes nothing where they are there already. Exit 1, with the fault and the cure,
# for a pair that nginx could not serve; what is in FOLDER stays then.
set -eu

fail() {
  echo "nginx/put-certificate.sh: $1" >&2
  exit 1
}

[ $# -eq 3 ] || { echo "usage: put-certificate.sh CERTIFICATE KEY FOLDER" >&2; exit 2; }
certificate=$1 key=$2 folder=$3
for file in "$certificate" "$key"; do
  [ -r "$file" ] || fail "$file cannot be read: let this user read it, or name another file"
done
of_certificate=$(openssl x509 -in "$certificate" -noout -pubkey 2>/dev/null) ||
  fail "$certificate is no certificate in PEM form: give the file that begins with BEGIN CERTIFICATE (fullchain.pem)"
of_key=$(openssl pkey -in "$key" -pubout -passin pass: 2>/dev/null) ||
  fail "$key is no private key in PEM form without a password: give privkey.pem"
[ "$of_certificate" = "$of_key" ] ||
  fail "$key is not the key of $certificate: give the two files of one renewal"
openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null ||
  fail "$certificate is out of date ($(openssl x509 -in "$certificate" -noout -enddate)): renew it, or set the clock"

mkdir -p "$folder"
if cmp -s "$certificate" "$folder/fullchain.pem" && cmp -s "$key" "$folder/privkey.pem"; then
  exit 0
fi
umask 077
cp "$key" "$folder/.privkey.new"
cp "$certificate" "$folder/.fullchain.new"
chmod 600 "$folder/.privkey.new"
chmod 644 "$folder/.fullchain.new"
[ -z "${KEY_OWNER:-}" ] || chown "$KEY_OWNER" "$folder/.privkey.new" "$folder/.fullchain.new"
# one after the other: who reads in between waits until both fit
mv -f "$folder/.privkey.new" "$folder/privkey.pem"
mv -f "$folder/.fullchain.new" "$folder/fullchain.pem"
echo "nginx: new certificate, $(openssl x509 -in "$certificate" -noout -enddate)"
