# A Perl program as lib.sh describes it: DBI with DBD::SQLite.
use strict;
use warnings;
use DBI;

my ($path, $extension) = @ARGV;

sub connect_to { return DBI->connect("dbi:SQLite:dbname=$_[0]", "", "", {RaiseError => 1, PrintError => 0}); }

if ($extension) {
  my $boot = connect_to(":memory:");
  $boot->sqlite_enable_load_extension(1);
  $boot->do("SELECT load_extension(?)", undef, $extension);
  $boot->disconnect;
}

my $db = connect_to($path);
my ($version) = $db->selectrow_array("SELECT sqlite_version()");
my ($holdfast) = $db->selectrow_array("PRAGMA holdfast");
my ($mode) = $db->selectrow_array("PRAGMA journal_mode=WAL");
$db->do("CREATE TABLE IF NOT EXISTS t(x)");
$db->begin_work;
$db->do("INSERT INTO t VALUES(CAST(? AS INTEGER))", undef, $_) for 1 .. 100;
$db->commit;
my ($rows, $sum) = $db->selectrow_array("SELECT count(*), sum(x) FROM t");
printf "sqlite=%s\nholdfast=%s\njournal_mode=%s\nrows=%d sum=%d\n", $version, $holdfast // "", $mode, $rows, $sum;
$db->disconnect;
