#!/bin/sh
# hosts.sh - `holdfast doctor DIR --as a` on client 1 and `--as b` on client 2. With CASE_SHIM on the mount itself:
# prints both exit codes. Without it on mounts whose options end locks at each client or keep stale pages: the
# command has to find that and to name the option in its advice.
. "$LAB_WORK/bin/mounts.sh"
tool=$LAB_WORK/bin/holdfast name=${CASE_DIR##*/}
[ -x "$tool" ] || { echo "no holdfast command in the build"; exit 77; }

# hosts_pair DIR FILE: FILE-a and FILE-b get what they say, FILE the exit codes
hosts_pair() {
  "$tool" doctor "$1" --as a --wait 90 --no-probe >"$2-a" 2>&1 &
  first=$!
  lab_on2 "$tool" doctor "$1" --as b --wait 90 --no-probe >"$2-b" 2>&1
  b=$?
  wait $first
  echo "a $?, b $b" >"$2"
  cat "$2-a" "$2-b" >&2
}

# hosts_mount OPTION DIR BELOW: on both clients
hosts_mount() {
  mkdir -p "$2" "$3" && lab_on2 mkdir -p "$2" || return
  for where in "" lab_on2; do
    case $name in
    smb) $where mount -t cifs -o "guest,vers=3.1.1,$1,nosharesock" "//$LAB_SERVER/lab/${3##*/}" "$2" || return ;;
    *) $where mount -t nfs -o "vers=3,$1" "$LAB_SERVER:$3" "$2" || return ;;
    esac
  done
}

if [ -n "${CASE_SHIM:-}" ]; then
  hosts_pair "$CASE_DIR" "$LAB/tmp/hosts"
  # The default of Samba cannot be seen from a client, so it is always named.
  [ "$name" != smb ] || grep -q 'posix locking' "$LAB/tmp/hosts-a" || echo "posix locking is not named"
  cat "$LAB/tmp/hosts"
  exit
fi
case $name in smb) options="nobrl cache=loose" ;; *) options="nolock local_lock=posix" ;; esac
running=
for option in $options; do
  dir=$LAB/m/hosts-$option
  hosts_mount "$option" "$dir" "$LAB/export/hosts-$option" || exit 1
  hosts_pair "$dir" "$LAB/tmp/hosts-$option" &
  running="$running $!"
done
# shellcheck disable=SC2086 # a list of numbers
wait $running
said=
for option in $options; do
  grep -q "Mount.*${option%%=*}\|option.*${option%%=*}" "$LAB/tmp/hosts-$option-a" && named=named || named="NOT NAMED"
  said="$said${said:+; }$option $named, $(cat "$LAB/tmp/hosts-$option")"
  umount "$LAB/m/hosts-$option"
  lab_on2 umount "$LAB/m/hosts-$option"
done
echo "$said"
