# story.sh - the job of `make demo LAB=1`: on NFS and SMB `holdfast demo`, and below it the sqlite3 shell, stock on
# the left, with holdfast loaded on the right; sourced by inside.sh. The last two lines of each mount come
# from cases.c.
#
# Lines that begin with '#' are for demo.sh: one "# bad" for everything that holdfast should have done better.

. "$LAB_WORK/bin/cases.sh"

# job_story SECONDS: for each side of the demo
job_story() {
  story_seconds=$1
  rounds=10 commits=50 case_seconds=300 all=100
  lab_servers
  lab_mounts >"$LAB/mounts"
  while read -r name class rule clients; do
    case $name in
    nfs4) title="NFSv4.2" ;;
    nfs3) title="NFSv3" ;;
    smb) title="SMB 3.1.1, default options" ;;
    *) continue ;;
    esac
    if lab_ready; then story_demo && story_of; else say "" "$title: $lab_why" "# bad"; fi
  done <"$LAB/mounts"
}

# The two programs of `holdfast demo`. Only its own failure counts: plain SQLite may have been lucky.
story_demo() {
  say "" "== $title"
  timeout $((story_seconds * 2 + 120)) "$LAB_WORK/bin/holdfast" demo --seconds "$story_seconds" --dir "$LAB/m/$name" \
    >"$LAB/demo" 2>>"$LAB_WORK/inside.log" </dev/null
  code=$?
  cat "$LAB/demo" >>"$LAB_WORK/out"
  [ $code -le 1 ] || say "# bad" "  ^ the demo ended with exit code $code"
}

# The stock shell, and the same shell after one `.load`.
stock_shell() { timeout 60 sqlite3 -batch -init /dev/null "$@" 2>&1 </dev/null; }
shim_shell() {
  file=$1
  shift
  HOLDFAST_LOG=none stock_shell -cmd ".load '$LAB_SHIM'" -cmd ".open '$file'" :memory: "$@"
}

story_line() { say "$(printf '  %-40s %-38s %s' "$1" "$2" "$3")"; }
# story_wants WHAT: holdfast's side of the line above
story_wants() { [ "$right" = "$1" ] || say "# bad" "  ^ this should have been: $1"; }

# Asks for WAL, writes 100 rows, and lets plain SQLite count them at the server, where no mount is in between.
story_mode() { "$1_shell" "$LAB/m/$name/story-$1.db" 'PRAGMA journal_mode=WAL' | story_plain; }
story_rows() {
  failed=$("$1_shell" "$LAB/m/$name/story-$1.db" 'CREATE TABLE t(a)' \
    'WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<100) INSERT INTO t SELECT i FROM n') ||
    { echo "none: $failed" | story_plain && return; }
  stock_shell "$(lab_server_dir "$name")/story-$1.db" 'SELECT count(*) FROM t' | story_plain
}
story_plain() { sed -n -e 's/^\(none: \)\{0,1\}.*database is locked.*/\1database is locked/' -e 1p; }

# The words of cases.c, for people.
story_commits() {
  sed -e "s/^\([0-9]*\) acknowledged, \1 found/\1 of $all found/" -e 's/error 5$/"database is locked"/' \
    -e 's/error 10$/"disk I\/O error"/' -e 's/error 15$/"locking protocol"/'
}
story_crashes() { sed 's/ half/ half transactions/'; }

story_of() {
  say "" "$(printf '%-42s %-38s %s' "$title" "stock SQLite" "with holdfast")"
  right=$(shim_shell "$LAB/m/$name/story-shim.db" 'PRAGMA holdfast')
  story_line "what it says of the mount" "nothing" "$(echo "$right" | sed -n 's/^holdfast [^ ]* \([^,]*\).*/\1/p')"
  case $right in *" $rule $class "*) ;; *) say "# bad" ;; esac
  right=$(story_mode shim)
  story_line "PRAGMA journal_mode=WAL is answered" "$(story_mode stock)" "$right"
  story_wants delete
  right=$(story_rows shim)
  story_line "100 rows written, found by plain SQLite" "$(story_rows stock)" "$right"
  story_wants 100
  right=$(lab_side wal-writers "$LAB_SHIM" | story_commits)
  story_line "two clients write $commits rows each" "$(lab_side wal-writers "" | story_commits)" "$right"
  story_wants "$all of $all found"
  right=$(lab_side crash "$LAB_SHIM")
  story_line "read after a crash of the other client" "$(lab_side crash "" | story_crashes)" "$(echo "$right" | story_crashes)"
  story_wants "0 of $rounds half"
}
