# smb.sh - the job of smb_figures.sh: what is lost on SMB, and what it costs; sourced by inside.sh.
#
# The server has what docs/mounts.md recommends (LAB_SMB_SHARE), unless the first word is "default".

. "$LAB_WORK/bin/network.sh"

# job_smb SHARE SECONDS PART: how long one storm lasts, and which of the functions smb_PART is run.
job_smb() {
  [ "$1" = default ] || LAB_SMB_SHARE=' posix locking = no
 oplocks = no
 level2 oplocks = no
 smb2 leases = no'
  LAB_SMB_GLOBAL=' socket options = TCP_NODELAY SO_KEEPALIVE TCP_KEEPIDLE=2 TCP_KEEPINTVL=1 TCP_KEEPCNT=2'
  storm_seconds=$2 number=0
  export LAB_SMB_SHARE LAB_SMB_GLOBAL HOLDFAST_LOG=none
  export CASE_OUTAGE='sh -c "$lab_alone" lab lab_outage'
  lab_client2
  lab_try 60 lab_smb_server || { say "no SMB server" "# bad"; return; }
  for name in smb smbnobrl; do
    if ! lab_try 60 lab_mount $name "$LAB/m/$name" || ! lab_try2 60 lab_mount $name "$LAB/m/$name"; then
      say "no SMB mount" "# bad"
      return
    fi
  done
  "smb_${3%-*}" "${3#*-}"
}

# ---------------------------------------------------------------- storms

# smb_storm NUMBER MOUNT SHIM WORDS...: one storm; what it says goes to LAB/said-NUMBER
smb_storm() {
  storm_number=$1 storm_mount=$2 storm_shim=$3
  shift 3
  timeout -k 5 $((storm_seconds * 2 + 180)) "$LAB_WORK/bin/smb_storm" db="$LAB/m/$storm_mount/t$storm_number.db" \
    below="$LAB/export/$storm_mount/t$storm_number.db" client2="$LAB_CLIENT2" shim="$storm_shim" seconds="$storm_seconds" \
    seed="$storm_number" "$@" </dev/null >"$LAB/said-$storm_number"
}

# smb_each MOUNT SHIM KILL,KILL... WORDS...: the three modes, with each of the kill_ms, one after the other; a row for each
smb_each() {
  each_mount=$1 each_shim=$2 each_kills=$(echo "$3" | tr , ' ')
  shift 3
  where=''
  [ -n "$each_shim" ] || where=", on a mount $( [ "$each_mount" = smb ] && echo 'with the default options' || echo 'with nobrl')"
  for kill in $each_kills; do
    for mode in delete truncate persist; do
      number=$((number + 1))
      smb_storm $number "$each_mount" "$each_shim" mode=$mode kill_ms="$kill" "$@"
      smb_row "$mode, kill_ms=$kill${*:+, $*}$where" "${each_shim:+holdfast}" "$(tr '\n' ' ' <"$LAB/said-$number")"
    done
  done
}

# smb_row WORDS holdfast|"" SAID
smb_row() {
  say "| $1 | ${3:-did not end} |"
  case $2:$3 in holdfast:*" 0 missing, "*" 0 torn, ok,"*) ;; holdfast:*) say "# bad" ;; esac
}

smb_storms() { # 1, 2, 4: writers on each client; plain, off, other
  case $1 in
  plain) say "## Plain SQLite, for comparison" "" "On a default mount, and with \`nobrl\`, the usual advice." "" ;;
  off) say "## Storms with synchronous=OFF" "" ;;
  other) say "## Storms with forks, stray closes and two connections in each process" "" ;;
  *) say "## Storms of $((2 * $1)) writers, $1 on each of two clients" "" ;;
  esac
  say "$storm_seconds s each, one after the other in databases of their own; kill_ms: one writer is killed that often, 0: none" \
    "(tests/lab/smb_storm.c; errors by SQLite's codes: 5 busy, 14 cannot open, 1xxxxx at the open)." "" "| what | found |" "|---|---|"
  case $1 in
  plain)
    smb_each smb "" 0 procs=2
    smb_each smbnobrl "" 0,1000 procs=2
    ;;
  off) smb_each smb "$LAB_SHIM" 0,1000,166 procs=2 sync=off ;;
  other) smb_each smb "$LAB_SHIM" 0,1000,166 procs=2 fork=1 stray=1 conns=2 ;;
  *) smb_each smb "$LAB_SHIM" 0,1000,166 procs="$1" ;;
  esac
  say ""
}

