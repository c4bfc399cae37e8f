#!/bin/bash
# `holdfast exec` as a command: exit codes, signals, settings, children, what cannot be reached, and programs
# that have nothing to do with SQLite.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1
need sqlite3
export HOLDFAST_ASSUME=local

# says CODE PATTERN COMMAND...: exit code and what is said on standard error.
says() {
  local code=$1 pattern=$2 got
  shift 2
  timeout 60 "$@" >out 2>err
  got=$?
  same "exit code of: $*" $got "$code"
  same "said by: $*" "$(cat err)" "$pattern"
}
run() { local code=$1 pattern=$2; shift 2; says "$code" "$pattern" "$tool" exec "$@"; }

# A program's own exit code and its own death; nothing is said.
for code in 0 1 3 64 126 127 255; do run $code "" -- sh -c "exit $code"; done
for signal in TERM KILL SEGV; do run $((128 + $(kill -l $signal))) "*" -- sh -c "kill -$signal \$\$"; done
# It becomes the program, so a signal reaches it: the pid is its own.
"$tool" exec -- sh -c 'trap "exit 42" TERM; echo ready >pipe; while :; do sleep 0.1; done' &
pid=$!
mkfifo pipe 2>/dev/null
timeout 20 cat pipe >/dev/null
kill -TERM $pid
wait $pid
same "a signal to the program" $? 42

# As a shell says it.
run 127 "holdfast: no-such-program: not found" -- no-such-program
run 127 "holdfast: ./no-such-program: not found" -- ./no-such-program
echo 'echo a script of the shell' >plain && chmod 644 plain
run 126 "holdfast: ./plain: cannot be run: permission denied" -- ./plain
chmod 755 plain
run 0 "" -- ./plain
same "a script without a first line" "$(cat out)" "a script of the shell"
run 64 "holdfast: which program*" --
run 64 "holdfast: which program*"
run 64 "holdfast: unknown option*--nonsense*" --nonsense -- true
run 64 "holdfast: HOLDFAST_MODE=enforced is not known: use *" --mode enforced -- true
HOLDFAST_STRICT=perhaps run 64 "holdfast: HOLDFAST_STRICT=perhaps is not known: use *" -- true

# Settings reach the program, and its arguments stay as they are.
pragma() { timeout 60 "$tool" exec "$@" sqlite3 app.db 'PRAGMA holdfast'; }
same "as it is" "$(sqlite3 app.db 'PRAGMA holdfast')" ""
same "exec" "$(pragma --)" "holdfast * mode enforce, *"
same "--mode" "$(pragma --mode observe --)" "holdfast * mode observe*"
same "--mode=off" "$(pragma --mode=off --)" ""
same "--assume and --strict" "$(pragma --assume network --strict 1 --)" "holdfast * network *strict*"
mkdir -p elsewhere
HOLDFAST_LOG='' run 0 "" --log log.txt --assume one-host -- sh -c 'cd elsewhere && sqlite3 x.db "CREATE TABLE t(x)"'
same "--log, from another directory" "$(cat log.txt)" "holdfast: warned: */elsewhere/x.db: *"
run 0 "" -- printf '%s|' --mode 'a b' '' '*'
same "arguments" "$(cat out)" "--mode|a b||\*|"

# The SQL objects come with the connection, on the first one and in memory.
same "tables" "$(timeout 60 "$tool" exec -- sqlite3 :memory: 'SELECT holdfast_version(); SELECT count(*) FROM holdfast_events' | tr '\n' ' ')" "0.* 0 "
# The extension may be loaded on top.
same "the extension, too" "$(timeout 60 "$tool" exec -- sqlite3 -cmd ".load $HF_BUILD/holdfast" -cmd '.open app.db' :memory: 'PRAGMA holdfast')" "holdfast *"
# A VFS that is asked for by name, as the shell can.
same "-vfs holdfast" "$(timeout 60 "$tool" exec -- sqlite3 -vfs holdfast app.db 'PRAGMA holdfast')" "holdfast *"
same "-vfs unix" "$(timeout 60 "$tool" exec -- sqlite3 -vfs unix app.db 'PRAGMA holdfast')" ""

# Children are covered, or not.
run 0 "" -- sh -c 'sqlite3 app.db "PRAGMA holdfast"; true'
same "a child" "$(cat out)" "holdfast *"
run 0 "" --no-children -- sh -c 'sqlite3 app.db "PRAGMA holdfast"; echo "preload=$LD_PRELOAD"'
same "--no-children" "$(cat out)" "preload="
run 0 "" --no-children -- sqlite3 app.db 'PRAGMA holdfast'
same "--no-children, itself" "$(cat out)" "holdfast *"
other=$(ldconfig -p 2>/dev/null | sed -n 's/.*libz\.so.* => //p' | head -n 1)
if [ -n "$other" ]; then
  LD_PRELOAD=$other run 0 "" --no-children -- sh -c 'echo "$LD_PRELOAD"'
  same "somebody else's LD_PRELOAD" "$(cat out)" "$other"
