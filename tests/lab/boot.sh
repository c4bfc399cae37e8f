# boot.sh - boots the lab kernel around a job; sourced by run.sh and demo.sh, which set lab_here.
#
# The kernel is user-mode Linux, a program; its root is this machine's own file tree. So that the
# tree is only read, everything the lab needs is gathered in one temporary folder (LAB_WORK), which
# is also the only place of the tree that the lab kernel writes to. What happens inside is inside.sh.

lab_kernel=${LAB_KERNEL:-linux.uml}

# Without a lab: a reason for people, 77 for programs; a failure where CI counts on it.
lab_not_available() {
  echo "lab not available: $*"
  [ -z "${CI:-}" ] || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
  exit 77
}

# The folder must stay visible under the mounts that the lab puts over /dev, /run and the like, and
# its name goes into command lines and export tables, so it holds plain characters only.
lab_make_work() {
  base=${TMPDIR:-/var/tmp}
  case $base in
  /dev* | /run* | /var/run* | /proc* | /sys* | *[!A-Za-z0-9/._-]*) base=/var/tmp ;;
  /*) ;;
  *) base=/var/tmp ;;
  esac
  LAB_WORK=$(mktemp -d "$base/holdfast-lab.XXXXXX") || lab_not_available "no temporary folder in $base"
  LAB_PID=
  trap lab_clean EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mkdir "$LAB_WORK/bin" "$LAB_WORK/uml" "$LAB_WORK/lab" "$LAB_WORK/lib" "$LAB_WORK/hostfs"
}

lab_clean() {
  if [ -n "$LAB_PID" ]; then
    kill "$LAB_PID" 2>/dev/null
    wait "$LAB_PID" 2>/dev/null
  fi
  if [ -n "${LAB_KEEP:-}" ]; then echo "kept: $LAB_WORK" >&2; else rm -rf "$LAB_WORK"; fi
}

# The programs of the lab, its scripts, the module folder of the lab kernel, and the shim if there is one.
lab_gather() {
  cc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -shared -fPIC -o "$LAB_WORK/bin/xstate.so" "$lab_here/xstate.c" &&
    cc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -rdynamic -o "$LAB_WORK/bin/agent" "$lab_here/agent.c" "$lab_here/work.c" -lsqlite3 -lpthread &&
    for program in cases crashes outages storm calls health; do
      cc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$LAB_WORK/bin/$program" "$lab_here/$program.c" "$lab_here/kit.c" || exit 1
    done &&
    for program in smb_storm smb_handles "smb_drops smb_actor"; do
      # shellcheck disable=SC2046,SC2086 # several files, several words
      cc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$LAB_WORK/bin/${program% *}" $(printf "$lab_here/%s.c " $program) -lsqlite3 || exit 1
    done &&
    cp "$lab_here"/*.sh "$LAB_WORK/bin/" || { echo "lab: its programs do not compile" >&2; exit 1; }
  ln -s /usr/lib/uml/modules "$LAB_WORK/lib/modules"
  LAB_SHIM=
  if [ -n "${HF_BUILD:-}" ] && [ -f "$HF_BUILD/holdfast.so" ]; then
    cp "$HF_BUILD/holdfast.so" "$LAB_WORK/bin/holdfast.so"
    LAB_SHIM=$LAB_WORK/bin/holdfast.so
    [ ! -x "$HF_BUILD/holdfast" ] || cp "$HF_BUILD/holdfast" "$LAB_WORK/bin/holdfast"
  fi
}

# lab_run JOB SECONDS [WORDS...]: boots, runs `inside.sh JOB WORDS`, shows what the job says while it
# runs (LAB_WORK/out) and returns 0 if the job reached its end. The kernel's own words go to LAB_WORK/console.
lab_run() {
  job=$1 seconds=$2
  shift 2
  words=
  for word in "$@"; do words="$words '$word'"; done # an empty word stays one
  cat >"$LAB_WORK/init" <<END
#!/bin/sh
export LAB_WORK='$LAB_WORK' LAB_SHIM='$LAB_SHIM'
exec sh '$LAB_WORK/bin/inside.sh' '$job'$words
END
  chmod 755 "$LAB_WORK/init"
  : >"$LAB_WORK/out"
  LD_PRELOAD=$LAB_WORK/bin/xstate.so TMPDIR=$LAB_WORK timeout -k 10 "$seconds" "$lab_kernel" \
    mem="${LAB_MEM:-1024M}" root=/dev/root rootfstype=hostfs rootflags=/ rw init="$LAB_WORK/init" \
    uml_dir="$LAB_WORK/uml" umid=lab con=null con0=null,fd:1 quiet >"$LAB_WORK/console" 2>&1 </dev/null &
  LAB_PID=$!
  { tail -n +1 -f --pid="$LAB_PID" "$LAB_WORK/out" | grep --line-buffered -v '^#'; } &
  shown=$!
  wait "$LAB_PID" # in the foreground nothing but this: a signal must not have to wait
  LAB_PID=
  wait $shown
  grep -q '^# end$' "$LAB_WORK/out"
}
