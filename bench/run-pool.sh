#!/bin/bash
# bench/run-pool.sh - what the pool gains and costs, beside the ways in which programs do without one.
#
# Writes docs/figures/pool.md; OUT=file writes elsewhere. RUNS=n (5), THREAD_SECONDS=n (5) and PROCESS_SECONDS=n (30)
# set the size. The ways take turns, every row is published, and what counts is the median of the runs' ratios: a
# machine that others use, too, is no better or worse for one side. Nothing here passes or fails: the marks that
# the project set itself stand beside the numbers.
set -u

HF_SOURCE=${HF_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
HF_BUILD=${HF_BUILD:-$HF_SOURCE/build}
OUT=${OUT:-$HF_SOURCE/docs/figures/pool.md}
RUNS=${RUNS:-5} THREAD_SECONDS=${THREAD_SECONDS:-5} PROCESS_SECONDS=${PROCESS_SECONDS:-30}
export LC_ALL=C.UTF-8 HOLDFAST_LOG=none
unset HOLDFAST_MODE HOLDFAST_ASSUME HOLDFAST_JOURNAL HOLDFAST_STRICT HOLDFAST_WALGUARD

die() { echo "bench: $*" >&2; exit 1; }
for program in bench/pool bench/pool_writers tests/proc/f12_wal_growth; do
  [ -x "$HF_BUILD/$program" ] || die "no $HF_BUILD/$program: run make benches tests"
done
memory=/dev/shm
[ -d $memory ] && [ -w $memory ] || memory=${TMPDIR:-/tmp}
fast=$(mktemp -d "$memory/holdfast-bench.XXXXXX") && disk=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-bench.XXXXXX") || exit 1
trap 'rm -rf "$fast" "$disk"' EXIT
trap 'exit 130' INT TERM

median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# mark VALUE "<="|">=" LIMIT UNIT: the mark, and whether it was missed
mark() { awk -v v="$1" -v op="$2" -v l="$3" -v u="${4:-}" 'BEGIN { miss = op == "<=" ? v + 0 > l + 0 : v + 0 < l + 0; printf "%s %s%s%s", op, l, u, miss ? ", **missed**" : "" }'; }
divide() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.3g", a / b; else printf "-" }'; }

# ---------------------------------------------------------------- one thread
one_thread() {
  local name least row way gain last
  "$HF_BUILD/bench/pool" "$fast/one.db" >"$fast/one" || die "the one-thread bench does not run"
  at() { awk -v n="$1" -v c="$2" '$1 == n { print $c }' "$fast/one"; }
  echo "| measure | median | 99 % | mark |"
  echo "|---|---|---|---|"
  for name in read write; do
    echo "| acquire + release, $name | $(at lease-$name 2) ns | $(at lease-$name 3) ns | $(mark "$(at lease-$name 2)" '<=' 100 ' ns') |"
  done
  echo
  echo "| | pool | connection kept by hand | open/close, a sibling has it open | open/close, nobody else | gain over open/close | mark |"
  echo "|---|---|---|---|---|---|---|"
  for name in read write; do
    least=50
    [ $name = read ] || least=15
    row="| $name, median |"
    for way in pool kept open open-last; do row="$row $(awk -v ns="$(at $name-$way 2)" 'BEGIN { printf "%.2f", ns / 1000 }') us |"; done
    gain=$(divide "$(at $name-open 2)" "$(at $name-pool 2)") last=$(divide "$(at $name-open-last 2)" "$(at $name-pool 2)")
    echo "$row $gain x and $last x | $(mark "$gain" '>=' $least ' x') beside a sibling; $(mark "$last" '>=' $least ' x') alone |"
  done
  echo
  echo "No pool can do better than the connection that is kept by hand: $(divide "$(at read-open 2)" "$(at read-kept 2)") x for a read beside a sibling."
}

# ---------------------------------------------------------------- eight writers
title() {
  case $1 in
    pool) echo 'holdfast' ;;
    strict) echo 'holdfast, strict order (`handoff_us` off)' ;;
    own) echo 'a connection each, busy timeout' ;;
    reopen) echo 'a connection for each transaction' ;;
  esac
}

# writers KIND MODE SECONDS DIR WAY...: all rows; what each run gave is in $fast/KIND-MODE.WAY
writers() {
  local kind=$1 mode=$2 seconds=$3 dir=$4 run way line
  shift 4
  for way in "$@"; do : >"$fast/$kind-$mode.$way"; done
  echo "| run | who | commits/s | most | least | most/least | wait 50 % | 99 % | 99.9 % | worst | errors |"
  echo "|---|---|---|---|---|---|---|---|---|---|---|"
  for ((run = 1; run <= RUNS; run++)); do
    for way in "$@"; do
      rm -f "$dir"/w.db*
      line=$("$HF_BUILD/bench/pool_writers" "$way" "$kind" "$mode" "$seconds" "$dir/w.db") || die "$way $kind does not run"
      echo "$line" >>"$fast/$kind-$mode.$way"
      echo "$line" | awk -v run=$run -v who="$(title "$way")" 'function ms(us) { return us < 1000 ? sprintf("%.3f ms", us / 1000) : sprintf("%.0f ms", us / 1000) }
        { printf "| %d | %s | %d | %d | %d | %s | %s | %s | %s | %s | %d |\n", run, who, $1, $2, $3, $3 ? sprintf("%.2f", $2 / $3) : "-", ms($4), ms($5), ms($6), ms($7), $8 }'
    done
  done
}

