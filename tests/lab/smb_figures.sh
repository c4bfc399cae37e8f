#!/bin/sh
# smb_figures.sh - the long runs on SMB; writes docs/figures/smb.md. Part of `make long`.
#
# usage: smb_figures.sh [SECONDS [PART,PART...]]    seconds of one storm (60), parts of storms,drops,costs
# Exit code 1: something was lost or the kernel stopped; 77: no lab here.
set -u
lab_here=$(cd "$(dirname "$0")" && pwd)
. "$lab_here/boot.sh"
storm_seconds=${1:-60} parts=${2:-storms,drops,costs} page=$lab_here/../../docs/figures/smb.md
lab_make_work
lab_gather
[ -n "$LAB_SHIM" ] || { echo "no holdfast.so in ${HF_BUILD:-HF_BUILD, which is not set}" >&2; exit 1; }
lab_run smb 14000 recommended "$storm_seconds" "$parts" || { echo "the lab kernel stopped on the way"; exit 1; }
{
  echo "# SMB: what is lost, and what it costs"
  echo
  echo "Written by \`tests/lab/smb_figures.sh $storm_seconds $parts\` (part of \`make long\`): the kernel's SMB client and Samba in"
  echo "user-mode Linux 6.1, two clients, one processor for all. docs/limits.md says what it means."
  echo
  echo "- $(date +%Y-%m-%d), commit $(git -C "$lab_here" rev-parse --short HEAD 2>/dev/null || echo '?')," \
    "SQLite $(sqlite3 --version | cut -d ' ' -f 1), $(smbd --version)"
  echo "- load of the machine at the end:$(cut -d ' ' -f 1-3 /proc/loadavg | sed 's/^/ /'), on $(nproc) processors"
  echo
  grep -v '^# [a-z]' "$LAB_WORK/out"
} >"$page"
! grep -q '^# bad' "$LAB_WORK/out"