# ---------------------------------------------------------------- outages

# smb_drop SHIM TITLE WORDS...: one row
smb_drop() {
  drop_shim=$1 drop_title=$2
  shift 2
  said=$("$LAB_WORK/bin/smb_drops" dir="$LAB/m/smb" below="$LAB/export/smb" client2="$LAB_CLIENT2" shim="$drop_shim" "$@" </dev/null)
  say "| $drop_title | $said |"
}
smb_drop_well() {
  smb_drop "$LAB_SHIM" "$@"
  case $said in *" 0 damaged, 0 stuck"*) ;; *) say "# bad" ;; esac
}

smb_drops() { # delete, truncate, persist; outages
  if [ "$1" = outages ]; then
    say "## Outages" "" "Nine points of a transaction in mode DELETE (tests/lab/smb_drops.c); told: A's transaction ended with an error, or" \
      "was a rollback." "" "| what happens, what the other client does | found |" "|---|---|"
    smb_drop_well "the cable is cut for a second; a commit" how=blip modes=delete others=2-2
    smb_drop_well "the cable is cut until the server gives up; a commit" how=cut modes=delete others=2-2
    smb_drop_well "the cable is cut until the server gives up; two commits" how=cut modes=delete others=3-3
    smb_drop_well "the server restarts; nothing" how=server modes=delete others=0-0
    smb_drop_well "the server restarts; a commit" how=server modes=delete others=2-2
    say ""
    return
  fi
  say "## Sessions dropped by the server, mode $1" "" "Nine points of a transaction (tests/lab/smb_drops.c). Told: A's transaction ended with an error, or was a rollback." "" \
    "| what the other client does | found |" "|---|---|"
  smb_drop_well "nothing" modes="$1" others=0-0
  smb_drop_well "a read" modes="$1" others=1-1
  smb_drop_well "a commit" modes="$1" others=2-2
  smb_drop_well "two commits" modes="$1" others=3-3
  smb_drop "$LAB_SHIM" "**not cured:** a call on its way (seal, page); a commit" modes="$1" others=2-2 points=7-8
  say ""
}

# ---------------------------------------------------------------- costs

smb_cost_rows() { # TITLE ROWS
  CASE_DIR=$LAB/m/smb CASE_STOCK_DIR=$LAB/m/smbnobrl CASE_SHIM=$LAB_SHIM CASE_CLIENT2=$LAB_CLIENT2 CASE_TITLE=$1 \
    "$LAB_WORK/bin/calls" "$transactions" "$pairs" "$2" >"$LAB/costs" </dev/null || say "# bad"
  cat "$LAB/costs" >>"$LAB_WORK/out"
}

smb_costs() {
  transactions=100 pairs=5
  say "## Costs" "" "One process, $transactions transactions, medians of $pairs pairs; plain SQLite works on a mount with \`nobrl\`." "" \
    "| | | calls, plain | calls, holdfast | per second, plain | per second, holdfast | ratio |" "|---|---|---|---|---|---|---|"
  smb_cost_rows SMB delete,truncate,persist,reads
  say ""
}

smb_delays() {
  say "## A slower network" "" \
    "One process on client 2, DELETE and read transactions, medians of three pairs; \`sch_netem\` on the client's side of the" \
    "cable makes each call longer by the delay. Plain SQLite works on a mount with \`nobrl\`." "" \
    "| delay | | calls, plain | calls, holdfast | per second, plain | per second, holdfast | ratio |" "|---|---|---|---|---|---|---|"
  export CASE_FAR=1
  for delay in 0 0.5 2 10; do
    lab_delay ${delay}ms || { say "| no sch_netem | | | | | | |" "# bad"; return; }
    transactions=30 pairs=3
    [ $delay != 10 ] || transactions=15
    smb_cost_rows "$delay ms" delete,reads
  done
  unset CASE_FAR
  say ""
}
