#!/bin/bash
# holdfast top: holders, waiters and sizes are those that are there; a process that writes HOLDFAST_METRICS is found
# without being named; the database is never opened; and the terminal is given back on every way out.
set -u
command -v sqlite3 >/dev/null || { echo "no sqlite3 shell here"; exit 77; }
command -v python3 >/dev/null || { echo "no python3 here"; exit 77; }
export HOLDFAST_LOG=none
top() { "$HF_BUILD/holdfast" top "$@"; }
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
said() { grep -q "$1" "$2" || fail "$3: no $1 in: $(cat "$2")"; }

# check FILE EXPRESSION VALUE [EXPRESSION VALUE]...: of one object, as the variable t
check() {
  python3 -c 'import json, sys
t = json.load(open(sys.argv[1]))
for expression, want in zip(sys.argv[2::2], sys.argv[3::2]):
    try: got = str(eval(expression))
    except Exception as error: got = repr(error)
    if got != want: print(expression, "is", got, "and not", want); bad = True
sys.exit("bad" in dir())' "$@" || fail "$1: $(cat "$1")"
}

# -- a process for each lock: PROCESS FIFO SQL...; it answers when it has them
start() { # NAME [load]
  mkfifo "$1.in" "$1.out"
  if [ -n "${2:-}" ]; then sqlite3 -cmd ".load $HF_BUILD/holdfast" -cmd ".open app.db" :memory: <"$1.in" >"$1.out" 2>/dev/null &
  else sqlite3 app.db <"$1.in" >"$1.out" 2>/dev/null & fi
  pid=$!
}
does() { echo "$3" >&"$1"; echo "SELECT 'ready';" >&"$1"; while read -r line <&"$2" && [ "$line" != ready ]; do :; done; }

top app.db --once >out 2>err; rc=$?
[ $rc = 3 ] || fail "no such file: exit code $rc"
said "no such file" err "missing"
top >/dev/null 2>&1; [ $? = 64 ] || fail "no database is not exit code 64"
top app.db -d 0 >/dev/null 2>&1; [ $? = 64 ] || fail "-d 0 is not exit code 64"

# -- plain SQLite, seen from outside; a reader and a writer; the writer is stopped
sqlite3 app.db 'CREATE TABLE t(x)' || fail "CREATE TABLE"
start reader; reader=$pid; exec 3>reader.in 4<reader.out
start writer; writer=$pid; exec 5>writer.in 6<writer.out
start idle; idle=$pid; exec 7>idle.in 8<idle.out
does 3 4 'BEGIN; SELECT count(*) FROM t;'
does 5 6 'PRAGMA synchronous=OFF; BEGIN IMMEDIATE;'
does 7 8 'SELECT count(*) FROM t;'
top app.db --json >plain.json; [ $? = 0 ] || fail "exit code of a look at what is usual"
row() { echo "[h['lock'] + ' ' + h['mode'] + ' ' + h['state'] for h in t['holders'] if h['pid'] == $1]"; }
check plain.json "$(row $reader)" "['SHARED read running']" \
  "$(row $writer)" "['RESERVED write running']" \
  "[h['pid'] for h in t['open']]" "[$idle]" \
  "t['processes']" 3 \
  "t['waiters'], t['locks'], t['wal_bytes'], t['complete']" "([], [], None, True)"
kill -STOP $writer
for ((i = 0; i < 100; i++)); do top app.db --json >plain.json; rc=$?; [ $rc = 1 ] && break; sleep 0.05; done
[ $rc = 1 ] || fail "exit code of a stopped holder: $rc"
check plain.json "$(row $writer)" "['RESERVED write stopped']"
top app.db --once >out; said "pid $writer is stopped: .*kill -CONT $writer" out "stopped"
said "HOLDFAST_METRICS" out "what is needed for rates"
kill -CONT $writer

# -- text for those who have no terminal: a block for each look; SEEN FOR grows
top app.db -n 3 -d 0.2 >out </dev/null; [ "$(grep -c '^LOCK .*SEEN FOR' out)" = 3 ] || fail "three looks: $(cat out)"
[ "$(grep 'SHARED  *read ' out | grep -vc ' 0.0 s ')" = 2 ] || fail "for how long it was seen: $(cat out)"
grep -q $'\033' out && fail "escape sequences in a file"
does 3 4 'COMMIT;'
does 5 6 'COMMIT;'

