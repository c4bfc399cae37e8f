# cases.sh - the job of `make lab`: every case of cases.c on every mount, first with plain SQLite, then
# with holdfast, and what each should have done; sourced by inside.sh.
#
# A row is "ok" when both columns are as expected: plain SQLite has to show the trouble, or the case
# proves nothing. Lines that begin with '#' are for run.sh, which counts them.

# What is run on every mount, and on those of one name besides. nfs40 differs from nfs4 in how locks are kept alone.
lab_cases_of() {
  case $1 in
  nfs40) echo "verdict crash crash-write crash-off two-writers storm lease restart stray" ;;
  *) echo "verdict wal wal-exclusive rows-in-wal attached readonly readonly-wal crash wal-writers two-writers" ;;
  esac
  case $1 in
  smb) echo "smb-storm smb-drops holders hosts far smb-restart" ;;
  nfs4) echo "far holders warned crash-write crash-off storm lease blip restart stray process take-over probe lost" ;;
  nfs3) echo "holders crash-write crash-off crash-at-once storm restart stray process hosts ${probe_nfs3:-}" ;; # without leases a client that is cut off keeps its locks
  esac
}

# job_cases TIME ROUNDS COMMITS SECONDS MOUNT,MOUNT,... CASE,CASE,...: the time for all of it, crashes in a row, commits of
# each of two writers, the time limit of one case, and the mounts and cases wanted (none: all). What the time does not
# reach for is skipped and says so: a slow machine is no fault of the code.
job_cases() {
  deadline=$(($(date +%s) + $1 - 30)) rounds=$2 commits=$3 case_limit=$4 storm_seconds=8 probe_seconds=5 far_delay=10ms far_commits=5 only=${5:-} wanted=${6:-}
  { [ "$rounds" -le 10 ] && [ -z "$wanted" ]; } || probe_nfs3=probe # nothing of it differs from nfs4: long runs only
  lab_servers
  lab_line mount case "stock SQLite" holdfast ""
  lab_mounts >"$LAB/mounts"
  while read -r name class rule clients; do
    case ,${only:-$name}, in *,"$name",*) ;; *) continue ;; esac
    began=
    if lab_ready; then
      for case in $(lab_cases_of "$name"); do
        case ,${wanted:-$case}, in *,"$case",*) lab_case "$case" </dev/null ;; esac
      done
    else
      lab_row "" "$lab_why" "" skip
    fi
  done <"$LAB/mounts"
}

lab_line() { say "$(printf '%-10s  %-13s  %-33s  %-33s  %s' "$@")"; }

# lab_row CASE STOCK HOLDFAST RESULT
lab_row() {
  lab_line "$name" "$1" "$2" "$3" "$4${began:+, $(($(date +%s) - began)) s}"
  began=
  say "# row $4"
}

# Mounts $name where the cases want it: on client 1, read-only beside it, and on client 2. If that fails,
# lab_why is the first line of what the tools said.
lab_ready() {
  {
    lab_try 60 lab_mount "$name" "$LAB/m/$name" && mkdir -p "$LAB/ro/$name" "$LAB/logs/$name" &&
      mount --bind "$LAB/m/$name" "$LAB/ro/$name" && mount -o remount,bind,ro "$LAB/ro/$name" &&
      if [ "$clients" = 2 ]; then lab_try2 60 lab_mount "$name" "$LAB/m/$name"; fi
  } >"$LAB/why" 2>&1 && return
  lab_why="not mounted: $(sed -n 1p "$LAB/why")"
  return 1
}

# lab_case CASE: of $name, $class, $rule. Cases of two clients run only on mounts that two clients have.
lab_case() {
  case $1:$clients in crash*:1 | *-writers:1) return ;; esac
  began=$(date +%s)
  case_seconds=$((deadline - began))
  [ $case_seconds -ge 20 ] || { lab_row "$1" "no time left" "" skip && return; }
  [ $case_seconds -le "$case_limit" ] || case_seconds=$case_limit
  stock=$(lab_side "$1" "" 2>"$LAB/tmp/said") stock_rc=$?
  if [ $stock_rc -eq 77 ]; then lab_row "$1" "$stock" "" skip && return; fi
  if [ -z "$LAB_SHIM" ]; then lab_row "$1" "$stock" "not built" skip && return; fi
  shim=$(lab_side "$1" "$LAB_SHIM" 2>>"$LAB/tmp/said") shim_rc=$?
  lab_expect "$1"
  result=FAIL
  # shellcheck disable=SC2254 # both are patterns
  case $stock_rc$shim_rc:$stock in 00:$expect_stock) case $shim in $expect_shim) result=ok ;; esac ;; esac
  case $result$stock_rc$shim_rc in FAIL*124*) [ "$(date +%s)" -lt $deadline ] || result=skip ;; esac
  lab_row "$1" "$stock" "$shim" $result
  [ $result != FAIL ] || { lab_line "" "  expected" "$expect_stock" "$expect_shim" "" && lab_said; }
}

