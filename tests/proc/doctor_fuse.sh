#!/bin/bash
# `holdfast doctor` on FUSE mounts that are bad in one way each: locks that two owners get, no shared memory, a
# server that stops answering before or in the self-test. Mounts in a name space of its own only.
set -u
. "$HF_SOURCE/tests/support/fuse.sh"

# expect CODE TEXT ARGUMENT...
expect() {
  local want=$1 text=$2 out rc
  shift 2
  out=$(timeout 60 "$HF_BUILD/holdfast" doctor "$@" 2>&1)
  rc=$?
  [ $rc = "$want" ] || fail "$* gave $rc, not $want: $out"
  case $out in *"$text"*) ;; *) fail "$* does not say \"$text\": $out" ;; esac
}
nothing_left() { [ -z "$(find lower -name '*hfprobe*')" ] || fail "$1: left $(ls lower)"; }

# The control: with locks that work, the same type of mount passes, and the way to say so is shown.
serve
expect 1 "HOLDFAST_ASSUME=local" mnt
expect 1 '"excludes": true' --json mnt/a.db
nothing_left "good locks"
unmount

serve --multithreaded --enable-lock-forwarding
expect 2 "two owners hold one write lock" mnt/a.db
expect 2 '"excludes": false' --json mnt/a.db
nothing_left "fake locks"
unmount

serve -o direct_io
expect 1 '"maps": false' --json mnt
unmount

# A dead server, named before anything is touched; through a link too, which only the child follows.
"$HF_BUILD/holdfast" doctor --no-probe lower >/dev/null
healthy=$?
serve
ln -s mnt link
kill -STOP $server
for path in mnt/a.db mnt link/a.db link/../mnt/deep/a.db; do
  SECONDS=0
  expect 3 "the server of $PWD/mnt (fuse $PWD/lower) does not answer" --timeout 1 $path
  [ $SECONDS -le 5 ] || fail "$path: the deadline took $SECONDS s"
done
expect $healthy "verdict" --no-probe lower # others are not held up
kill -CONT $server
expect 1 "rollback-one-host" mnt
unmount

# Slow, but alive: the self-test is cut off, its file is removed by the parent.
serve --multithreaded --write-rate=32k
expect 1 "it did not end in time" --timeout 2 mnt/a.db
nothing_left "a self-test that was cut off"

# Told to stop in the middle of the self-test: it cleans up first.
wait_for_probe() {
  for _ in $(seq 400); do
    [ -n "$(find lower -name '*hfprobe*')" ] && return
    sleep 0.01
  done
  fail "no self-test began"
}
"$HF_BUILD/holdfast" doctor --timeout 20 mnt/a.db >term.text &
tool=$!
wait_for_probe
kill -TERM $tool
wait $tool
[ $? = 3 ] && grep -q interrupted term.text || fail "SIGTERM in the self-test: $(cat term.text)"
nothing_left "a self-test that was told to stop"

# It stops answering in the middle of the self-test: said, and the file that may be left is named.
(timeout 60 "$HF_BUILD/holdfast" doctor --json --timeout 2 mnt/a.db >middle.json; echo $? >middle.code) &
tool=$!
wait_for_probe
kill -STOP $server
wait $tool
[ "$(cat middle.code)" = 3 ] || fail "stopped in the self-test: exit code $(cat middle.code)"
grep -q "does not answer" middle.json || fail "stopped in the self-test: $(cat middle.json)"
grep -q "\"leftover\": \"$PWD/mnt/a.db-hfprobe-" middle.json || fail "no leftover named: $(cat middle.json)"

[ $failures = 0 ] && echo "all as expected"
exit $((failures > 0))
