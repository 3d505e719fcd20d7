#!/bin/sh
# Lantern's own commands as a user types them, and what they and kcat make of each other's records.
#
# Usage: commands.sh HOST:PORT LANTERN
set -u

command -v kcat >/dev/null || { echo "kcat is missing: run \`cargo xtask setup\`"; exit 2; }

broker=${1:?usage: commands.sh HOST:PORT LANTERN}
program=${2:?usage: commands.sh HOST:PORT LANTERN}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run=$(date +%s%N)
failed=0
checks=0
LANTERN_BROKER=$broker
export LANTERN_BROKER

# In good order however the command is built or named.
lantern() {
  timeout 60 "$program" "$@"
}

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

# Says what differs.
same() {
  test "$1" = "$2" || { printf 'expected: %s\nfound:    %s\n' "$2" "$1"; return 1; }
}

kcat_to_lantern() {
  topic="to-lantern-$run"
  lantern topic create "$topic" -p 1 || return 1
  printf 'k1:v1\nk2:走马灯\n' | kcat -q -b "$broker" -P -t "$topic" -K : -H a=1 -H a=2 -z gzip || return 1
  printf 'k3:\n' | kcat -q -b "$broker" -P -t "$topic" -K : -Z || return 1
  same "$(lantern consume "$topic" --format '%k|%s|%S|%h|%p|%o\n')" \
    "$(kcat -q -b "$broker" -C -t "$topic" -o beginning -e -f '%k|%s|%S|%h|%p|%o\n')" || return 1
  said=$(lantern consume "$topic" | cut -d' ' -f 3-)
  same "$said" "$topic/0@0  k1  v1  a=1  a=2
$topic/0@1  k2  走马灯  a=1  a=2
$topic/0@2  k3  <null>" || return 1
  lantern consume "$topic" -o json -n 1 | grep -q '"key":"k1","value":"v1","headers":\[{"name":"a","value":"1"}'
}

lantern_to_kcat() {
  for codec in none gzip snappy lz4 zstd; do
    topic="to-kcat-$codec-$run"
    lantern topic create "$topic" -p 1 || return 1
    printf 'k1=v1\nk2=\n' |
      lantern produce "$topic" -K = -H source=shop -H seen -Z -z "$codec" -q || return 1
    same "$(kcat -q -b "$broker" -C -t "$topic" -o beginning -e -f '%k|%s|%S|%h\n')" \
      "k1|v1|2|source=shop,seen=NULL
k2||-1|source=shop,seen=NULL" || return 1
  done
}

a_hundred_thousand() {
  topic="many-$run"
  lantern topic create "$topic" -p 4 || return 1
  seq 1 100000 >"$folder/sent"
  lantern produce "$topic" -z lz4 <"$folder/sent" || return 1
  kcat -q -b "$broker" -C -t "$topic" -o beginning -e | sort -n | cmp - "$folder/sent" || return 1
  lantern consume "$topic" -o value | sort -n | cmp - "$folder/sent" || return 1
  lantern topic list "$topic" -o json | grep -q '"records":100000'
}

# The reader goes after three lines of a hundred thousand.
a_pipe_that_breaks() {
  topic="many-$run"
  lantern consume "$topic" -o value >"$folder/all" || return 1
  { lantern consume "$topic" -o value 2>"$folder/err"; echo $? >"$folder/code"; } | head -3 >"$folder/head"
  same "$(cat "$folder/code")" 0 || return 1
  same "$(cat "$folder/err")" "" || return 1
  same "$(wc -l <"$folder/head")" 3
}

seeking_by_time() {
  topic="time-$run"
  lantern topic create "$topic" -p 2 || return 1
  printf 'early\n' | lantern produce "$topic" -q || return 1
  sleep 0.05
  now=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
  sleep 0.05
  printf 'late\n' | lantern produce "$topic" -q || return 1
  same "$(lantern consume "$topic" --from "$now" -o value)" late || return 1
  same "$(lantern consume "$topic" --until "$now" -o value)" early || return 1
  same "$(lantern consume "$topic" --from 1h -o value | sort)" "early
late"
}

