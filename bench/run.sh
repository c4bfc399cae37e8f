#!/bin/bash
# bench/run.sh - what holdfast costs, beside bare SQLite and SQLite's own vfsstat and vfstrace.
#
# Counts instructions with callgrind (exact, repeatable, user space only) and takes wall times in pairs, bare and
# shim by turns of milliseconds. Writes docs/figures/costs.md; OUT=file writes elsewhere. PAIRS=n sets the pairs (3000), SIZE=n
# that of speedtest1 (50; where the machine is busy 10 will do).
# Files lie on a memory file system, because a disk's sync would hide what is measured. Nothing here
# passes or fails: the marks that the project set itself stand beside the numbers.
set -u

HF_SOURCE=${HF_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
HF_BUILD=${HF_BUILD:-$HF_SOURCE/build}
OUT=${OUT:-$HF_SOURCE/docs/figures/costs.md}
PAIRS=${PAIRS:-3000}
SIZE=${SIZE:-50}
inserts=3000 selects=20000
export LC_ALL=C.UTF-8 HOLDFAST_LOG=none
unset HOLDFAST_MODE HOLDFAST_ASSUME HOLDFAST_JOURNAL HOLDFAST_STRICT

die() { echo "bench: $*" >&2; exit 1; }
command -v valgrind >/dev/null || die "needs valgrind"
[ -f "$HF_BUILD/holdfast.so" ] || die "no $HF_BUILD/holdfast.so: run make first"

place=/dev/shm
[ -d $place ] && [ -w $place ] || place=${TMPDIR:-/tmp}
work=$(mktemp -d "$place/holdfast-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
holdfast=$HF_BUILD/holdfast.so

# ---------------------------------------------------------------- what is run
# SQLite's own programs come from Debian's source package; without it their rows are missing.
shims=(bare "$holdfast")
build_marks() {
  local cc=${CC:-cc} source_tree
  source_tree=$("$HF_SOURCE/tools/fetch-sqlite-source.sh") || { echo "without SQLite's own programs: $source_tree"; return 1; }
  "$cc" -O2 -Dmain=speedtest1_main -c -o "$work/speedtest1.o" "$source_tree/test/speedtest1.c" &&
    "$cc" -O2 -D_GNU_SOURCE -DHF_SPEEDTEST1 -o "$work/load" "$HF_SOURCE/bench/load.c" "$work/speedtest1.o" -lsqlite3 -ldl &&
    "$cc" -O2 -fPIC -shared -o "$work/vfsstat.so" "$source_tree/ext/misc/vfsstat.c" &&
    "$cc" -O2 -fPIC -shared -o "$work/vfstrace.so" "$source_tree/src/test_vfstrace.c" -lsqlite3
}
if build_marks; then
  shims+=("$work/vfsstat.so" "vfstrace=$work/vfstrace.so")
  have_speedtest1=1
else
  cp "$HF_BUILD/bench/load" "$work/load" || die "no $HF_BUILD/bench/load: run make benches"
  have_speedtest1=
fi

fresh() { rm -f "$work"/bench.db*; }

# collected SHIM LOAD...: instructions of one run.
collected() {
  local n
  fresh
  n=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/load" "$@" 2>&1 >/dev/null |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p')
  [ -n "$n" ] || die "callgrind did not count: $*"
  echo "$n"
}

# Loading, opening and creating the table are counted apart and taken off.
lockheavy_count() { # SHIM MODE
  echo $(($(collected "$1" lockheavy "$work/bench.db" "$2" $inserts $selects) - \
    $(collected "$1" lockheavy "$work/bench.db" "$2" 0 0)))
}
speedtest1_count() { collected "$1" speedtest1 --size "$SIZE" --testset main --journal "$2" "$work/bench.db"; }

# ---------------------------------------------------------------- tables
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.4f", a / b }'; }
name_of() {
  case $1 in
    bare) echo "bare unix VFS" ;;
    vfstrace=*) echo "vfstrace, output thrown away" ;;
    *) basename "$1" .so ;;
  esac
}

count_rows() { # LOAD MODE MARK
  local shim count bare='' mark
  for shim in "${shims[@]}"; do
    count=$("${1}_count" "$shim" "$2") || exit 1
    bare=${bare:-$count}
    mark=
    [ "$shim" = "$holdfast" ] && mark="<= $3"
    echo "| $1, ${2^^} | $(name_of "$shim") | $count | $(ratio "$count" "$bare") | $mark |"
  done
  # The same on a mount that is taken for network: journal mode, hot journal and all else that is on there.
  [ "$2" = delete ] || return 0
  count=$(HOLDFAST_ASSUME=network "${1}_count" "$holdfast" "$2") || exit 1
  echo "| $1, ${2^^} | holdfast, \`assume=network\` | $count | $(ratio "$count" "$bare") | |"
}

