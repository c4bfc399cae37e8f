#!/bin/sh
# demo.sh - what `make demo LAB=1` runs: stock SQLite and holdfast side by side on real NFS and SMB mounts.
#
# Boots the lab kernel (see run.sh) with another job. HF_BUILD is where holdfast.so and the tool were built. DEMO_SECONDS:
# for each side of `holdfast demo` (15). Exit code 0: holdfast did on every mount what it should; 77: no lab on this machine.
set -u
lab_here=$(cd "$(dirname "$0")" && pwd)
. "$lab_here/boot.sh"

lab_make_work
lab_gather
[ -n "$LAB_SHIM" ] || { echo "demo: no holdfast.so in ${HF_BUILD:-HF_BUILD, which is not set}" >&2; exit 1; }
[ -x "$LAB_WORK/bin/holdfast" ] || { echo "demo: no holdfast in $HF_BUILD" >&2; exit 1; }
demo_seconds=${DEMO_SECONDS:-15}
echo "Two clients and a server with real NFS and SMB, in a Linux kernel that runs as a program. Takes three minutes or so."
if ! lab_run story $((400 + 12 * demo_seconds)) "$demo_seconds"; then
  [ -s "$LAB_WORK/out" ] || { cat "$LAB_WORK/console" && lab_not_available "the lab kernel does not boot"; }
  echo "demo FAILED: the lab kernel stopped on the way" >&2
  exit 1
fi
if grep -q '^# bad' "$LAB_WORK/out"; then
  echo "demo FAILED: see above" >&2
  exit 1
fi
cat <<'END'

Half a transaction is damage that no check notices, and the next write keeps it for ever. The writer that
crashes on SMB uses holdfast in both columns, because stock SQLite cannot write there. More: make lab
END