fi
run 0 "" -- "$tool" exec -- sh -c 'echo "$LD_PRELOAD"; sqlite3 app.db "PRAGMA holdfast"'
same "exec under exec" "$(tr '\n' ' ' <out)" "$HF_BUILD/holdfast-preload.so holdfast *"
# A program that is linked with holdfast keeps its own.
sqlite3 wal.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(x)' >/dev/null
run 0 "" -- "$tool" convert wal.db
same "holdfast convert under exec" "$(sqlite3 wal.db 'PRAGMA journal_mode')" delete

# The report.
run 0 "holdfast: report: sqlite3 (pid *): 1 connection to 1 database under holdfast; SQLite 3.* in */libsqlite3.so*" --report -- sqlite3 app.db 'PRAGMA user_version'
run 0 "holdfast: report: bash (pid *): no SQLite was started" --report -- bash -c :

# Programs that have nothing to do with SQLite work, and say the same.
tree=$HF_SOURCE/tests
for command in "ls -l $tree" "sh -c pwd" "cksum $0" "git --version" "sed -n 1,3p $0" "bash -c type\ ls" "env -i /bin/ls $tree" "find $tree -name lib.sh" "perl -e print(5)" \
               "sort -r $0" "tar -cf - -C $tree clients" "gzip -c $0" "python3 -c print(5)"; do
  eval "set -- $(sed 's/[()]/\\&/g' <<<"$command")"
  command -v "$1" >/dev/null || continue
  "$@" >plain.out 2>plain.err
  code=$?
  timeout 60 "$tool" exec -- "$@" >exec.out 2>exec.err
  same "$command: exit code" $? $code
  cmp -s plain.out exec.out && cmp -s plain.err exec.err || fail "$command: $(diff plain.err exec.err; diff plain.out exec.out | head -n 5)"
done

# What cannot be reached is told in one line and not run, or run on demand.
cc=${CC:-cc}
unreachable() {
  local why=$1
  shift
  run 3 "holdfast: * cannot be reached: $why*It was not run*" -- "$@"
  same "not run: $1" "$(cat out)" ""
  run 0 "holdfast: * cannot be reached: $why*It runs without holdfast." --anyway -- "$@"
  same "run all the same: $1" "$(cat out)" "ran"
}
if command -v "$cc" >/dev/null; then
  echo 'int puts(const char *); int main(void) { puts("ran"); return 0; }' >ran.c
  $cc -static -o static ran.c 2>/dev/null && unreachable "it is linked statically" ./static
  $cc -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1 -o musl ran.c && run 3 "holdfast: ./musl cannot be reached: it uses the C library musl*" -- ./musl
  printf '#!%s/static\n' "$PWD" >script && chmod 755 script
  [ -x static ] && run 3 "holdfast: ./script cannot be reached: */static, which runs it: it is linked statically*" -- ./script
  $cc -o setuid ran.c
  if [ "$(id -u)" = 0 ] && chown nobody setuid && chmod u+s setuid && [ -u setuid ] && ! findmnt -no OPTIONS -T . | grep -q nosuid; then
    unreachable "it runs with the rights of another user" ./setuid
  fi
fi
printf '\177ELF\1\1\1%057d' 0 | tr 0 '\0' >bits32 && chmod 755 bits32
run 3 "holdfast: ./bits32 cannot be reached: it is made for another kind of processor*" -- ./bits32

# The library is found beside the tool, after `make install`, and by HOLDFAST_LIB; or its absence is told.
mkdir -p usr/bin usr/lib/holdfast 'sp ace'
cp "$tool" usr/bin/
HOLDFAST_LIB=/nowhere/lib.so run 3 "holdfast: cannot read /nowhere/lib.so: *" -- true
says 3 "holdfast: cannot read */usr/bin/../lib/holdfast/holdfast-preload.so: *" usr/bin/holdfast exec -- true
cp "$HF_BUILD/holdfast-preload.so" usr/lib/holdfast/
says 0 "" usr/bin/holdfast exec -- sqlite3 app.db 'PRAGMA holdfast'
same "installed" "$(cat out)" "holdfast *"
cp "$HF_BUILD/holdfast-preload.so" 'sp ace/'
HOLDFAST_LIB="$PWD/sp ace/holdfast-preload.so" run 3 "holdfast: */sp ace/holdfast-preload.so cannot be preloaded: its path has a space*" -- true
finish
