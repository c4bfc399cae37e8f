#!/bin/bash
# HOLDFAST_METRICS and PRAGMA holdfast_metrics: the format is what Prometheus reads (checked by a parser that is
# as strict as promtool is), the numbers are those of holdfast_lock_stats, a reader always finds a whole file, and
# a program that waits, or does nothing, is still written about.
set -u
command -v sqlite3 >/dev/null || { echo "no sqlite3 shell here"; exit 77; }
command -v python3 >/dev/null || { echo "no python3 here"; exit 77; }
export HOLDFAST_LOG=none
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
shell() { sqlite3 -bail -cmd ".load $HF_BUILD/holdfast" -cmd ".open $1" :memory: "${@:2}"; }

cat >parse.py <<'PY'
import math, re, sys
NAME, LABEL = r'[a-zA-Z_:][a-zA-Z0-9_:]*', r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
def parse(text):
    assert text.endswith('\n'), 'the last line has no end'
    types, seen, last, values = {}, set(), None, {}
    for line in text.splitlines():
        m = re.fullmatch(r'# (HELP|TYPE) (%s) (.+)' % NAME, line)
        if m:
            if m[1] == 'TYPE':
                assert m[2] not in types, 'two types of ' + m[2]
                assert m[3] in ('counter', 'gauge', 'histogram'), line
                types[m[2]] = m[3]
            continue
        m = re.fullmatch(r'(%s)(?:\{(%s(?:,%s)*)\})? (?P<value>\S+)' % (NAME, LABEL, LABEL), line)
        assert m, 'no sample: ' + line
        labels = dict((a, b) for a, b in re.findall(LABEL, m[2] or ''))
        base = m[1]
        if base not in types:
            base = re.sub('_(bucket|sum|count)$', '', base)
            assert types.get(base) == 'histogram', 'no type: ' + line
        assert base == last or base not in seen, 'not one block: ' + base
        seen.add(base); last = base
        if types[base] == 'counter': assert base.endswith('_total'), base
        key = (m[1], tuple(sorted(labels.items())))
        assert key not in values, 'twice: ' + line
        values[key] = float(m["value"])
        assert values[key] >= 0 and math.isfinite(values[key]), line
    groups = {}
    for (name, labels), value in values.items():
        if not name.endswith('_bucket'): continue
        rest = tuple(l for l in labels if l[0] != 'le')
        groups.setdefault((name[:-7], rest), []).append((float(dict(labels)['le']), value))
    for (name, rest), buckets in groups.items():
        buckets.sort()
        assert buckets[-1][0] == math.inf, name
        assert all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])), ('not cumulative', name, rest)
        assert values[(name + '_count', rest)] == buckets[-1][1], ('count', name, rest)
        assert (name + '_sum', rest) in values, ('no sum', name, rest)
    return values
if __name__ == '__main__':
    values = parse(open(sys.argv[1], encoding='utf-8').read())
    assert values, 'empty'
    for row in (l.rstrip('\n').split('|') for l in (open(sys.argv[2]) if len(sys.argv) > 2 else [])):
        path, lock = row[0], row[1]
        label = path.replace('\\', '\\\\').replace('"', '\\"')
        for result, want in zip(('granted', 'busy', 'error'), row[2:5]):
            got = values[('holdfast_lock_attempts_total', tuple(sorted({'path': label, 'lock': lock, 'result': result}.items())))]
            assert got == float(want), (row, result, got)
    print(len(values), 'samples')
PY

