# A Ruby program as lib.sh describes it: the gem sqlite3.
require "sqlite3"
path, extension = ARGV

if extension
  boot = SQLite3::Database.new(":memory:")
  boot.enable_load_extension(true)
  boot.load_extension(extension)
  boot.close
end

db = SQLite3::Database.new(path)
puts "sqlite=#{db.get_first_value('SELECT sqlite_version()')}"
puts "holdfast=#{db.get_first_value('PRAGMA holdfast')}"
puts "journal_mode=#{db.get_first_value('PRAGMA journal_mode=WAL')}"
db.execute("CREATE TABLE IF NOT EXISTS t(x)")
db.transaction { (1..100).each { |x| db.execute("INSERT INTO t VALUES(?)", [x]) } }
rows, sum = db.get_first_row("SELECT count(*), sum(x) FROM t")
puts "rows=#{rows} sum=#{sum}"
db.close
