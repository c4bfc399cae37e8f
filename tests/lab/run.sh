#!/bin/sh
# run.sh - the lab: real NFS, SMB and a dozen other mounts in a user-mode Linux, plain SQLite beside holdfast.
#
# usage: run.sh [--only MOUNT,MOUNT...] [--case CASE,CASE...] [--list]
# HF_BUILD is where holdfast.so was built; without one only plain SQLite is shown, and every case counts as
# skipped. HF_LONG=1: more crashes, more commits. Last line: "N passed, N failed, N skipped". Exit code 0:
# none failed; 77: no lab here, which is a failure where CI is set. See README.md.
set -u
lab_here=$(cd "$(dirname "$0")" && pwd)
. "$lab_here/boot.sh"

seconds=570 rounds=10 commits=50 case_seconds=100 only='' wanted=''
[ -z "${HF_LONG:-}" ] || seconds=7200 rounds=100 commits=1000 case_seconds=1200
while [ $# -gt 0 ]; do
  case $1 in
  --only) only=${2:?--only needs names of mounts} && shift ;;
  --case) wanted=${2:?--case needs names of cases} && shift ;;
  --list)
    . "$lab_here/mounts.sh"
    lab_mounts | while read -r name class rule clients; do
      printf '%-10s  %-8s  %-17s  %s client(s)\n' "$name" "$class" "$rule" "$clients"
    done
    exit 0
    ;;
  *)
    echo "usage: run.sh [--only MOUNT,MOUNT...] [--case CASE,CASE...] [--list]" >&2
    exit 64
    ;;
  esac
  shift
done

lab_make_work
lab_gather
lab_run cases $seconds $rounds $commits $case_seconds "$only" "$wanted"
ended=$?
count() { grep -c "^# row $1\$" "$LAB_WORK/out"; }
passed=$(count ok) failed=$(count FAIL) skipped=$(count skip)
if [ $ended -ne 0 ]; then
  [ "$passed$failed$skipped" != 000 ] || { cat "$LAB_WORK/console" && lab_not_available "the lab kernel does not boot"; }
  echo "the lab kernel stopped before the last case"
  tail -n 20 "$LAB_WORK/console"
  failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
