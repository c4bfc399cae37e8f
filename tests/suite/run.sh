#!/bin/bash
# tests/suite/run.sh - SQLite's own tests with holdfast as the default VFS.
#
#   tests/suite/run.sh [--set NAME]
#
# default     lock*, wal*, pager*, journal* without the two longest scripts, and mptest
# families    the same with them
# veryquick   families, and all that SQLite's authors run before a check-in (HF_LONG=1 means this)
# full        the long form of everything; hours
# "a*.test"   these scripts only
#
# The source is Debian's, fetched at test time. Passed means: no failure that the same programs do not
# have with HF_SUITE_BARE=1, that is on SQLite's own VFS. There is no list of excuses. The tests
# refuse to run as root, so root becomes nobody. Each script is a process of its own, with a limit,
# because one error in Tcl would end a joint run.
set -u

HF_SOURCE=${HF_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
HF_BUILD=${HF_BUILD:-$HF_SOURCE/build}
jobs_max=2
script_s_max=${HF_SUITE_LIMIT:-600}
long_scripts="walthread.test walcrash3.test"
set_name=default
[ -n "${HF_LONG:-}" ] && set_name=veryquick
case ${1:-} in
  --set) set_name=${2:?--set needs a name} ;;
  '') ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 64 ;;
esac

skip() { echo "$*"; exit 77; }
die() { echo "suite: $*"; exit 1; }

out=$("$HF_SOURCE/tests/suite/build.sh")
case $? in
  0) out=$(tail -n 1 <<<"$out") ;;
  77) skip "$(tail -n 1 <<<"$out")" ;;
  *) die "$out" ;;
esac
source_tree=$(cat "$out/source")
echo "built SQLite $(cat "$source_tree/VERSION") and its test programs: $SECONDS s"

# ---------------------------------------------------------------- a place where nobody may work
as=()
[ "$(id -u)" = 0 ] && as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
make_place() {
  place=$(mktemp -d "$1/holdfast-suite.XXXXXX") || return 1
  chmod 755 "$place" && "${as[@]}" ls "$place" >/dev/null 2>&1 && return
  rmdir "$place"
  return 1
}
make_place "${TMPDIR:-/tmp}" || make_place /var/tmp || skip "no temporary directory that the user nobody can enter"
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
# The source and the build may be where nobody cannot read.
mkdir "$place/src" "$place/log"
cp -r "$source_tree"/{test,ext,mptest} "$place/src" || die "no room in $place"
cp "$out"/{testfixture,mptester,probe} "$place" || die "no room in $place"

# Makes a fresh working directory that the tests may write.
fresh() {
  rm -rf "$1"
  mkdir -p "$1"
  if [ ${#as[@]} -gt 0 ]; then chown 65534:65534 "$1"; fi
}

# ---------------------------------------------------------------- one script, one mptest run
# Each leaves NAME.MODE in the log folder: the output; and NAME.MODE.failed: the failed cases, one a line.
# MODE is shim or bare.

# as_mode shim|bare COMMAND...: run it with or without holdfast, as a user who is not root.
as_mode() {
  local bare=
  [ "$1" = bare ] && bare=HF_SUITE_BARE=1
  shift
  "${as[@]}" env $bare "$@"
}

errors_in() { grep -a -m 1 'errors out of' "$1"; }

run_script() {
  local name=$1 mode=$2 dir=$place/run-$1-$2 log=$place/log/$1.$2 permutation=veryquick rc
  [ "$set_name" = full ] && permutation=full
  fresh "$dir"
  (cd "$dir" && as_mode "$mode" HOME="$dir" timeout -k 5 "$script_s_max" "$place/testfixture" \
     "$place/src/test/permutations.test" $permutation "$name") </dev/null >"$log" 2>&1
  rc=$?
  if [ $rc != 124 ] && errors_in "$log" >/dev/null; then
    sed -n 's/^!\{0,1\}Failures on these tests: *//p' "$log" | tr -s ' ' '\n' | sed '/^$/d' >"$log.failed"
    [ $rc != 0 ] && [ ! -s "$log.failed" ] && echo "$name-exit-$rc" >"$log.failed"
  else
    echo "1 errors out of 1 tests ($name ended with $rc before its count)" >>"$log"
    echo "$name-aborted" >"$log.failed"
  fi
  rm -rf "$dir"
}

run_mptest() {
  local name=$1 mode=$2 dir=$place/run-$1-$2 log=$place/log/$1.$2 journal script
  script=${name#mptest-} journal=${script#*-} script=${script%-*}
  fresh "$dir"
  (cd "$dir" && as_mode "$mode" timeout -k 5 "$script_s_max" "$place/mptester" mptest.db \
     "$place/src/mptest/$script.test" --repeat 2 --journalmode "$journal") </dev/null >"$log" 2>&1
  if errors_in "$log" | grep -q 'Summary: 0 errors out of [1-9]'; then
    : >"$log.failed"
  else
    errors_in "$log" >/dev/null || echo "1 errors out of 1 tests (no summary)" >>"$log"
    echo "$name" >"$log.failed"
  fi
  rm -rf "$dir"
}

run_one() {
  case $1 in
    mptest-*) run_mptest "$@" ;;
    *) run_script "$@" ;;
  esac
}

run_all() {
  local mode=$1 name
  while read -r name; do
    while [ "$(jobs -rp | wc -l)" -ge $jobs_max ]; do wait -n; done
    run_one "$name" "$mode" &
  done
  wait
}

# ---------------------------------------------------------------- what to run
# SQLite's own list of a set, out of the file that its authors keep it in.
own_set() {
  cat >"$place/names.tcl" <<'TCL'
set argv0 [file join [lindex $argv 0] test names.tcl]
set wanted [lindex $argv 1]
set argv {}
source [file join [file dirname $argv0] permutations.test]
foreach file [dict get $testspec($wanted) -files] { puts "NAME [file tail $file]" }
exit 0
TCL
  fresh "$place/own-set"
  (cd "$place/own-set" && as_mode bare "$place/testfixture" "$place/names.tcl" "$place/src" "$1") |
    sed -n 's/^NAME //p'
}

# shellcheck disable=SC2086 # patterns, to be expanded
scripts_like() { (cd "$place/src/test" && ls -d $1 2>/dev/null); }
families() { scripts_like 'lock*.test wal*.test pager*.test journal*.test'; }
mptests() {
  local script journal
  for script in crash01 multiwrite01; do
    for journal in DELETE WAL PERSIST TRUNCATE; do echo "mptest-$script-$journal"; done
  done
}
names() {
  case $set_name in
    default) families | grep -vxF "${long_scripts// /$'\n'}"; mptests ;;
    families) families; mptests ;;
    veryquick | full) { families; own_set "$set_name"; } | sort -u; mptests ;;
    *) scripts_like "$set_name" ;;
  esac
}
# The longest scripts first, so that both processors end together.
names >"$place/names" || die "no list of scripts"
{ grep -xF "${long_scripts// /$'\n'}" "$place/names"; grep '^mptest-' "$place/names"; grep -x 'pagerfault.*\|walprotocol.*\|walsetlk.*' "$place/names"
  cat "$place/names"; } | awk '!seen[$0]++' >"$place/ordered"
