#!/bin/bash
# `holdfast top` when the server of the file stops answering: it says so, takes keys, and goes on when the server does.
# In a mount name space of its own only.
set -u
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
. "$HF_SOURCE/tests/support/fuse.sh"

python3 -c "import sqlite3; sqlite3.connect('lower/app.db').execute('CREATE TABLE t(a)')" || exit 1
serve -o attr_timeout=0,entry_timeout=0,negative_timeout=0
top() { timeout "$1" "$HF_BUILD/holdfast" top mnt/app.db "${@:2}"; }

# The control: with a server that answers it ends, and has nothing to say of silence. Exit code 1: not all shows on FUSE.
top 60 --once >out 2>err; [ $? -le 1 ] || fail "a server that answers is not looked at"
[ -s err ] && fail "a server that answers: $(cat err)"

# As text: said once, waits, and ends with what it found when the server is back. Its words are the sign to go on.
kill -STOP $server
mkfifo words
top 120 --once >out 2>words &
shown=$!
IFS= read -r line <words
case $line in *"mnt/app.db: no answer yet"*) ;; *) fail "a silent server: $line" ;; esac
[ -s out ] && fail "shown without an answer: $(cat out)"
kill -CONT $server
wait $shown; [ $? -le 1 ] || fail "the server is back, and nothing is seen"
grep -q "mnt/app.db" out || fail "the server is back: $(cat out)"

# On a terminal: the last line says it, and q ends it though the look hangs.
kill -STOP $server
cat >on_terminal.py <<'PY'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ['TERM'] = 'xterm'
    os.execv(sys.argv[1], [sys.argv[1], 'top', 'mnt/app.db'])
got = b''
while b'no answer for' not in got:
    got += os.read(fd, 4096)
os.write(fd, b'q')
try:
    while os.read(fd, 4096):
        pass
except OSError: # how a pseudo terminal ends
    pass
status = os.waitpid(pid, 0)[1]
assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, status
PY
timeout 60 python3 on_terminal.py "$HF_BUILD/holdfast" || fail "on a terminal: exit code $?"
[ $failures = 0 ] && echo "all as expected"
