#!/bin/bash
# ThreadSanitizer over the shim, the pool and the checks: tests/tsan/threads.c, pool_storm.c, pool_work.c and
# health_work.c with vfs/*.c, lib/*.c and SQLite itself, all of them instrumented, must give no report. There are two
# controls, which must be reported: the first program with one plain counter on top of the shim, and the last one
# with a health_timer.c that has lost the lock of one function. Nothing is suppressed. SQLite is compiled once and kept in the cache folder. What is left out here:
# SQLite's functions that SQLite itself marks as false positives (SQLITE_NO_TSAN; it does so for clang only),
# and the one reader of the wal-index in vfs/walguard.c that says so in its source.
set -u
cc=${CC:-gcc}
seconds=${HF_TSAN_SECONDS:-5}
if [ -n "${HF_LONG:-}" ]; then seconds=300; fi
top=$PWD
failures=0
skip() { echo "$*"; exit 77; }
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# -- can it run here at all?
command -v "$cc" >/dev/null || skip "no $cc here"
mkdir obj run || exit 1
flags=(-O1 -g -fsanitize=thread)
echo 'int main(void) { return 0; }' >empty.c
"$cc" "${flags[@]}" -o empty empty.c 2>why || skip "$cc has no ThreadSanitizer: $(tail -n 1 why)"
# Its shadow memory wants addresses that some kernels' randomisation gives away.
under=()
if command -v setarch >/dev/null && setarch -R true 2>/dev/null; then under=(setarch -R); fi
"${under[@]}" ./empty >why 2>&1 || skip "ThreadSanitizer does not run on this kernel: $(tail -n 1 why)"

# -- SQLite
source_tree=$("$HF_SOURCE/tools/fetch-sqlite-source.sh") || skip "$(tail -n 1 <<<"$source_tree")"
cache=${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/holdfast}
kept=$cache/tsan-$(basename "$source_tree")-$("$cc" -dumpfullversion -dumpversion)-$(basename "$cc")
if [ ! -f "$kept/sqlite3.o" ]; then
  for need in make tclsh; do command -v $need >/dev/null || skip "no $need here: SQLite's sqlite3.c is made with it"; done
  new=$(mktemp -d "$cache/tsan.XXXXXX") || skip "cannot write to the cache folder $cache"
  trap 'rm -rf "$new"' EXIT
  (cd "$new" && "$source_tree/configure" --disable-tcl --disable-readline && make sqlite3.c) >sqlite.log 2>&1 ||
    { tail -n 5 sqlite.log; skip "sqlite3.c cannot be made from $source_tree"; }
  sed -i 's/^# define SQLITE_NO_TSAN$/& __attribute__((no_sanitize_thread))/' "$new/sqlite3.c"
  mkdir "$new/keep"
  "$cc" "${flags[@]}" -w -DSQLITE_THREADSAFE=1 -c -o "$new/keep/sqlite3.o" "$new/sqlite3.c" ||
    { fail "SQLite does not compile"; exit 1; }
  cp "$new/sqlite3.h" "$new/keep/"
  # Whole or not at all, also when two runs do it at once.
  mv -T "$new/keep" "$kept" 2>/dev/null || [ -f "$kept/sqlite3.o" ] || skip "cannot write to the cache folder $cache"
fi

# -- the shim in its linked form, and both programs
includes=(-D_GNU_SOURCE= -I"$HF_SOURCE/include" -I"$kept" -std=c11 -Wall -Wextra)
for file in "$HF_SOURCE"/vfs/*.c "$HF_SOURCE"/lib/*.c; do
  case $file in *_other.c | */ext.c) ;; *) printf '%s\0' "$file" ;; esac
done | xargs -0 -P 2 -I '{}' sh -c '"$@" -o "obj/$(basename "$0" .c).o" "$0"' '{}' "$cc" "${includes[@]}" "${flags[@]}" -c ||
  { fail "the shim does not compile"; exit 1; }
program() {
  "$cc" "${includes[@]}" "${flags[@]}" "${@:3}" -o "$1" "$HF_SOURCE/tests/$2" obj/*.o "$kept/sqlite3.o" \
    -lpthread -ldl -lm || { fail "$1 does not compile"; exit 1; }
}
program threads tsan/threads.c
program planted tsan/threads.c -DHF_PLANTED_RACE
program pool_storm proc/pool_storm.c
program pool_work tsan/pool_work.c
program health_work tsan/health_work.c
mv obj/health_timer.o whole_timer.o &&
  sed '/^void hf_timer_ask/,/^}/{/pthread_mutex_/d}' "$HF_SOURCE/vfs/health_timer.c" >health_timer.c &&
  ! cmp -s health_timer.c "$HF_SOURCE/vfs/health_timer.c" &&
  "$cc" "${includes[@]}" "${flags[@]}" -I"$HF_SOURCE/vfs" -c -o obj/health_timer.o health_timer.c &&
  program unlocked tsan/health_work.c || fail "the second control cannot be built"
mv whole_timer.o obj/health_timer.o

# look PROGRAM OPTIONS [ARGUMENT]: its exit code; 66 = ThreadSanitizer has something to report, in PROGRAM.log.
look() {
  rm -rf run && mkdir run && cd run || exit 1
  HOLDFAST_LOG=$PWD/holdfast.log TSAN_OPTIONS="exitcode=66 $2" timeout $((seconds * 4 + 60)) \
    "${under[@]}" "$top/$1" "${3:-$seconds}" >"$top/$1.log" 2>&1
  local rc=$?
  cd "$top" || exit 1
  return $rc
}

# clean PROGRAM [ARGUMENT]: nothing to report and nothing wrong.
clean() {
  look "$1" halt_on_error=0 "${2:-}"
  local rc=$?
  echo "$1: $(tail -n 1 "$1.log")"
  [ $rc = 0 ] && ! grep -q 'WARNING: ThreadSanitizer' "$1.log" ||
    fail "$1, exit code $rc"$'\n'"$(grep SUMMARY "$1.log" | sort | uniq -c)"$'\n'"$(head -n 80 "$1.log")"
}
clean threads
clean pool_storm $((seconds * 600))
clean pool_work
clean health_work

# reported PROGRAM FUNCTION: the race is seen, and where it is.
reported() {
  look "$1" halt_on_error=1
  local rc=$? race="data race .* in $2"
  if [ $rc = 66 ] && grep -q "SUMMARY: ThreadSanitizer: $race" "$1.log"; then
    echo "the control $1: $(grep -m 1 -o "$race" "$1.log" | sed "s|$HF_SOURCE/||")"
  else
    fail "the control $1: the planted race was not reported, exit code $rc"$'\n'"$(head -n 40 "$1.log")"
  fi
}
reported planted counted_open
reported unlocked '\(watch\|hf_timer_[a-z]*\)' # whichever of the two comes second
[ $failures = 0 ]