# What the programs of a failed case had to say, without the trace of this script.
lab_said() { say "$(sed '/^+/d; s/^/            /' "$LAB/tmp/said" | tail -n 40)"; }

# lab_side CASE SHIM: which program has the case, and with which words
lab_side() {
  program=cases words=$1
  case $1 in
  lease | restart | blip | stray | process | take-over) program=outages ;;
  crash* | warned) program=crashes ;;
  probe) program=health words="probe $probe_seconds" ;;
  lost) program=health ;;
  storm) program=storm words="$storm_seconds off delete" ;;
  hosts) program=hosts.sh ;;
  smb-storm)
    program=smb_storm words="db=$LAB/m/smb/storm${2:+2}.db below=$LAB/export/smb/storm${2:+2}.db client2=$LAB_CLIENT2 shim=$2"
    words="$words kill_ms=1500 seconds=$storm_seconds stray=1 brief=1"
    ;;
  smb-drops | smb-restart) # where plain SQLite cannot write, calls that are on their way show that the case can fail
    case $1:$2 in
    *:) words=points=8-8 ;;
    smb-drops:*) words=points=2-5,9 ;;
    *) words="points=3-3 how=server" ;;
    esac
    program=smb_drops words="dir=$LAB/m/smb below=$LAB/export/smb client2=$LAB_CLIENT2 shim=$LAB_SHIM others=2-2 modes=delete $words"
    ;;
  far)
    commits=$far_commits
    lab_delay $far_delay || { echo "no sch_netem" && return 77; }
    ;;
  esac
  lab_program "$2"
  case_rc=$?
  [ "$1" != far ] || lab_delay 0
  return $case_rc
}

# lab_program SHIM: runs $program $words on the mount $name. Where plain SQLite cannot write (SMB), the writer that
# is to be killed uses holdfast on both sides.
lab_program() {
  writer=$1
  [ "$name" != smb ] || writer=$LAB_SHIM
  case_busy=60000 # or what is refused in the end takes that long each time
  [ "$name$1" != smb ] || case_busy=1000
  # shellcheck disable=SC2086 # words are several
  CASE_BUSY_MS=$case_busy CASE_DIR=$LAB/m/$name CASE_SERVER=$(lab_server_dir "$name") CASE_RO=$LAB/ro/$name CASE_SHIM=$1 \
    CASE_WRITER_SHIM=$writer CASE_CLIENT2=$LAB_CLIENT2 CASE_ROUNDS=$rounds \
    CASE_COMMITS=$commits CASE_LOGS=$LAB/logs/$name CASE_OUTAGE='sh -c "$lab_alone" lab lab_outage' \
    HOLDFAST_LOG=none timeout -k 5 "$case_seconds" "$LAB_WORK/bin/$program" $words </dev/null
  rc=$?
  [ $rc -ne 124 ] || echo " no end in $case_seconds s"
  return $rc
}

