#!/bin/sh
# smb_figures.sh - the long runs on SMB; writes docs/figures/smb.md, part by part. Part of `make long`.
#
# usage: smb_figures.sh [SECONDS [PART,PART...]]    seconds of one storm (60), parts of those below
# Exit code 1: something was lost or the kernel stopped; 77: no lab here.
set -u
lab_here=$(cd "$(dirname "$0")" && pwd)
. "$lab_here/boot.sh"
. "$lab_here/page.sh"
all_parts='storms-plain storms-1 storms-2 storms-4 storms-off storms-other drops-delete drops-truncate drops-persist drops-outages costs delays'
storm_seconds=${1:-60} parts=$(echo "${2:-$all_parts}" | tr , ' ')

page_head() {
  echo "# SMB: what is lost, and what it costs"
  echo
  echo "Written by \`tests/lab/smb_figures.sh\` (part of \`make long\`), part by part: the kernel's SMB client and"
  echo "$(smbd --version | sed 's/^Version/Samba/') in user-mode Linux 6.1, two clients, one processor for all, the share as docs/mounts.md recommends."
  echo "docs/limits.md says what it means."
  echo
}

lab_make_work
lab_gather
[ -n "$LAB_SHIM" ] || { echo "no holdfast.so in ${HF_BUILD:-HF_BUILD, which is not set}" >&2; exit 1; }
bad=0
for part in $parts; do
  lab_run smb 7000 recommended "$storm_seconds" "$part" || { echo "$part: the lab kernel stopped on the way" && bad=1 && continue; }
  sed -e '/^# /d' -e "2s|\$|\n$(page_stamp).\n|" "$LAB_WORK/out" >"$LAB_WORK/part"
  page_put "$lab_here/../../docs/figures/smb.md" "$all_parts" "$part" "$LAB_WORK/part"
  ! grep -q '^# bad' "$LAB_WORK/out" || bad=1
done
exit $bad
