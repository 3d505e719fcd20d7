#!/bin/sh
# kcat (librdkafka): every compression with and without idempotence, offsets, time, groups.
#
# Usage: kcat.sh HOST:PORT
# Each check compares what comes back with what was sent, by content and order.
set -u

command -v kcat >/dev/null || { echo "kcat is missing: run \`cargo xtask setup\`"; exit 2; }

broker=${1:?usage: kcat.sh HOST:PORT}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run=$(date +%s%N)
failed=0
checks=0

check() {
  checks=$((checks + 1))
  name=$1
  shift
  if "$@" >"$folder/said" 2>&1; then
    echo "ok    $name"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    sed 's/^/      /' "$folder/said"
  fi
}

# 2,000 lines that name themselves, so that a lost, doubled or reordered one shows.
lines() {
  awk -v run="$run" -v count="${1:-2000}" \
    'BEGIN { for (i = 0; i < count; i++) printf "%s line %d %0100d\n", run, i, i * i }'
}

same() {
  cmp "$1" "$2" && test -s "$1"
}

round_trip() {
  topic="kcat-$1-$run"
  lines >"$folder/sent"
  kcat -q -b "$broker" -P -t "$topic" -p 0 -X compression.codec="$1" -X linger.ms=5 $2 \
    <"$folder/sent" 2>"$folder/errors" || { cat "$folder/errors"; return 1; }
  # librdkafka says so when it falls back to no compression.
  ! grep -i "compress\|feature" "$folder/errors" || return 1
  kcat -q -b "$broker" -C -t "$topic" -p 0 -o beginning -e >"$folder/read"
  same "$folder/sent" "$folder/read"
}

metadata() {
  lines 10 | kcat -q -b "$broker" -P -t "kcat-list-$run" || return 1
  kcat -b "$broker" -L | grep "topic \"kcat-list-$run\"" || return 1
  kcat -b "$broker" -L -J | grep -q '"brokers":\[{"id":0'
}

from_offsets() {
  topic="kcat-offsets-$run"
  lines 500 >"$folder/sent"
  kcat -q -b "$broker" -P -t "$topic" -p 0 -X linger.ms=50 -z gzip <"$folder/sent" || return 1
  kcat -q -b "$broker" -C -t "$topic" -p 0 -o 123 -e >"$folder/read" || return 1
  tail -n +124 "$folder/sent" >"$folder/rest"
  same "$folder/rest" "$folder/read" || return 1
  kcat -q -b "$broker" -C -t "$topic" -p 0 -o -7 -e >"$folder/read" || return 1
  tail -n 7 "$folder/sent" >"$folder/rest"
  same "$folder/rest" "$folder/read"
}

by_time() {
  topic="kcat-time-$run"
  lines 5 | kcat -q -b "$broker" -P -t "$topic" -p 0 || return 1
  sleep 0.05
  now=$(date +%s%3N)
  sleep 0.05
  echo later | kcat -q -b "$broker" -P -t "$topic" -p 0 || return 1
  test "$(kcat -b "$broker" -Q -t "$topic:0:$now")" = "$topic [0] offset 5" || return 1
  test "$(kcat -q -b "$broker" -C -t "$topic" -p 0 -o "s@$now" -e)" = later
}

keys_and_headers() {
  topic="kcat-headers-$run"
  echo "key:value" | kcat -q -b "$broker" -P -t "$topic" -p 0 -K : -H a=1 -H a=2 || return 1
  said=$(kcat -q -b "$broker" -C -t "$topic" -p 0 -o beginning -e -f '%k|%s|%h|%p|%o\n')
  echo "$said"
  test "$said" = "key|value|a=1,a=2|0|0"
}

group() {
  topic="kcat-group-$run"
  lines 100 >"$folder/sent"
  kcat -q -b "$broker" -P -t "$topic" -p 0 <"$folder/sent" || return 1
  options="-X auto.offset.reset=earliest -X session.timeout.ms=6000"
  timeout 60 kcat -q -b "$broker" -G "group-$run" $options -c 60 "$topic" >"$folder/first" || return 1
  timeout 60 kcat -q -b "$broker" -G "group-$run" $options -c 40 "$topic" >"$folder/second" || return 1
  cat "$folder/first" "$folder/second" >"$folder/read"
  same "$folder/sent" "$folder/read"
}

large() {
  topic="kcat-large-$run"
  head -c 900000 /dev/urandom | base64 -w 0 | head -c 900000 >"$folder/sent"
  kcat -q -b "$broker" -P -t "$topic" -p 0 "$folder/sent" || return 1
  kcat -q -b "$broker" -C -t "$topic" -p 0 -o beginning -e -D '' >"$folder/read" || return 1
  same "$folder/sent" "$folder/read"
}

for codec in none gzip snappy lz4 zstd; do
  check "$codec" round_trip "$codec" ""
done
for codec in none lz4; do
  run="$run"i
  check "$codec, idempotent" round_trip "$codec" "-X enable.idempotence=true"
done
run="$run"a
check "acks=1" round_trip none "-X acks=1"
check "metadata" metadata
check "from offsets" from_offsets
check "by time" by_time
check "keys and headers" keys_and_headers
check "group resumes" group
check "large record" large

if [ "$failed" -eq 0 ]; then
  echo "VERDICT PASS"
else
  echo "VERDICT FAIL ($failed of $checks)"
  exit 1
fi