# lab_expect CASE: what it should show on $name, as two patterns. One table for people and for the lab.
lab_expect() {
  all=$((2 * commits))
  case $1 in
  verdict) expect_stock="nothing is said" expect_shim="$class, $rule" ;;
  wal) expect_stock="wal, -wal and -shm" expect_shim="delete, no side files" ;;
  wal-exclusive) expect_stock="wal, -wal" expect_shim="delete, no side files" ;;
  rows-in-wal) expect_stock="1000 rows, wal" expect_shim="1000 rows, delete" ;;
  attached) expect_stock="1000|wal, unchanged" expect_shim="error 5, unchanged" ;;
  readonly) expect_stock="reads 7, write error 8" expect_shim=$expect_stock ;;
  wal-writers) expect_stock="*, error 1[05]" expect_shim="$all acknowledged, $all found" ;;
  readonly-wal) expect_stock="*" expect_shim="error 14, unchanged" ;;
  crash | crash-write | crash-off | crash-at-once) expect_stock="[1-9]* of $rounds half*" expect_shim="0 of $rounds half" ;;
  lease) expect_stock="[1-9]* of * wrong, *" expect_shim="0 of * wrong, * told why" ;;
  blip) expect_stock="0 of * wrong, *" expect_shim=$expect_stock ;; # refused only where the machine is too slow
  restart) # a client that is too slow to claim its locks again within the server's grace is refused, and told why
    expect_stock="0 of * wrong, *" expect_shim=$expect_stock
    ;;
  warned)
    expect_stock="OFF allowed, recovery *, warned of 0; OFF allowed, recovery *, warned of 0"
    expect_shim="OFF allowed, recovery *, warned of 2; OFF error 1, recovery error 14, warned of *"
    ;;
  process) expect_stock="B 0, *" expect_shim="B 5, child 21, B 5, A 0, 50 acknowledged, 50 found, ok" ;;
  probe) expect_stock="[1-9]* of * called corrupt, *" expect_shim="0 of * called corrupt, [1-9]* ok" ;;
  lost) expect_stock="[1-9]* of 5 called corrupt, *" expect_shim="0 of 5 called corrupt, 1 ok, 0 events, opened anew 5 ok" ;;
  stray) expect_stock="$rounds of $rounds let in" expect_shim="0 of $rounds let in" ;;
  storm) expect_stock="*" expect_shim="[1-9]* acked, 0 missing, 0 torn, *kills" ;; # stock: not in every short one
  smb-storm) expect_stock="0 acknowledged, *" expect_shim="* acknowledged, 0 missing, 0 torn, ok, *" ;; # on a slow machine none in time
  smb-drops) expect_stock="*1 scenarios, 1 damaged, *" expect_shim="5 scenarios, 0 damaged, 0 stuck, *" ;;
  smb-restart) expect_stock="*1 scenarios, 1 damaged, *" expect_shim="1 scenarios, 0 damaged, 0 stuck, *" ;;
  hosts) expect_stock="* named, a [12], b [12]; * named, a [12], b [12]" expect_shim="a 0, b 0" ;;
  take-over) expect_stock="[1-9]* of * acknowledged are gone" expect_shim="0 of 100 acknowledged are gone" ;;
  holders) expect_stock="error 1; error 1; error 5, then reads 0" expect_shim="write by its process, running; write by nobody, remote; error 5, then reads 0" ;;
  far) expect_stock="$((2 * far_commits)) acknowledged, $((2 * far_commits)) found" expect_shim=$expect_stock ;;
  two-writers) expect_stock="$all acknowledged, $all found" expect_shim=$expect_stock ;;
  esac
  case $rule:$1 in
  wal-ok:verdict | wal-ok:readonly) ;;
  wal-ok:*) expect_shim=$stock ;; # nothing changes where WAL is fine
  rollback-one-host:rows-in-wal | rollback-one-host:attached) expect_shim="error 14, unchanged*" ;;
  esac
  case $name:$1 in # where plain SQLite does worse than to start WAL
  smb:wal | smb:wal-exclusive) expect_stock="error 5, cannot write, no side files" ;;
  smb:attached) expect_stock="error 15, unchanged" ;;
  smb:holders) expect_shim="write by its process, running; NULL; error 5, then reads 0" ;; # to ask would be to take it
  smb:crash) expect_stock="* of $rounds half*" ;; # on a slow machine it asks again in time, and is refused
  nfs*:wal-writers) # the second client gets errors, or nobody does and rows are gone
    case $stock in "$all acknowledged, $all found") ;; "$all acknowledged"*) expect_stock="*" ;; esac
    ;;
  smb:*-writers | smb:far) expect_stock="0 acknowledged, 0 found, error 5" ;;
  9p:wal) expect_stock="wal, cannot write, -wal and -shm" ;;
  9p:rows-in-wal) expect_stock="error 10, unchanged" ;;
  9p:attached) expect_stock="error 10, unchanged, held below" ;;
  esac
}
