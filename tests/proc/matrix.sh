#!/bin/bash
# The failure scenarios, in their long form, on every local file system that this machine can mount: ext4, tmpfs,
# overlay, xfs, btrfs, each in an image of its own and in a mount name space that ends with this script. Part
# of `make long`; what it found goes to docs/figures/locks.md (OUT=file: elsewhere). FS="ext4 xfs" and
# ONLY="f01_own_locks" take a part, and then nothing is written unless OUT is set. RESULTS=dir keeps the logs
# there; later runs with the same one replace their cells, and `matrix.sh page` writes the page of all of them.
set -u
all_fs="ext4 tmpfs overlay xfs btrfs"
all_programs="f01_own_locks f01_openers f01_not_owned f02_wal_unlinked f03_two_wals f04_two_libraries f14_fork f15_replaced f16_hard_link
f17_mixed_protocols f18_mode_flip f19_wal_reset f21_after_io_error mixed_writers"
size=2G
results=${RESULTS:-$PWD/results}
now=$(git -C "$HF_SOURCE" rev-parse --short HEAD 2>/dev/null || echo unknown)

if [ "${1:-}" != inside ] && [ "${1:-}" != page ]; then
  [ -n "${HF_LONG:-}" ] || { echo "skipped: an hour of runs, part of make long"; exit 77; }
  "$HF_SOURCE/tools/deps" matrix || { echo "skipped: the packages in tools/packages/matrix are missing"; exit 77; }
  unshare -m true 2>/dev/null || { echo "skipped: no mount name space to be had (not root?)"; exit 77; }
  exec unshare -m "$0" inside
fi
# image NAME MKFS...: a file system in a sparse file, mounted on at/NAME
image() {
  local name=$1
  shift
  truncate -s $size "images/$name" && "$@" "images/$name" >"$results/mkfs.log" 2>&1 &&
    mount -o loop "images/$name" "at/$name"
}
mount_one() {
  mkdir -p "at/$1"
  case $1 in
    ext4)  image ext4 mkfs.ext4 -q -F ;;
    xfs)   image xfs mkfs.xfs -q -f ;;
    btrfs) image btrfs mkfs.btrfs -q -f ;;
    tmpfs) mount -t tmpfs -o size=$size tmpfs at/tmpfs ;;
    overlay)
      mkdir -p at/below && image below mkfs.ext4 -q -F && mkdir at/below/lower at/below/upper at/below/work &&
        mount -t overlay -o lowerdir=at/below/lower,upperdir=at/below/upper,workdir=at/below/work overlay at/overlay ;;
  esac
}

# run FS PROGRAM: its log in $results/FS.PROGRAM, "code seconds commit date" in $results/FS.PROGRAM.rc
run() {
  local fs=$1 program=$2 started=$SECONDS rc
  mkdir -p "at/$fs/$program"
  (cd "at/$fs/$program" && timeout -k 10 7200 "$HF_BUILD/tests/proc/$program") </dev/null >"$results/$fs.$program" 2>&1
  rc=$?
  echo "$rc $((SECONDS - started)) $now $(date -u +%F)" >"$results/$fs.$program.rc"
  rm -rf "at/${fs:?}/$program"
  echo "$fs $program: exit code $rc after $((SECONDS - started)) s"
  [ $rc = 0 ] || tail -n 30 "$results/$fs.$program" | sed 's/^/        /'
}

run_all() {
  mount --make-rprivate /
  mkdir -p images at "$results"
  trap 'umount -R at/* 2>/dev/null' EXIT
  for fs in ${FS:-$all_fs}; do
    if mount_one "$fs" 2>"$results/mount.log"; then
      mounted="$mounted $fs"
    else
      echo "$fs cannot be mounted here: $(cat "$results/mount.log")"
    fi
  done
  [ -n "$mounted" ] || { echo "skipped: none of the file systems can be mounted here"; exit 77; }
  # The programs mostly wait, so the file systems take their turns at the same time.
  for fs in $mounted; do
    for program in ${ONLY:-$all_programs}; do run "$fs" "$program"; done &
  done
  wait
  for fs in $mounted; do
    for program in ${ONLY:-$all_programs}; do
      read -r rc _ <"$results/$fs.$program.rc" && [ "$rc" = 0 ] || failures=$((failures + 1))
    done
  done
}

