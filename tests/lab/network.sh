# network.sh - the long tables of the NFS mounts, as Markdown: what is lost, and what it costs, plain SQLite beside
# holdfast; sourced by inside.sh. Part of `make long`; run.sh puts them into docs/figures/network.md.
#
# Storms of the three versions run side by side, each on a mount of its own.

. "$LAB_WORK/bin/cases.sh"

lab_title() {
  case $1 in nfs3) echo NFSv3 ;; nfs40) echo NFSv4.0 ;; nfs4) echo NFSv4.2 ;; esac
}

# job_network FIRST LAST SECONDS ROUNDS TRANSACTIONS PAIRS PART: FIRST to LAST are the numbers of the storms; one number
# twice: that many.
job_network() {
  first_run=$1 last_run=$2 storm_seconds=$3 rounds=$4 commits=50 transactions=$5 pairs=$6 case_seconds=1200
  [ "$first_run" != "$last_run" ] || first_run=1
  lab_servers
  lab_mounts | grep '^nfs[0-9]* ' >"$LAB/mounts"
  while read -r name class rule clients; do
    lab_ready </dev/null || { say "$name: $lab_why" "# bad" && return; }
  done <"$LAB/mounts"
  "network_${7%-*}" "${7#*-}"
}

# network_all FUNCTION WORDS...: for each mount, with name and rule set
network_all() {
  while read -r name class rule clients; do "$@" </dev/null; done <"$LAB/mounts"
}

# One storm of each version at the same time; what they print is added to LAB_WORK/storms/MOUNT-SYNC-SIDE.
network_storm() { # SYNC SIDE SHIM RUN
  running=
  while read -r name class rule clients; do
    (
      export CASE_SEED="$4"
      words="$storm_seconds $1 delete" program=storm
      lab_program "$3" >>"$LAB_WORK/storms/$name-$1-$2"
    ) </dev/null &
    running="$running $!"
  done <"$LAB/mounts"
  # shellcheck disable=SC2086 # a list of numbers
  wait $running
}

# All storms of one side; the other side's run at the same time, so that both have the same machine.
network_lane() { # SYNC SIDE SHIM SEED
  run=$first_run
  while [ "$run" -le "$last_run" ]; do
    network_storm "$1" "$2" "$3" $((run + $4))
    run=$((run + 1))
  done
}

network_storms() { # SYNC
  say "## Four processes on two clients, one killed every second, synchronous=$1" "" \
    "Runs of $storm_seconds s each, DELETE mode. \"Bad\" = a run with a commit that was acknowledged and is not there, or with" \
    "half a transaction seen; errors are calls that failed otherwise than with \"database is locked\"." "" \
    "| mount | | runs | bad | commits | missing | torn reads | errors | kills |" "|---|---|---|---|---|---|---|---|---|"
  network_lane "$1" stock "" 0 &
  network_lane "$1" holdfast "$LAB_SHIM" 1000
  wait $!
  network_all network_storm_row "$1" stock
  network_all network_storm_row "$1" holdfast
  say ""
}

# "N acked, N missing, N torn, N errors, N kills[, damaged]": anything else is a run that did not end.
network_storm_row() { # SYNC SIDE
  row=$(awk '
    $2 == "acked," && $10 ~ /^kills/ {
      runs++; c += $1; m += $3; t += $5; e += $7; k += $9
      bad += $3 > 0 || $5 > 0 || /damaged/; next }
    { unended++ }
    END { printf "%d | %d | %d | %d | %d | %d | %d |%s", runs, bad, c, m, t, e, k, unended ? " " unended " did not end" : "" }
  ' "$LAB_WORK/storms/$name-$1-$2")
  say "| $(lab_title "$name") | $2 | $row"
  case "$2 $row" in "holdfast $last_run | 0 | "*) ;; holdfast*) say "# bad" ;; esac
}

# network_row CASE TITLE: one case on the mount $name, both sides
network_row() {
  stock=$(lab_side "$1" "")
  shim=$(lab_side "$1" "$LAB_SHIM")
  say "| $(lab_title "$name") | $2 | $stock | $shim |"
  case $shim in "0 of "*) ;; *) say "# bad" ;; esac
}

network_crashes() {
  say "## A writer is killed in mid-commit on client 2, client 1 goes on" "" \
    "| mount | next act | plain SQLite | holdfast |" "|---|---|---|---|"
  network_all network_row crash "a read"
  network_all network_row crash-write "a write"
  network_all network_row crash-off "a read; the writer had synchronous=OFF"
  say ""
}

network_outages() {
  say "## Outages" "" "17 kinds of transaction (tests/lab/outages.c) in one outage; wal-exclusive: ten databases, FULL and NORMAL," \
    "the -wal deleted before and after the client is back." "" "| mount | what happens | plain SQLite | holdfast |" "|---|---|---|---|"
  network_all network_outage_rows
  say ""
}

network_outage_rows() {
  network_row blip "cut off for two seconds"
  network_row stray "another descriptor is closed"
  network_row restart "the server restarts"
  [ "$name" != nfs3 ] || return # without leases a client that is cut off keeps its locks
  network_row lease "cut off for longer than the lease"
  network_row take-over "wal-exclusive, and cut off for longer than the lease"
}

network_costs() {
  say "## Costs" "" "One process, $transactions transactions, medians of $pairs pairs; the row of wal-exclusive has plain DELETE beside it." "" \
    "| mount | | calls, plain | calls, holdfast | per second, plain | per second, holdfast | ratio |" "|---|---|---|---|---|---|---|"
  network_all network_cost_rows
  say ""
}

network_cost_rows() {
  words="$transactions $pairs ${1:-}" program=calls
  CASE_TITLE="$(lab_title "$name")${CASE_FAR:+, $delay ms}"
  export CASE_TITLE
  lab_program "$LAB_SHIM" >"$LAB/costs" || say "# bad"
  cat "$LAB/costs" >>"$LAB_WORK/out"
}


network_delays() {
  say "## A slower network" "" \
    "One process on client 2, DELETE and read transactions, medians of three pairs; \`sch_netem\` on the client's side of the" \
    "cable makes each call longer by the delay." "" \
    "| mount, delay | | calls, plain | calls, holdfast | per second, plain | per second, holdfast | ratio |" "|---|---|---|---|---|---|---|"
  export CASE_FAR=1
  for delay in 0 0.5 2 10; do
    lab_delay ${delay}ms || { say "| no sch_netem | | | | | | |" "# bad"; return; }
    transactions=30 pairs=3
    [ $delay != 10 ] || transactions=15
    network_all network_cost_rows delete,reads
  done
  lab_on2 tc qdisc del dev cable2 root
  unset CASE_FAR
  say ""
}
