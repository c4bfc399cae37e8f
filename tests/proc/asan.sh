#!/bin/bash
# AddressSanitizer and UndefinedBehaviorSanitizer over vfs/, lib/ and what tests them: unit tests, the parsers'
# fuzzers, pool_storm, and the checks with damaged databases. Nothing is suppressed; leaks are memcheck's business.
# The control: salvage's reader of pages with one bound taken out, which the fuzzer of databases must make visible.
# SQLite itself is the system's and not instrumented. HF_LONG=1: the long forms of these tests.
set -u
cc=gcc
skip() { echo "$*"; exit 77; }
fail() { echo "FAILED: $*"; exit 1; }

command -v $cc >/dev/null || skip "no $cc here"
command -v make >/dev/null || skip "no make here"
checked=('-fsanitize=address,undefined' -fno-sanitize-recover=all)
echo 'int main(void) { return 0; }' >empty.c
$cc "${checked[@]}" -o empty empty.c 2>why && ./empty 2>why || skip "no sanitizers here: $(tail -n 1 why)"

tests=(fuzz/fuzz_mountinfo fuzz/fuzz_database proc/pool_storm proc/health_damage proc/health_pool proc/bad_input)
for file in "$HF_SOURCE"/tests/unit/test_*.c; do
  case $file in
    */test_pool_scope.c | */test_walguard_race.c) ;; # a second is little here; thousands of orders take long
    *) tests+=("unit/$(basename "$file" .c)") ;;
  esac
done
build=$PWD/build
programs=("${tests[@]/#/$build/tests/}")
made() { make -s -C "$HF_SOURCE" -j2 BUILD="$build" CC=$cc CFLAGS="-O0 -g1 ${checked[*]}" "$@" >log 2>&1; }
made "$build/holdfast.so" "${programs[@]}" || fail "it does not compile"$'\n'"$(tail -n 30 log)"

export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
export HF_BUILD=$build
[ -n "${HF_LONG:-}" ] || export HF_ROUNDS=${HF_ROUNDS:-150} # of the fuzzers; they have more without sanitizers
if ! "$HF_SOURCE/tests/run" "${tests[@]}" >log 2>&1; then
  cat log
  for file in "$build"/tests/log/*.log; do grep -E -A 12 'ERROR: AddressSanitizer|runtime error' "$file" | head -n 40; done
  fail "see above"
fi
tail -n 1 log

# -- the control
sed 's/leaf >= 1 && leaf <= image->pages && /leaf >= 1 \&\& /' "$HF_SOURCE/lib/salvage_pages.c" >salvage_pages.c
! cmp -s salvage_pages.c "$HF_SOURCE/lib/salvage_pages.c" || fail "the control has nothing to take out"
ar t "$build/libholdfast.a" | grep -q '^salvage_pages.o$' || fail "no such object"
cp "$build/libholdfast.a" control.a && ar d control.a salvage_pages.o &&
  $cc -std=c11 -D_GNU_SOURCE -O0 -g1 "${checked[@]}" -I"$HF_SOURCE/include" -I"$HF_SOURCE/lib" -o control \
    "$HF_SOURCE/tests/fuzz/fuzz_database.c" salvage_pages.c control.a -lsqlite3 -lpthread >log 2>&1 ||
  fail "the control does not compile"$'\n'"$(tail -n 20 log)"
HF_ROUNDS=20000 HOLDFAST_LOG=none timeout 200 ./control >log 2>&1
rc=$?
folder=$(sed -n 's|^in \(/dev/shm/holdfast-fuzz\.[A-Za-z0-9]*\)$|\1|p' log)
[ -z "$folder" ] || rm -rf "$folder"
[ $rc != 0 ] && grep -q 'ERROR: AddressSanitizer.*' log && grep -q 'in hf_mark_free' log ||
  fail "the control: the missing bound was not reported, exit code $rc"$'\n'"$(tail -n 20 log)"
echo "the control: $(grep -o 'AddressSanitizer: [a-zA-Z-]*' log | head -n 1) in hf_mark_free"
