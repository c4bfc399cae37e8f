#!/bin/bash
# `holdfast exec` and programs that are hard to reach: programs/exec_host.c says how. Each case first runs
# without holdfast, and must then have the same answer in all but `PRAGMA holdfast`.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

cc=${CC:-cc}
need "$cc"
export HOLDFAST_ASSUME=local
source=$HF_SOURCE/tests/clients/programs/exec_host.c
# Under valgrind of Debian 12, which cannot read the debug information that clang writes by default.
$cc -D_GNU_SOURCE -std=c11 -O1 -g -gdwarf-4 -Wall -Wextra -o host "$source" -lsqlite3 -ldl -lpthread ||
  { fail "exec_host.c does not compile"; finish; }
covered="holdfast 0*, protections: locks*"

# both WHAT PLAIN COVERED COMMAND...: what a command prints as it is, and under exec.
both() {
  local what=$1 plain=$2 wanted=$3
  shift 3
  rm -f ./*.db ./*.db-*
  same "$what, as it is" "$(timeout 60 "$@" 2>&1 | tr '\n' ';')" "$plain"
  rm -f ./*.db ./*.db-*
  same "$what, exec" "$(timeout 60 "$tool" exec -- "$@" 2>&1 | tr '\n' ';')" "$wanted"
}

both "settings before SQLite starts" "sqlite3_config: 0 0 0;config: 0 nothing;" "sqlite3_config: 0 0 0;config: 0 $covered;" ./host config
both "without mutexes" "sqlite3_config: 0;single: 0 nothing;" "sqlite3_config: 0;single: 0 $covered;" ./host single
both "stopped and started again" "first: 0 nothing;second: 0 nothing;" "first: 0 $covered;second: 0 $covered;" ./host restart
both "all threads at once" "threads: 0 of 8 covered;" "threads: 8 of 8 covered;" ./host threads
HOST_EARLY=1 both "in a constructor" "constructor: 0 nothing;" "constructor: 0 $covered;" ./host early

# Programs that bring their own SQLite: each version alone, all in one process, unloaded in between.
if list=$("$HF_SOURCE/tools/fetch-amalgamations.sh"); then
  mapfile -t libraries < <(cut -d ' ' -f 2- <<<"$list")
  plain=$(sed 's/ .*/: 0 nothing;/' <<<"$list" | tr -d '\n')
  wanted=$(sed "s/ .*/: 0 $covered;/" <<<"$list" | tr -d '\n')
  both "all versions in one process" "$plain" "$wanted" ./host load "${libraries[@]}"
  HOST_UNLOAD=1 both "one after the other" "$plain" "$wanted" ./host load "${libraries[@]}"
  # The oldest and the newest do not call getenv() at the start. Without the gate of preload/reach.c about one
  # run in four of the newest left a thread out.
  for library in "${libraries[0]}" "${libraries[-1]}"; do
    rm -rf its && mkdir its && ln -s "$library" its/libsqlite3.so.0
    for _ in 1 2 3 4 5 6 7 8; do
      rm -f ./*.db ./*.db-*
      same "all threads at once, $(basename "$library" .so)" "$(timeout 60 "$tool" exec -- env LD_LIBRARY_PATH="$PWD/its" ./host threads 2>&1)" \
        "threads: 8 of 8 covered"
    done
  done
  HOST_DEEPBIND=1 both "loaded with RTLD_DEEPBIND" "$plain" "$wanted" ./host load "${libraries[@]}"
else
  echo "left out: $(tail -n 1 <<<"$list")"
fi

# SQLite inside the program itself, without any symbol: where the program moves, and at fixed addresses.
for kind in pie no-pie; do
  $cc -D_GNU_SOURCE -std=c11 -O1 -$kind "-f$([ $kind = pie ] && echo PIE || echo no-pie)" -s -o inside "$source" -Wl,-Bstatic -lsqlite3 -Wl,-Bdynamic -lm -ldl -lpthread \
    2>cc.log || { echo "left out: SQLite cannot be linked into a program here: $(tail -n 1 cc.log)"; break; }
  nm -D inside | grep -q sqlite3_ && fail "$kind: symbols of SQLite are visible"
  both "inside, $kind" "threads: 0 of 8 covered;" "threads: 8 of 8 covered;" ./inside threads
  both "inside, $kind, settings" "sqlite3_config: 0 0 0;config: 0 nothing;" "sqlite3_config: 0 0 0;config: 0 $covered;" ./inside config
  both "inside, $kind, without mutexes" "sqlite3_config: 0;single: 0 nothing;" "sqlite3_config: 0;single: 0 $covered;" ./inside single
done

# A library finds its neighbours by its own search path, also with a dlopen() that we stand in front of.
mkdir -p plugins
echo 'int inner(void); int inner(void) { return 42; }' | $cc -x c -shared -fPIC -o plugins/libinner.so -
$cc -x c -shared -fPIC -Wl,-rpath,"\$ORIGIN/plugins" -o libouter.so - -ldl <<'C'
#include <dlfcn.h>
int outer(void);
int outer(void) { return dlopen("libinner.so", RTLD_NOW) ? 1 : 0; }
C
$cc -x c -o finder - -Wl,-rpath,"$PWD" -L. -louter <<'C'
int outer(void);
int main(void) { return outer() ? 0 : 1; }
C
timeout 10 ./finder && timeout 10 "$tool" exec -- ./finder || fail "a library by its caller's search path: $?"

if command -v valgrind >/dev/null; then
  for how in config restart threads; do
    rm -f ./*.db ./*.db-*
    HOLDFAST_EXEC=report=1 LD_PRELOAD=$HF_BUILD/holdfast-preload.so timeout 120 valgrind --quiet --leak-check=full \
      --errors-for-leak-kinds=definite --error-exitcode=99 ./host $how >memcheck.log 2>&1 ||
      fail "$how under memcheck: $(tail -n 20 memcheck.log)"
  done
else
  echo "no valgrind here: left out"
fi
finish
