# fuse.sh - a FUSE mount whose server the test can stop and end: the folder `lower`, seen on `mnt`, in a mount name
# space of its own. To be sourced first; runs the script again inside, and ends it as skipped where that cannot be.
# What is mounted and when is left to the script: serve, unmount.
if [ "${1:-}" != inside ]; then
  for need in bindfs unshare; do
    command -v "$need" >/dev/null || { echo "skipped: $need is not installed"; exit 77; }
  done
  [ -c /dev/fuse ] || { echo "skipped: no /dev/fuse"; exit 77; }
  unshare -m true 2>/dev/null || { echo "skipped: no mount name space to be had (not root?)"; exit 77; }
  exec unshare -m "$0" inside
fi
mount --make-rprivate /
mkdir -p lower mnt
server=
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
# A server that is stopped or killed must not keep this script: lazy, and the server goes last.
unmount() {
  umount -l mnt 2>/dev/null
  [ -n "$server" ] && kill -CONT "$server" && kill "$server" && wait "$server"
  server=
} 2>/dev/null
trap unmount EXIT

# serve OPTION...: mount lower on mnt; the server is our child
serve() {
  bindfs -f "$@" lower mnt 2>bindfs.log &
  server=$!
  for _ in $(seq 200); do
    grep -q "$PWD/mnt " /proc/self/mountinfo && return
    kill -0 $server 2>/dev/null || break
    sleep 0.05
  done
  echo "skipped: bindfs does not mount here: $(tail -n 1 bindfs.log)"
  exit 77
}
