#!/bin/sh
# Verifies the Ed25519 signature of a log's checkpoint with openssl, from the checkpoint and the verifier key
# alone: no program of Windvane takes part.
#
#   verify_checkpoint.sh CHECKPOINT-FILE VERIFIER-KEY
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 CHECKPOINT-FILE VERIFIER-KEY" >&2
    exit 2
fi
note=$1
name=${2%%+*}
rest=${2#*+}
hash=${rest%%+*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The key: one byte of type (1 is Ed25519), then 32 bytes; openssl takes them behind a fixed DER header.
printf '%s' "${rest#*+}" | base64 -d > "$work/typed"
[ "$(wc -c < "$work/typed")" -eq 33 ] && [ "$(head -c 1 "$work/typed" | od -An -tu1 | tr -d ' ')" = 1 ] ||
    { echo "this is not an Ed25519 verifier key" >&2; exit 1; }
{
    printf '\060\052\060\005\006\003\053\145\160\003\041\000'
    tail -c 32 "$work/typed"
} > "$work/key.der"

# The text goes up to the blank line; the signature line is: dash, name, base64 of key hash and signature.
sed -n '/^$/q;p' "$note" > "$work/text"
[ "$(head -n 1 "$work/text")" = "$name" ] || { echo "the checkpoint is not of $name" >&2; exit 1; }
sed '1,/^$/d' "$note" | awk -v name="$name" '$1 == "—" && $2 == name && NF == 3 { print $3 }' > "$work/encoded"
[ "$(wc -l < "$work/encoded")" -eq 1 ] || { echo "the checkpoint has not one signature of $name" >&2; exit 1; }
base64 -d "$work/encoded" > "$work/signature"
[ "$(head -c 4 "$work/signature" | od -An -tx1 | tr -d ' \n')" = "$hash" ] ||
    { echo "the signature is of another key" >&2; exit 1; }
tail -c +5 "$work/signature" > "$work/raw"
openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey "$work/key.der" -in "$work/text" -sigfile "$work/raw"