# -- the parser finds what is wrong
for bad in 'x 1' '# TYPE x counter
x_a 1' '# TYPE x_total counter
x_total 1
x_total 2' '# TYPE h histogram
h_bucket{le="1"} 2
h_bucket{le="+Inf"} 1
h_sum 1
h_count 1' '# TYPE x gauge
x{l="a"b"} 1'; do
  printf '%s\n' "$bad" >bad.prom
  python3 parse.py bad.prom >/dev/null 2>&1 && fail "the parser takes: $bad"
done

# -- the text, and its numbers, for a name that needs escapes
for mode in delete wal; do
  name="a \"$mode\" b\\c.db"
  sqlite3 -cmd ".load $HF_BUILD/holdfast" -cmd ".open :memory:" :memory: >/dev/null <<SQL || fail "the session in mode $mode"
ATTACH 'file:$(printf '%s' "$name" | sed 's/"/%22/g; s/\\/%5c/g; s/ /%20/g')' AS d;
PRAGMA d.journal_mode=$mode;
CREATE TABLE d.t(x);
INSERT INTO d.t VALUES(1);
BEGIN; SELECT count(*) FROM d.t; INSERT INTO d.t VALUES(2); COMMIT;
.output $mode.prom
PRAGMA d.holdfast_metrics;
.output $mode.rows
SELECT path, lock, granted, busy, errors FROM holdfast_lock_stats WHERE lock NOT LIKE 'SYNC%';
SQL
  sed -i '/^$/d' $mode.prom # the shell may add an empty line
  [ "$(wc -l <$mode.rows)" -ge 3 ] || fail "$mode: few rows: $(cat $mode.rows)"
  python3 parse.py $mode.prom $mode.rows || fail "$mode: the text"
done

# -- the file: written at the last close, whole whenever it is looked at, and JSON by its name
HOLDFAST_METRICS=out.prom shell app.db 'CREATE TABLE t(x)' || fail "CREATE TABLE"
python3 parse.py out.prom || fail "the file"
(
  for _ in {1..20}; do HOLDFAST_METRICS=out.prom shell app.db 'INSERT INTO t VALUES(1)'; done
  : >written
) &
looks=0
while [ ! -e written ]; do
  cat out.prom >copy.prom || { fail "the file is away"; break; }
  [ "$(head -c 6 copy.prom)" = "# HELP" ] && [ "$(tail -n 1 copy.prom | cut -c 1-29)" = "holdfast_oldest_reader_second" ] ||
    { fail "not whole: $(tail -n 1 copy.prom)"; break; }
  looks=$((looks + 1))
done
wait
echo "$looks looks at a file that is written again and again"
[ $looks -gt 5 ] || fail "only $looks looks"
[ "$(echo out.prom*)" = out.prom ] || fail "files are left: $(echo out.prom*)"
HOLDFAST_METRICS='%p.json' shell app.db 'SELECT count(*) FROM t' >/dev/null
python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["pid"] == int(sys.argv[1][:-5]) and d["files"][0]["path"].endswith("/app.db")
assert d["files"][0]["locks"][0]["lock"] == "SHARED" and d["files"][0]["locks"][0]["granted"] > 0' ./*.json 2>/dev/null ||
  python3 -c '
import glob, json
name, = glob.glob("*.json")
d = json.load(open(name))
assert d["pid"] == int(name[:-5]) and d["files"][0]["path"].endswith("/app.db"), d
assert d["files"][0]["locks"][0]["lock"] == "SHARED" and d["files"][0]["locks"][0]["granted"] > 0, d' || fail "JSON"

# -- a program that does nothing while it holds a lock, and one that waits for it
mkfifo to
HOLDFAST_METRICS=holder.prom sqlite3 -cmd ".load $HF_BUILD/holdfast" -cmd ".open app.db" :memory: <to >/dev/null &
holder=$!
exec 7>to
echo 'BEGIN IMMEDIATE;' >&7
has() { grep -q "^$1{.*lock=\"$2\"} 1\$" "$3" 2>/dev/null; }
shows() { # for a while, because the files are written every two seconds
  for ((i = 0; i < 200; i++)); do
    has "$@" && return
    sleep 0.1
  done
  fail "$3 does not show $1 of $2: $(grep "$1" "$3")"
}
shows holdfast_lock_held RESERVED holder.prom
HOLDFAST_METRICS=waiter.prom shell app.db 'PRAGMA busy_timeout=30000' 'BEGIN IMMEDIATE' 'COMMIT' >/dev/null &
waiter=$!
shows holdfast_lock_waiting RESERVED waiter.prom
echo 'COMMIT;' >&7
exec 7>&-
wait $holder || fail "the holder's end"
wait $waiter || fail "the waiter's end"
python3 parse.py waiter.prom || fail "the waiter's file"
[ $failures = 0 ] && echo "all as expected"