# -- with metrics, found in the environment of the process; a waiter says that it waits
sqlite3 app.db 'PRAGMA journal_mode=WAL' >out 2>&1 || fail "WAL: $(cat out; top app.db --once)"
export HOLDFAST_METRICS=m.%p.prom
start holder load; holder=$pid; exec {tell}>holder.in {hear}<holder.out
unset HOLDFAST_METRICS
does "$tell" "$hear" 'PRAGMA synchronous=OFF; BEGIN IMMEDIATE; INSERT INTO t VALUES(1);'
HOLDFAST_METRICS=$PWD/m.%p.prom sqlite3 -cmd ".load $HF_BUILD/holdfast" -cmd ".open app.db" -cmd '.timeout 60000' \
  :memory: 'BEGIN IMMEDIATE; COMMIT; SELECT 1;' >waiter.out 2>&1 &
waiter=$!
does 3 4 'BEGIN; SELECT count(*) FROM t;'
for ((i = 0; i < 300; i++)); do
  top app.db --json >m.json
  grep -q '"waiters": \[$' m.json && break
  sleep 0.1
done
check m.json "[(w['pid'], w['lock'], w['state'], w['connections']) for w in t['waiters']]" "[($waiter, 'WAL_WRITE', 'running', 1)]" \
  "('WAL_WRITE', $holder) in [(h['lock'], h['pid']) for h in t['holders']]" True \
  "[h['lock'] for h in t['holders'] if h['pid'] == $reader and h['lock'] != 'SHARED'][0][:8]" WAL_READ \
  "sorted(m['pid'] for m in t['metrics']) == sorted([$holder, $waiter])" True \
  "[m['problem'] for m in t['metrics']]" "[None, None]" \
  "t['oldest_reader_pid'] in ($holder, $reader) and t['oldest_reader_ms'] >= 0" True \
  "[l['waiting'] for l in t['locks'] if l['lock'] == 'WAL_WRITE']" "[1]"
# The files themselves are the standard that the sums are held against, when they stand still meanwhile.
shared() { sed -n 's/^holdfast_lock_attempts_total{.*lock="SHARED",result="granted"} //p' "m.$holder.prom" "m.$waiter.prom" | paste -sd +; }
for ((i = 0; i < 100; i++)); do
  before=$(shared)
  top app.db --json >m.json
  [ "$before" = "$(shared)" ] && break
done
check m.json "[l['granted'] for l in t['locks'] if l['lock'] == 'SHARED']" "[$((before))]"
top app.db --metrics "m.$holder.prom" --json >named.json
check named.json "len(t['metrics'])" 2

# -- rates: 200 commits between two versions of the file
does "$tell" "$hear" 'COMMIT;'
wait $waiter || fail "the waiter: $(cat waiter.out)"
"$HF_BUILD/holdfast" top app.db --json -n 1000 -d 0.1 >rates.json &
looker=$!
for ((i = 0; i < 300; i++)); do
  does "$tell" "$hear" 'INSERT INTO t VALUES(1); INSERT INTO t VALUES(1); INSERT INTO t VALUES(1); INSERT INTO t VALUES(1);'
  grep -q '"granted_per_s": [1-9]' rates.json && break
  sleep 0.05
done
kill $looker; wait $looker 2>/dev/null
grep -q '"granted_per_s": [1-9]' rates.json || fail "no rates: $(tail -n 60 rates.json)"

# -- what is in a file of metrics may be anything
head -c 5000 /dev/urandom >bad.1
printf 'holdfast_lock_waiting{path="%s/app.db",lock="RESERVED"} 1e999\nholdfast_x{a="' "$PWD" >bad.2
echo '{"version":"1"}' >bad.3
mkfifo bad.4
top app.db --once --metrics bad.1 --metrics bad.2 --metrics bad.3 --metrics bad.4 --metrics bad.5 >out; rc=$?
[ $rc -le 1 ] || fail "bad metrics, exit code $rc"
said "bad.1 has no metrics" out "noise"
said "bad.3 is JSON" out "JSON"
said "bad.4 is no file of metrics" out "a FIFO"
said "bad.5 is not there yet" out "a file that is not there"

# -- the terminal
cat >on_terminal.py <<'PY'
import fcntl, os, pty, re, select, signal, struct, sys, termios, time
def size(fd, lines, columns): fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
# As a shell does it: in a group of its own in front of the terminal, else it could not be stopped.
def shell(told):
    pid = os.fork()
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try: os.setpgid(pid, pid)
    except PermissionError: pass # the child was quicker: it did so itself, and runs top by now
    os.tcsetpgrp(0, pid or os.getpid())
    if pid == 0:
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.environ['TERM'] = 'xterm'
        os.execv(sys.argv[1], [sys.argv[1], 'top', 'app.db', '-d', '0.2'])
    os.write(told, b'%d\n' % pid)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    status = -1
    while status < 0 or os.WIFSTOPPED(status):
        status = os.waitpid(pid, os.WUNTRACED)[1]
        os.write(told, b'%d\n' % status)
    os.read(told_end, 1) # until the other side has closed: the end of a session's leader is a hangup
    os._exit(0)
