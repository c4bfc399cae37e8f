#!/bin/bash
# demo.sh - `holdfast demo`: two processes, each side for 3 s (HF_LONG=1: 15 s), and what it must say of itself.
#
# This is the check that the project began with: with holdfast every acknowledged task is found, zero copies
# are made, no error, no alarm, integrity ok. Plain SQLite has to go wrong beside it.
set -u
tool=$HF_BUILD/holdfast
seconds=3
[ -z "${HF_LONG:-}" ] || seconds=15
fails=0
fail() { echo "FAILED: $*"; fails=$((fails + 1)); }

# wants CODE DESCRIPTION COMMAND...: output in ./out and ./err
wants() {
  local code=$1 what=$2 got
  shift 2
  "$@" >out 2>err
  got=$?
  [ $got = "$code" ] || { fail "$what: exit code $got, not $code"; cat out err; }
}
wants 64 'an option that is not there' "$tool" demo --no-such
wants 64 'no time' "$tool" demo --seconds 0
wants 64 'one word too many' "$tool" demo --seconds 1 here
wants 3 'a folder that is not there' "$tool" demo --dir "$PWD/nowhere"
[ "$(echo *)" = 'err out' ] || fail "it left something: $(echo *)"

mkdir holdfast-demo && echo mine >holdfast-demo/board.db
wants 3 'its folder is there already' "$tool" demo --seconds 1 --dir .
[ "$(cat holdfast-demo/board.db)" = mine ] || fail 'it touched what was there'
rm -r holdfast-demo

# Plain SQLite goes wrong by chance: nearly always where many transactions fit in, so not on a slow disk.
fast=$(mktemp -d /dev/shm/holdfast-test.XXXXXX) || fast=$PWD
trap '[ "$fast" = "$PWD" ] || rm -r "$fast"' EXIT
for _ in 1 2 3; do
  "$tool" demo --seconds $seconds --json --dir "$fast" >json 2>err
  code=$?
  [ $code = 1 ] || break
done
[ $code = 0 ] || { fail "the demo: exit code $code"; cat err; }
[ ! -e "$fast/holdfast-demo" ] || fail 'its folder is still there'
python3 - <<'PY' || fail 'see above'
import json, sys
seen = json.load(open("json"))
plain, holdfast, bad = seen["plain"], seen["holdfast"], []
for key in ("tasks_lost tasks_given_twice lock_breaches alarms false_alarms backup_files errors crashes").split():
    if holdfast[key] != 0:
        bad.append(f"holdfast {key} is {holdfast[key]}, not 0")
for what, is_so in (("integrity is not ok", holdfast["integrity"] == "ok"),
                    ("not all tasks are there", holdfast["tasks_found"] == holdfast["tasks_acknowledged"]),
                    ("hardly any task", holdfast["tasks_acknowledged"] > 100),
                    ("hardly any task, plain", plain["tasks_acknowledged"] > 10),
                    ("no check was done", holdfast["checks"] > holdfast["not_checked"]),
                    ("the programs were not careless", holdfast["looks"] > 10)):
    if not is_so:
        bad.append(what)
print("\n".join(bad))
sys.exit(len(bad) > 0)
PY
cat json

# Interrupted: its folder goes as well.
"$tool" demo --seconds 60 --dir "$fast" >out 2>err &
pid=$!
until [ -e "$fast/holdfast-demo/board.db" ]; do
  kill -0 $pid || break
  sleep 0.1
done
kill -INT $pid
wait $pid
[ $? = 3 ] || fail 'interrupted, and the exit code is not 3'
[ ! -e "$fast/holdfast-demo" ] || fail 'interrupted, and its folder is still there'

# As people see it: no colours into a file, the numbers that matter there.
"$tool" demo --seconds 1 --dir "$fast" >out 2>err
code=$?
[ $code -le 1 ] || { fail "the table: exit code $code"; cat err; }
for word in 'tasks acknowledged' 'lock breaches' 'false' 'backup files' 'worst wait' 'database in the end'; do
  grep -q "$word" out || fail "the table has no \"$word\""
done
grep -q $'\e' out && fail 'colours in a file'
echo "$fails failed"
[ $fails = 0 ]