failures=0 mounted=
if [ "${1:-}" = page ]; then
  for fs in ${FS:-$all_fs}; do compgen -G "$results/$fs.*.rc" >/dev/null && mounted="$mounted $fs"; done
else
  run_all
fi

# cell FS PROGRAM: what the table says of one run
cell() {
  local rc seconds
  [ -f "$results/$1.$2.rc" ] || { echo "not run"; return; }
  read -r rc seconds _ <"$results/$1.$2.rc"
  case $rc in
    0)  echo "pass, $(sed -n 's/^\([0-9]*\) comparisons, 0 failed$/\1/p' "$results/$1.$2") compared, $seconds s" ;;
    77) echo "skipped: $(tail -n 1 "$results/$1.$2")" ;;
    *)  echo "**failed** (exit code $rc)" ;;
  esac
}
# The date and commit of the runs; cells that were made again have their own.
made_by() {
  for fs in $mounted; do
    for program in ${ONLY:-$all_programs}; do
      [ -f "$results/$fs.$program.rc" ] && read -r _ _ commit day <"$results/$fs.$program.rc" &&
        echo "${day:-no date}, commit ${commit:-unknown}|$program"
    done
  done | sort | uniq -c | awk '{ n = $1; $1 = ""; split($0, part, "|"); of[part[1]] += n; names[part[1]] = names[part[1]] " " part[2] }
    END { for (one in of) print of[one] "|" one "|" names[one] }' | sort -t '|' -k 1,1nr |
    awk -F '|' '{ sub(/^ /, "", $2); printf("%s%s%s", (NR > 1 ? "; of another run: " : ""), $2, (NR > 1 ? ":" $3 : "")) }'
}
page() {
  echo "# Locks that hold: the scenarios on every local file system"
  echo
  echo "Written by \`tests/proc/matrix.sh\` (part of \`make long\`). Each program runs a failure with plain SQLite"
  echo "first, where it must happen, then with holdfast in every process and with holdfast in half of them,"
  echo "where it must not. docs/failures.md says what the ids mean."
  echo
  echo "- $(made_by), holdfast $(cat "$HF_SOURCE/VERSION")"
  echo "- Linux $(uname -r | sed 's/-.*//'), $(nproc) processors, SQLite $(sqlite3 --version | cut -d ' ' -f 1)"
  echo
  echo "| program |$(for fs in $mounted; do printf ' %s |' "$fs"; done)"
  echo "|---|$(for fs in $mounted; do printf -- '---|'; done)"
  for program in ${ONLY:-$all_programs}; do
    echo "| $program |$(for fs in $mounted; do printf ' %s |' "$(cell "$fs" "$program")"; done)"
  done
  # The same lines were compared everywhere; they are shown once.
  read -r fs _ <<<"$mounted"
  echo
  echo "## What they printed on $fs"
  for program in ${ONLY:-$all_programs}; do
    [ -f "$results/$fs.$program" ] || continue
    echo
    echo "$program"
    echo
    # What writers are missing in a control run is told line by line in the log only.
    grep -v -e '^writer [0-9]*: ' -e '^the rows cannot' -e ' comparisons, ' -e '^On tree ' -e '^Page ' -e '^ro' \
      -e '^wrong ' -e '^[[:space:]]*$' "$results/$fs.$program" | head -n 90 | cut -c 1-160 | sed 's/^/    /'
  done
}
if [ -n "${OUT:-}" ]; then
  page >"$OUT"
elif [ -z "${FS:-}${ONLY:-}" ]; then
  mkdir -p "$HF_SOURCE/docs/figures"
  page >"$HF_SOURCE/docs/figures/locks.md"
fi
[ $failures = 0 ] || echo "$failures runs failed"
[ $failures = 0 ]
