#!/bin/bash
# examples.sh - the programs of examples/: compiled as their heads say, run, and counted by plain SQLite.
set -u
fails=0
fail() { echo "FAILED: $*"; fails=$((fails + 1)); }
python=/usr/bin/python3
[ -x $python ] || python=python3
export LD_LIBRARY_PATH=$HF_BUILD

# says WHAT WANTED COMMAND...: the first words of its output
says() {
  local what=$1 wanted=$2 got code
  shift 2
  got=$("$@" 2>err)
  code=$?
  [ $code = 0 ] || fail "$what: exit code $code: $(cat err)"
  case $got in "$wanted"*) echo "$what: $got" ;; *) fail "$what said \"$got\", not \"$wanted\"" ;; esac
  [ ! -s err ] || fail "$what complained: $(cat err)"
}
rows() { [ "$(sqlite3 -batch -init /dev/null "$1" 'SELECT count(*) FROM guest; PRAGMA integrity_check')" = "$2
ok" ] || fail "$1 does not hold $2 rows"; }

${CC:-cc} -std=c11 -Wall -Wextra -Werror -I"$HF_SOURCE/include" "$HF_SOURCE/examples/pool.c" -o pool -L"$HF_BUILD" -lholdfast \
  -lsqlite3 -lpthread || fail 'pool.c does not compile'
says 'pool.c' '0 guests before, 100 now' ./pool c.db
says 'pool.c again' '100 guests before, 200 now' ./pool c.db
rows c.db 200

# Three runs of it at once, in one file.
for i in 1 2 3; do ./pool many.db >"out$i" 2>&1 & done
for job in $(jobs -p); do wait "$job" || fail "one of three: $(cat out?)"; done
rows many.db 300

says 'pool.py' '0 guests before, 25 now; holdfast ' "$python" "$HF_SOURCE/examples/pool.py" py.db
says 'pool.py after pool.c' '200 guests before, 225 now; holdfast ' "$python" "$HF_SOURCE/examples/pool.py" c.db
rows py.db 25

# The header is C++, too, and the example with it.
if command -v g++ >/dev/null; then
  printf '#include <holdfast.h>\nint main() { holdfast_pool_config c = {}; c.struct_size = sizeof c; holdfast_pool *p;\n%s\n}\n' \
    'return holdfast_pool_open("cpp.db", &c, &p) || holdfast_pool_close(p, 0);' >cpp.cc
  g++ -std=c++11 -Wall -Wextra -Werror -I"$HF_SOURCE/include" cpp.cc -o cpp -L"$HF_BUILD" -lholdfast -lsqlite3 && ./cpp ||
    fail 'C++'
fi
echo "$fails failed"
[ $fails = 0 ]
