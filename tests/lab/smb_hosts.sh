#!/bin/sh
# smb_hosts.sh - `holdfast doctor --as a` on client 1 and `--as b` on client 2, on one SMB share. Prints both exit
# codes. Without CASE_SHIM on a mount with nobrl, whose locks end at each client: the command has to find that.
. "$LAB_WORK/bin/mounts.sh"
tool=$LAB_WORK/bin/holdfast dir=$CASE_DIR
[ -x "$tool" ] || { echo "no holdfast command in the build"; exit 77; }
if [ -z "${CASE_SHIM:-}" ]; then
  dir=$LAB/m/nobrl2
  mkdir -p "$dir" "$LAB/export/nobrl2" && lab_on2 mkdir -p "$dir" || exit 1
  for where in "" lab_on2; do
    $where mount -t cifs -o guest,vers=3.1.1,nobrl,nosharesock "//$LAB_SERVER/lab/nobrl2" "$dir" || exit 1
  done
fi
"$tool" doctor "$dir" --as a --wait 40 --no-probe >"$LAB/tmp/hosts-a" 2>&1 &
first=$!
lab_on2 "$tool" doctor "$dir" --as b --wait 40 --no-probe >"$LAB/tmp/hosts-b" 2>&1
b=$?
wait $first
a=$?
cat "$LAB/tmp/hosts-a" "$LAB/tmp/hosts-b" >&2
if [ -z "${CASE_SHIM:-}" ]; then umount "$dir"; lab_on2 umount "$dir"; fi
echo "a $a, b $b"