[ -s "$place/ordered" ] || die "no script is called $set_name"

# ---------------------------------------------------------------- is it holdfast that is tested?
probe() { fresh "$place/probe-dir" && (cd "$place/probe-dir" && as_mode "$1" "$place/probe"); }
shim_line=$(probe shim) || die "the probe failed: $shim_line"
bare_line=$(probe bare) || die "the bare probe failed: $bare_line"
echo "shim: $shim_line"
echo "bare: $bare_line"
case $shim_line in *"default holdfast file holdfast/unix "*) ;; *) die "holdfast is not the default VFS" ;; esac
case $bare_line in *"default unix file unix "*) ;; *) die "the comparison does not run on SQLite's own VFS" ;; esac

# ---------------------------------------------------------------- run, compare, count
# Errors and tests of the logs whose names are read, as "N errors out of M tests".
sum() {
  while read -r name; do errors_in "$place/log/$name.shim"; done |
    awk '{ for (i = 2; i < NF; i++) if ($i == "errors" || $i == "error") { errors += $(i - 1); tests += $(i + 3) } }
         END { printf "%d errors out of %d tests (%d runs)\n", errors, tests, NR }'
}

run_all shim <"$place/ordered"
while read -r name; do [ -s "$place/log/$name.shim.failed" ] && echo "$name"; done <"$place/ordered" >"$place/again"
[ -s "$place/again" ] && echo "failures, so again on SQLite's own VFS: $(tr '\n' ' ' <"$place/again")"
run_all bare <"$place/again"

for pattern in lock wal pager journal mptest-; do
  grep "^$pattern" "$place/ordered" >"$place/family" && echo "${pattern%-}*: $(sum <"$place/family")"
done
grep -v '^\(lock\|wal\|pager\|journal\|mptest-\)' "$place/ordered" >"$place/family" && echo "others: $(sum <"$place/family")"
echo "all: $(sum <"$place/ordered"), $SECONDS s"

rm -rf "$out/log" && mkdir "$out/log"
while read -r name; do
  sort -u "$place/log/$name.shim.failed" | comm -23 - <(sort -u "$place/log/$name.bare.failed")
  cp "$place/log/$name".* "$out/log"
done <"$place/again" >"$place/new"
cat "$place"/log/*.bare.failed 2>/dev/null | sort -u | sed 's/^/SQLite itself fails here: /'
[ -s "$place/new" ] || exit 0
echo "failures that SQLite's own VFS does not have ($(wc -l <"$place/new")), logs in $out/log:"
head -n 60 "$place/new"
exit 1
