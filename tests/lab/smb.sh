# smb.sh - the job of smb_figures.sh: what is lost on SMB, and what it costs; sourced by inside.sh.
#
# The server has what docs/mounts.md recommends (LAB_SMB_SHARE), unless the first word is "default".

# job_smb SHARE SECONDS PARTS: how long one storm lasts; PARTS of storms,drops,costs.
job_smb() {
  [ "$1" = default ] || LAB_SMB_SHARE=' posix locking = no
 oplocks = no
 level2 oplocks = no
 smb2 leases = no'
  storm_seconds=$2 parts=$3 number=0
  export LAB_SMB_SHARE HOLDFAST_LOG=none
  lab_client2
  lab_try 60 lab_smb_server && lab_try 60 lab_mount smb "$LAB/m/smb" && lab_try2 60 lab_mount smb "$LAB/m/smb" &&
    lab_try 60 lab_mount smbnobrl "$LAB/m/smbnobrl" || { say "no SMB mount"; return; }
  for part in storms drops costs; do
    case ,$parts, in *,$part,*) smb_$part ;; esac
  done
}

# smb_row WORDS...: one storm
smb_row() {
  number=$((number + 1))
  said=$(timeout -k 5 $((storm_seconds + 150)) "$LAB_WORK/bin/smb_storm" db="$LAB/m/smb/t$number.db" below="$LAB/export/smb/t$number.db" \
    client2="$LAB_CLIENT2" shim="$LAB_SHIM" seconds="$storm_seconds" seed="$number" "$@" </dev/null)
  say "| $* | ${said:-did not end} |"
  case $said in *" 0 missing, "*" 0 torn, ok,"*) ;; *) say "# bad" ;; esac
}

smb_storms() {
  say "## Storms" "" "Writers on each of two clients, $storm_seconds s each row (tests/lab/smb_storm.c; errors by SQLite's codes)." "" \
    "| what | found |" "|---|---|"
  for mode in delete truncate persist; do
    for procs in 1 2; do
      for kill in 0 1000 166; do smb_row mode=$mode procs=$procs kill_ms=$kill; done
    done
  done
  smb_row mode=delete procs=2 kill_ms=1000 sync=off
  smb_row mode=delete procs=2 kill_ms=1000 fork=1 stray=1 conns=2
  say ""
}

smb_drops() {
  say "## Sessions dropped by the server" "" "Seven points of a transaction (tests/lab/smb_drops.c)." "" "| mode, then the other client | found |" "|---|---|"
  for mode in delete truncate persist; do
    for other in 2 3 1; do
      set -- "modes=$mode" "others=$other-$other"
      [ "$mode$other" != truncate1 ] && [ "$mode$other" != persist1 ] || continue
      said=$("$LAB_WORK/bin/smb_drops" dir="$LAB/m/smb" below="$LAB/export/smb" client2="$LAB_CLIENT2" shim="$LAB_SHIM" "$@" </dev/null)
      case $other in 1) what="a read" ;; 2) what="a commit" ;; 3) what="two commits" ;; esac
      say "| $mode, $what | $said |"
      case $said in *" 0 damaged, 0 stuck"*) ;; *) say "# bad" ;; esac
    done
  done
  said=$("$LAB_WORK/bin/smb_drops" dir="$LAB/m/smb" below="$LAB/export/smb" client2="$LAB_CLIENT2" shim="$LAB_SHIM" others=2-2 points=7-8 </dev/null)
  say "| calls on their way, not cured: all modes, a commit | $said |" ""
}

# Of all mounts together, so nothing else may run meanwhile.
smb_calls() { awk '/^SMBs:/ { n += $2 } END { print n }' /proc/fs/cifs/Stats; }

# smb_cost NAME SHIM N: one process, N commits, after 20 that warm up
smb_cost() {
  for n in 20 "$3"; do
    before=$(smb_calls) began=$(date +%s%N)
    printf 'open %s\nsql CREATE TABLE IF NOT EXISTS c(v); CREATE TABLE IF NOT EXISTS log(w, v); INSERT INTO c VALUES(0)\ncommits %s x\n' \
      "$LAB/m/$1/cost.db" "$n" | "$LAB_WORK/bin/agent" ${2:+--shim "$2"} >"$LAB/tmp/cost"
    ended=$(date +%s%N) after=$(smb_calls)
  done
  tail -n 1 "$LAB/tmp/cost" >&2
  awk -v n="$3" -v c=$((after - before)) -v ns=$((ended - began)) 'BEGIN { printf "%.0f commits/s, %.1f calls for each", n * 1e9 / ns, c / n }'
}

smb_costs() {
  say "## What it costs" "" "One process, DELETE, synchronous FULL, 100 commits of two statements, in turns." "" \
    "| round | plain SQLite, nobrl | holdfast |" "|---|---|---|"
  for round in 1 2 3; do
    plain=$(smb_cost smbnobrl "" 100)
    say "| $round | $plain | $(smb_cost smb "$LAB_SHIM" 100) |"
  done
  say ""
}