# Real-time priority keeps other programs off the processor; without the right to it the times are taken as they come.
priority=()
chrt -f 60 true 2>/dev/null && priority=(chrt -f 60)

time_row() { # MODE MARK
  local line
  rm -f "$work"/bare.db* "$work"/shim.db*
  line=$("${priority[@]}" taskset -c "$(($(nproc) - 1))" "$work/load" "$holdfast" pairs "$work" "$1" "$PAIRS" 15 100) ||
    die "the pairs do not run"
  awk -v mode="${1^^}" -v mark="$2" '{ printf "| %s | %.3f ms | %.3f ms | %.4f | %.3f to %.3f | <= %s | %.4f |\n",
    mode, $1 / 1e6, $2 / 1e6, $3, $4, $5, mark, $6 }' <<<"$line"
}
control_row() { # bare against bare: what the clock is worth today
  local line
  rm -f "$work"/bare.db* "$work"/shim.db*
  line=$("${priority[@]}" taskset -c "$(($(nproc) - 1))" "$work/load" bare pairs "$work" delete "$PAIRS" 15 100) ||
    die "the pairs do not run"
  awk '{ printf "| DELETE, bare twice | %.3f ms | %.3f ms | %.4f | %.3f to %.3f | 1 | %.4f |\n",
    $1 / 1e6, $2 / 1e6, $3, $4, $5, $6 }' <<<"$line"
}

report() {
  local commit
  commit=$(git -C "$HF_SOURCE" describe --always --dirty 2>/dev/null || echo unknown)
  echo "# What holdfast costs"
  echo
  echo "Written by \`make bench\` (bench/run.sh, bench/load.c). Ratios are to SQLite on its own VFS in the same run."
  echo
  echo "- Machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(uname -sr)"
  echo "- SQLite $(sqlite3 --version 2>/dev/null | cut -d' ' -f1) (shared library), $(${CC:-cc} --version | head -n 1)"
  echo "- holdfast $(cat "$HF_SOURCE/VERSION"), commit $commit, $(date -u +%Y-%m-%d)"
  echo "- Files on $(stat -f -c %T "$work"). Other work may have run on the machine: instructions do not mind, times do."
  echo
  echo "## Instructions (callgrind, user space)"
  echo
  echo "The lock-heavy load is $inserts INSERTs, each its own transaction, and $selects SELECTs of one row, without load,"
  echo "open and CREATE TABLE. speedtest1 is SQLite's (\`--size $SIZE --testset main\`), as a whole. vfsstat and vfstrace are"
  echo "SQLite's own shims, for comparison: the first counts calls, the second also writes a line for each."
  echo
  echo "| load | VFS | instructions | ratio | mark |"
  echo "|---|---|---|---|---|"
  count_rows lockheavy delete 1.04
  count_rows lockheavy wal 1.02
  if [ -n "$have_speedtest1" ]; then
    count_rows speedtest1 delete 1.002
    count_rows speedtest1 wal 1.002
  fi
  echo
  echo "## Wall time of the lock-heavy load"
  echo
  echo "Two processes, one bare and one with holdfast, by turns 15 INSERTs and 100 SELECTs each on one processor"
  echo "(${priority[*]:-ordinary priority}), $PAIRS pairs; medians. The first row is the control: bare against bare. Load average"
  echo "before these runs: $(cut -d' ' -f1-3 /proc/loadavg). A system call that does nothing takes $("$work/load" bare syscall) ns here."
  echo
  echo "| journal | bare, a turn | holdfast, a turn | ratio of a pair | half of the pairs | mark | ratio of processor time |"
  echo "|---|---|---|---|---|---|---|"
  control_row
  time_row delete 1.03
  time_row wal 1.20
}

mkdir -p "$(dirname "$OUT")"
report | tee "$work/report.md"
[ "${PIPESTATUS[0]}" = 0 ] || exit 1
if [ -x "$HF_BUILD/bench/mount" ]; then
  {
    echo
    echo "## A mount verdict"
    echo
    echo '```'
    (cd "$work" && "$HF_BUILD/bench/mount")
    echo '```'
  } | tee -a "$work/report.md"
fi
{
  echo
  echo "## The counters of a lock"
  echo
  echo '```'
  "$HF_BUILD/bench/counters"
  echo '```'
} | tee -a "$work/report.md"
cp "$work/report.md" "$OUT" && echo "written to $OUT"