# kcat and lantern as members of one group, then its administration.
one_group_two_clients() {
  topic="group-$run" group="readers-$run"
  lantern topic create "$topic" -p 1 || return 1
  seq 1 100 | lantern produce "$topic" -q || return 1
  timeout 60 kcat -q -b "$broker" -G "$group" -X auto.offset.reset=earliest -c 60 "$topic" \
    >"$folder/first" || return 1
  lantern consume "$topic" --group "$group" -o value -n 30 >"$folder/second" || return 1
  lantern group lag "$group" | grep -q '^Total lag: 10 records.$' || return 1
  timeout 60 kcat -q -b "$broker" -G "$group" -c 10 "$topic" >"$folder/third" || return 1
  cat "$folder/first" "$folder/second" "$folder/third" >"$folder/read"
  seq 1 100 | cmp - "$folder/read" || return 1
  lantern group reset "$group" --to -5 --topic "$topic" || return 1
  same "$(timeout 60 kcat -q -b "$broker" -G "$group" -c 5 "$topic" | tr '\n' ' ')" "96 97 98 99 100 " || return 1
  lantern group delete "$group" --yes || return 1
  ! lantern group lag "$group"
}

# Ctrl-C while it follows as a member: what it printed is committed, and the group is empty at once.
being_interrupted() {
  topic="stop-$run" group="stopped-$run"
  lantern topic create "$topic" -p 1 || return 1
  seq 1 7 | lantern produce "$topic" -q || return 1
  "$program" consume "$topic" --group "$group" --follow -o value >"$folder/followed" 2>"$folder/err" &
  id=$!
  for _ in $(seq 1 200); do
    test "$(wc -l <"$folder/followed")" -eq 7 && break
    sleep 0.05
  done
  ! lantern group reset "$group" --to beginning --topic "$topic" || return 1
  kill -INT "$id"
  wait "$id" || { cat "$folder/err"; return 1; }
  lantern group lag "$group" -o json | grep -q '"state":"Empty","members":0,"lag":0,'
}

# On a terminal the second look is drawn over the first; elsewhere each look is a line.
watching_lag() {
  topic="watched-$run" group="watchers-$run"
  lantern topic create "$topic" -p 1 || return 1
  seq 1 9 | lantern produce "$topic" -q || return 1
  lantern consume "$topic" --group "$group" -n 4 || return 1
  same "$(lantern group lag "$group" --watch --interval 100ms --count 3 | wc -l)" 3 || return 1
  command="$program group lag $group --watch --interval 100ms --count 2"
  TERM=xterm timeout 60 script -qec "$command" /dev/null >"$folder/screen" </dev/null || return 1
  same "$(grep -c 'Total lag: 5 records' "$folder/screen")" 2 || return 1
  same "$(grep -c "$(printf '\033')\[4F$(printf '\033')\[J" "$folder/screen")" 1
}

codes() {
  lantern topic list >/dev/null
  same $? 0 || return 1
  lantern consume "nothing-$run" 2>"$folder/err"
  same $? 1 || return 1
  grep -q "there is no topic 'nothing-$run'" "$folder/err" || return 1
  lantern consume 2>/dev/null
  same $? 2 || return 1
  lantern topic delete "many-$run" </dev/null 2>"$folder/err"
  same $? 2 || return 1
  grep -q -- --yes "$folder/err" || return 1
  lantern topic list --broker 127.0.0.1:1 2>"$folder/err"
  same $? 1 || return 1
  same "$(wc -l <"$folder/err")" 1 || return 1
  grep -q '127.0.0.1:1' "$folder/err"
}

helps() {
  for words in topic "topic list" "topic describe" "topic create" "topic delete" "topic configure" \
    "topic add-partitions" produce consume group "group list" "group describe" "group lag" \
    "group reset" "group delete"; do
    lantern $words --help >"$folder/help" || return 1
    case $words in
      topic | group) ;;
      *) grep -q '^Examples\?:' "$folder/help" || { echo "no example: $words"; return 1; } ;;
    esac
  done
}

check "kcat to lantern" kcat_to_lantern
check "lantern to kcat" lantern_to_kcat
check "a hundred thousand" a_hundred_thousand
check "a pipe that breaks" a_pipe_that_breaks
check "seeking by time" seeking_by_time
check "one group, two clients" one_group_two_clients
check "being interrupted" being_interrupted
check "watching lag" watching_lag
check "exit codes" codes
check "help" helps

if [ "$failed" -eq 0 ]; then
  echo "VERDICT PASS"
else
  echo "VERDICT FAIL ($failed of $checks)"
  exit 1
fi
