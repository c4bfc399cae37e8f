#!/bin/sh
# run.sh - the lab: real NFS, SMB and a dozen other mounts in a user-mode Linux, plain SQLite beside holdfast.
#
# usage: run.sh [--only MOUNT,MOUNT...] [--case CASE,CASE...] [--list]
#        run.sh --tables [PART,PART...]
# HF_BUILD is where holdfast.so was built; without one only plain SQLite is shown, and every case counts as
# skipped. HF_LONG=1: more crashes, more commits, and the tables of network.sh, which --tables makes alone; all of
# them go to docs/figures/network.md, some are only shown. Last line: "N passed, N failed, N skipped". Exit code 0:
# none failed; 77: no lab here, which is a failure where CI is set. See README.md.
set -u
lab_here=$(cd "$(dirname "$0")" && pwd)
. "$lab_here/boot.sh"
. "$lab_here/page.sh"

seconds=890 rounds=6 commits=30 case_seconds=300 only='' wanted='' tables='' runs=20
all_tables='storms-full storms-off crashes outages costs delays'
[ -z "${HF_LONG:-}" ] || seconds=7200 rounds=100 commits=1000 case_seconds=1200
while [ $# -gt 0 ]; do
  case $1 in
  --only) only=${2:?--only needs names of mounts} && shift ;;
  --case) wanted=${2:?--case needs names of cases} && shift ;;
  --tables)
    tables=${2:-all}
    [ $# -lt 2 ] || shift
    ;;
  --list)
    . "$lab_here/mounts.sh"
    lab_mounts | while read -r name class rule clients; do
      printf '%-10s  %-8s  %-17s  %s client(s)\n' "$name" "$class" "$rule" "$clients"
    done
    exit 0
    ;;
  *)
    echo "usage: run.sh [--only MOUNT,MOUNT...] [--case CASE,CASE...] [--list] | --tables [PART,PART...]" >&2
    exit 64
    ;;
  esac
  shift
done

page_head() {
  echo "# NFS: what is lost, and what it costs"
  echo
  echo "Written by \`tests/lab/run.sh --tables\` (part of \`make long\`), part by part: kernel clients and a kernel server in"
  echo "user-mode Linux 6.1, two clients, one processor for all. docs/mounts.md and docs/failures.md (F24..F26) say what it"
  echo "means."
  echo
}

# The tables, each by a kernel of its own. 1 if holdfast did worse than it should or a kernel stopped. LAB_RUNS is a
# number of storms, or a piece of them: with LAB_RAW=FOLDER, where their results stay, 1-5 and later 6-20 make 20.
network_tables() {
  [ -n "$LAB_SHIM" ] || { echo "no holdfast.so in ${HF_BUILD:-HF_BUILD, which is not set}" >&2; return 1; }
  [ "$1" = all ] && parts=$all_tables || parts=$(echo "$1" | tr , ' ')
  : "${LAB_RUNS:=$runs}" "${LAB_RAW:=$LAB_WORK/raw}"
  mkdir -p "$LAB_RAW" && rm -rf "$LAB_WORK/storms" && cp -r "$LAB_RAW" "$LAB_WORK/storms" || return
  bad=0
  for part in $parts; do
    lab_run network 7000 "${LAB_RUNS%-*}" "${LAB_RUNS#*-}" 15 20 100 5 "$part" ||
      { echo "$part: the lab kernel stopped on the way" && bad=1 && continue; }
    cp "$LAB_WORK/storms"/* "$LAB_RAW/" 2>/dev/null
    sed -e '/^# /d' -e "2s|$|\n$(page_stamp).\n|" "$LAB_WORK/out" >"$LAB_WORK/part"
    page_put "$lab_here/../../docs/figures/network.md" "$all_tables" "$part" "$LAB_WORK/part"
    ! grep -q '^# bad' "$LAB_WORK/out" || bad=1
  done
  return $bad
}

lab_make_work
lab_gather
if [ -n "$tables" ]; then
  network_tables "$tables"
  exit
fi
lab_run cases $seconds $seconds $rounds $commits $case_seconds "$only" "$wanted"
ended=$?
count() { grep -c "^# row $1\$" "$LAB_WORK/out"; }
passed=$(count ok) failed=$(count FAIL) skipped=$(count skip)
if [ $ended -ne 0 ]; then
  [ "$passed$failed$skipped" != 000 ] || { cat "$LAB_WORK/console" && lab_not_available "the lab kernel does not boot"; }
  echo "the lab kernel stopped before the last case"
  tail -n 20 "$LAB_WORK/console"
  failed=$((failed + 1))
fi
if [ -n "${HF_LONG:-}" ] && [ -z "$only$wanted" ] && [ $ended -eq 0 ] && ! network_tables all; then
  failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
