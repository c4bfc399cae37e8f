<?php
// A PHP program as lib.sh describes it: class SQLite3, or PDO when the first argument is "pdo".
// PDO has no call to load an extension; it is covered by what SQLite3 loaded into the same library.
[, $kind, $path] = $argv;

if (isset($argv[3])) {
    $boot = new SQLite3(':memory:');
    $boot->loadExtension(basename($argv[3]));
    $boot->close();
}

if ($kind === 'pdo') {
    $db = new PDO("sqlite:$path", null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $row = fn($sql) => $db->query($sql)->fetch(PDO::FETCH_NUM) ?: [''];
} else {
    $db = new SQLite3($path);
    $db->enableExceptions(true);
    $row = fn($sql) => $db->query($sql)->fetchArray(SQLITE3_NUM) ?: [''];
}

echo 'sqlite=', $row('SELECT sqlite_version()')[0], "\n";
echo 'holdfast=', $row('PRAGMA holdfast')[0], "\n";
echo 'journal_mode=', $row('PRAGMA journal_mode=WAL')[0], "\n";
$db->exec('CREATE TABLE IF NOT EXISTS t(x)');
$db->exec('BEGIN');
$insert = $db->prepare('INSERT INTO t VALUES(CAST(:x AS INTEGER))');
for ($x = 1; $x <= 100; $x++) {
    $insert->bindValue(':x', $x);
    $insert->execute();
}
$db->exec('COMMIT');
[$rows, $sum] = $row('SELECT count(*), sum(x) FROM t');
echo "rows=$rows sum=$sum\n";