def begin(lines=24, columns=80):
    global told, told_end
    (here, there), (told_end, mine) = os.pipe(), os.pipe()
    leader, fd = pty.fork()
    if leader == 0:
        os.close(mine)
        os.read(0, 1)                      # when the size is set
        shell(there)
    os.close(there); os.close(told_end)
    size(fd, lines, columns)
    usual = termios.tcgetattr(fd)
    os.write(fd, b'\n')
    told = os.fdopen(here)
    return int(told.readline()), fd, usual, mine
def until(fd, mark, old=b''):
    got, end = old, time.time() + 60
    while mark not in got:
        assert time.time() < end, (mark, got[-2000:])
        if select.select([fd], [], [], 1)[0]:
            try: more = os.read(fd, 65536)
            except OSError: break
            if not more: break
            got += more
    assert mark in got, (mark, got[-2000:])
    return got
TAKE, GIVE, FOOT = b'\x1b[?1049h', b'\x1b[?1049l', b'q quit'
def raw(fd): return not termios.tcgetattr(fd)[3] & (termios.ICANON | termios.ECHO)
def frames(got, lines):
    n = 0
    for frame in re.findall(rb'\x1b\[H(.*?)\x1b\[J\x1b\[(\d+);1H', got, re.S):
        assert frame[0].count(b'\n') < lines and int(frame[1]) == lines, frame
        n += 1
    return n
def ended(fd, usual, leader):
    got = until(fd, GIVE)
    assert b'\x1b[?25h' in got and b'\x1b[?7h' in got, 'the cursor'
    status = int(told.readline())
    assert termios.tcgetattr(fd) == usual, 'the terminal is not as it was'
    os.close(leader); os.close(fd)
    return status
# keys
for lines, columns in ((24, 80), (10, 40), (60, 200), (3, 10)):
    pid, fd, usual, leader = begin(lines, columns)
    got = until(fd, TAKE)
    got = until(fd, FOOT, got)
    assert raw(fd), 'keys are not taken singly'
    got = until(fd, FOOT, got[got.index(FOOT) + 1:])
    assert frames(got, lines) >= 1, got
    os.write(fd, b'r x')
    if (lines, columns) == (24, 80):
        size(fd, 50, 132)
        got = until(fd, b'\x1b[50;1H')
        size(fd, 24, 80)
    os.write(fd, b'q')
    status = ended(fd, usual, leader)
    assert status == 0, status
# signals
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    pid, fd, usual, leader = begin()
    got = until(fd, FOOT)
    os.kill(pid, number)
    status = ended(fd, usual, leader)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == number, (number, status)
# Ctrl-C as a key, and a stop: the terminal is as it was meanwhile
pid, fd, usual, leader = begin()
until(fd, FOOT)
for stop in (lambda: os.kill(pid, signal.SIGTSTP), lambda: os.write(fd, b'\x1a')):
    stop()
    until(fd, GIVE)
    status = int(told.readline())
    assert os.WIFSTOPPED(status), status
    assert termios.tcgetattr(fd) == usual, 'stopped, and the terminal is not as it was'
    os.kill(pid, signal.SIGCONT)
    until(fd, FOOT, until(fd, TAKE))
    assert raw(fd)
os.write(fd, b'\x03')
status = ended(fd, usual, leader)
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT, status
print('the terminal is given back')
PY
kill -STOP $holder
timeout 200 python3 on_terminal.py "$HF_BUILD/holdfast" || fail "the terminal"
kill -CONT $holder

# -- never opened: no name of the database in any open() of it or its child
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
  strace -f -qq -e trace=open,openat,openat2,creat -o opens "$HF_BUILD/holdfast" top app.db --once >/dev/null
  said '/proc/locks' opens "strace sees the opens"
  grep -E '"([^"]*/)?app\.db(-wal|-shm|-journal)?"' opens && fail "the database was opened"
else
  echo "no strace here, or it may not trace: that nothing is opened is not looked at"
fi

exec 3>&- 5>&- 7>&- {tell}>&-
wait $reader $writer $idle $holder
[ $failures = 0 ] && echo "all as expected"
