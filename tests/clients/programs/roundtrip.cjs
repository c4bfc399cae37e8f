// A Node program as lib.sh describes it. First argument: the package, or several with commas; each is a SQLite
// library of its own, all in this process. With several, each works on a database of its own.
const [packages, path, extension] = process.argv.slice(2);

const open = {
  libsql: (file) => new (require('libsql'))(file),
  '@photostructure/sqlite': (file) => {
    const { DatabaseSync } = require('@photostructure/sqlite');
    const db = new DatabaseSync(file, { allowExtension: true });
    db.enableLoadExtension(true);
    return db;
  },
};

const names = packages.split(',');
if (extension) {
  for (const name of names) {
    const boot = open[name](':memory:');
    boot.loadExtension(extension);
    boot.close();
  }
}

// All are open at once, so that each call could go astray.
const clients = names.map((name, i) => ({ name, db: open[name](i ? `${path}.${i}` : path) }));
for (const { db } of clients) {
  const value = (sql) => Object.values(db.prepare(sql).get() ?? { none: '' })[0];
  const version = value('SELECT sqlite_version()');
  const holdfast = value('PRAGMA holdfast');
  const mode = value('PRAGMA journal_mode=WAL');
  db.exec('CREATE TABLE IF NOT EXISTS t(x)');
  db.exec('BEGIN');
  const insert = db.prepare('INSERT INTO t VALUES(CAST(? AS INTEGER))');
  for (let x = 1; x <= 100; x++) insert.run(x);
  db.exec('COMMIT');
  console.log(`sqlite=${version}\nholdfast=${holdfast}\njournal_mode=${mode}`);
  console.log(`rows=${value('SELECT count(*) FROM t')} sum=${value('SELECT sum(x) FROM t')}`);
}
for (const { db } of clients) db.close();
