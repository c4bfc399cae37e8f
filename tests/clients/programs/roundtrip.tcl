# A Tcl program as lib.sh describes it: the package sqlite3.
package require sqlite3
lassign $argv path extension

if {$extension ne ""} {
  sqlite3 boot :memory:
  boot enable_load_extension 1
  boot eval {SELECT load_extension($extension)}
  boot close
}

sqlite3 db $path
puts "sqlite=[db onecolumn {SELECT sqlite_version()}]"
puts "holdfast=[db onecolumn {PRAGMA holdfast}]"
puts "journal_mode=[db onecolumn {PRAGMA journal_mode=WAL}]"
db eval {CREATE TABLE IF NOT EXISTS t(x)}
db transaction {
  for {set x 1} {$x <= 100} {incr x} { db eval {INSERT INTO t VALUES($x)} }
}
lassign [db eval {SELECT count(*), sum(x) FROM t}] rows sum
puts "rows=$rows sum=$sum"
db close