# column KIND-MODE WAY N, and the median of the runs' ratios of column N
column() { cut -d' ' -f"$3" "$fast/$1.$2"; }
ratio_of() { paste <(column "$1" pool "$2") <(column "$1" own "$2") | awk '{ print ($2 > 0 ? $1 / $2 : 0) }' | median; }
fairness() { awk '{ print ($3 > 0 ? $2 / $3 : 1e9) }' "$fast/$1.$2" | median; }

wait_row() { # KIND-MODE COLUMN NAME MARK
  local wait
  wait=$(ratio_of "$1" "$2")
  printf '| %s | %.1f ms | %.1f ms | %.3g | %s |\n' "$3" "$(column "$1" pool "$2" | median | awk '{ print $1 / 1000 }')" \
    "$(column "$1" own "$2" | median | awk '{ print $1 / 1000 }')" "$wait" "$([ -z "$4" ] || mark "$wait" '<=' "$4")"
}

summary() { # KIND-MODE FAIR-MARK WAIT-COLUMN WAIT-NAME WAIT-MARK
  local speed fair
  speed=$(ratio_of "$1" 1) fair=$(fairness "$1" pool)
  echo
  echo "| median of $RUNS runs | holdfast | a connection each | ratio of each run, median | mark |"
  echo "|---|---|---|---|---|"
  printf '| commits per second | %.0f | %.0f | %.2f | %s |\n' "$(column "$1" pool 1 | median)" "$(column "$1" own 1 | median)" \
    "$speed" "$(mark "$speed" '>=' 1)"
  printf '| most / least commits of a writer | %.3g | %.3g | | %s |\n' "$fair" "$(fairness "$1" own)" "$(mark "$fair" '<=' "$2")"
  wait_row "$1" "$3" "$4" "$5"
}

report() {
  echo "# What the pool gains"
  echo
  echo "Written by \`make bench\` (bench/run-pool.sh, bench/pool.c, bench/pool_writers.c). Plain SQLite, in processes"
  echo "without holdfast, and the pool take turns. docs/pool.md has the concepts."
  echo
  echo "- Machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(uname -sr)"
  echo "- SQLite $(sqlite3 --version 2>/dev/null | cut -d' ' -f1) (shared library), $(${CC:-cc} --version | head -n 1)"
  echo "- holdfast $(cat "$HF_SOURCE/VERSION"), commit $(git -C "$HF_SOURCE" describe --always --dirty 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d)"
  echo "- Load of the machine when it began: $(cut -d' ' -f1-3 /proc/loadavg). Other work may have run: compare within a run."
  echo
  echo "## One thread"
  echo
  echo "A table of 10,000 rows in WAL mode on $(stat -f -c %T "$fast"); one row is read, or changed in a transaction of its own."
  echo "Statements are prepared once, where a connection is kept."
  echo
  one_thread
  echo
  echo "## Eight threads that write"
  echo
  echo "WAL on $(stat -f -c %T "$fast"), $THREAD_SECONDS s each. A transaction is one INSERT and one UPDATE."
  echo
  writers threads wal "$THREAD_SECONDS" "$fast" pool own strict reopen
  summary threads-wal 1.1 7 'worst wait for the write lock' 0.2
  echo
  echo "One thread alone, for comparison: what is left of the ratio when nobody takes turns."
  echo
  writers threads:1 wal "$THREAD_SECONDS" "$fast" pool own
  echo
  echo "Commits per second, median of the runs' ratios: $(ratio_of threads:1-wal 1)."
  echo
  echo "## Eight processes that write, DELETE journalling"
  echo
  echo "On $(stat -f -c %T "$disk"), $PROCESS_SECONDS s each, one pool in each process."
  echo
  writers processes delete "$PROCESS_SECONDS" "$disk" pool own
  summary processes-delete 2 9 'wait for the write lock, 99.9 %, of the writer in the middle' 0.1
  wait_row processes-delete 6 'the same over all waits of all writers' ''
  echo
  echo "Where a writer of plain SQLite gets in once, its wait ended with the run: it would have been longer in a longer one."
  echo "Over all waits, those of the one writer that gets everything hide the others'."
  echo
  echo "## A reader that pins the WAL (F12)"
  echo
  echo "tests/proc/f12_wal_growth. The age is that of the reader when it was first named."
  echo
  (cd "$fast" && "$HF_BUILD/tests/proc/f12_wal_growth") | grep -v compar | sed 's/^/    /'
}

mkdir -p "$(dirname "$OUT")"
report | tee "$fast/report.md"
[ "${PIPESTATUS[0]}" = 0 ] || exit 1
cp "$fast/report.md" "$OUT" && echo "written to $OUT"
