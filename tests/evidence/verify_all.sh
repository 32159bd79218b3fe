#!/usr/bin/env bash
# Verifies the logs of a demo's directory with tools that are not ours, Go's sumdb packages and openssl, and
# shows that both refuse a changed byte. It fits a demo alone (five parties, their configurations beside them): of a node's
# log, verify_log.go and verify_checkpoint.sh are run by themselves.
#
#   verify_all.sh DEMO-DIRECTORY
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$work/cache" GOFLAGS=
go build -o "$work/verify_log" "$here/verify_log.go"

# Flips the lowest bit of a byte of a file; a negative place counts from the end.
flip() {
  python3 - "$1" "$2" <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    content = bytearray(file.read())
    content[int(sys.argv[2])] ^= 1
    file.seek(0)
    file.write(content)
PY
}

parties=0
for log in "$1"/*/data/log; do
  party=$(basename "$(dirname "$(dirname "$log")")")
  # What the auditor holds from elsewhere: here taken from the party itself.
  vkey=$("${WINDVANE:-target/release/windvane}" keys log-verifier --config "$1/$party/node.toml")
  "$work/verify_log" "$log" "$vkey"
  "$here/verify_checkpoint.sh" "$log/checkpoint" "$vkey"

  cp -r "$log" "$work/changed"
  # The last byte but one: inside content, not the final line end.
  flip "$(find "$work/changed/tile/entries" -type f | sort | head -n 1)" -2
  if "$work/verify_log" "$work/changed" "$vkey" >/dev/null 2>&1; then
    echo "a changed entry of $party was accepted" >&2; exit 1
  fi
  # The last digit of the size: everything is still spelled well, and only openssl can refuse it.
  flip "$work/changed/checkpoint" $(($(head -n 2 "$work/changed/checkpoint" | wc -c) - 2))
  if said=$("$here/verify_checkpoint.sh" "$work/changed/checkpoint" "$vkey" 2>&1); then
    echo "a changed checkpoint of $party was accepted" >&2; exit 1
  fi
  case $said in
    *"Signature Verification Failure"*) ;;
    *) echo "a changed checkpoint of $party was refused, but not by openssl: $said" >&2; exit 1 ;;
  esac
  rm -rf "$work/changed"
  parties=$((parties + 1))
done
[ "$parties" -ge 5 ] || { echo "expected the logs of a bank, three carriers and an authority, found $parties" >&2; exit 1; }
echo "$parties logs verified by Go and openssl; changed ones refused"
