/*
 * knownbugs.c - which SQLite versions lose or damage data by a bug of their own.
 *
 * A table and a search, pure. From SQLite's release history ("changes"), its page "How To Corrupt An
 * SQLite Database File" and its page on WAL. Only what damages a database or loses rows is listed, only
 * versions that holdfast can be loaded into (3.15.0 and newer), only bugs of Unix builds.
 */
#include <sqlite3.h>

#include "holdfast.h"

struct range {
  int first, last; /* both inclusive, as SQLITE_VERSION_NUMBER */
};

struct bug {
  const char *id, *fixed, *what;
  struct range ranges[4]; /* a fix that was back-ported splits the range; first == 0 ends the list */
};

static const struct bug bugs[] = {
    {"wal-reset",
     "3.51.3 (also 3.50.7 and 3.44.6)",
     "In WAL mode a checkpoint that races with the first commit after a log restart can lose committed rows "
     "or "
     "damage the database.",
     {{3015000, 3044005}, {3045000, 3050006}, {3051000, 3051002}}},
    {"wal-savepoint",
     "3.50.2",
     "In WAL mode a large transaction that is rolled back to a savepoint and then committed can be lost, "
     "with all later ones, when the log is recovered after a crash.",
     {{3015000, 3050001}}},
    {"withdrawn",
     "3.51.3 or 3.53.0",
     "This release was withdrawn by SQLite's authors because of problems found after it was published.",
     {{3052000, 3052000}}},
    {"page-cache",
     "3.39.4",
     "The b-tree balancer can, in rare cases, damage the database in a program that installs a page cache of "
     "its own.",
     {{3015000, 3039003}}},
    {"savepoint-memory",
     "3.37.2",
     "With temp_store=MEMORY a SAVEPOINT that is rolled back, more changes and the COMMIT of the outer "
     "transaction can "
     "damage the database.",
     {{3035000, 3037001}}},
    {"drop-column", "3.35.5", "ALTER TABLE DROP COLUMN can damage the database.", {{3035000, 3035004}}},
    {"expression-index",
     "3.23.0",
     "Automatic conversion of data types can damage an index on an expression.",
     {{3015000, 3022999}}},
    {"auto-vacuum",
     "3.19.3 (also 3.18.1)",
     "A database with auto_vacuum on can be damaged.",
     {{3016000, 3018000}, {3019000, 3019002}}},
    {"replace-rowid", "3.19.0", "REPLACE can leave two rows with the same rowid.", {{3015000, 3018999}}},
};

static int affects(const struct bug *bug, int version)
{
  int n = (int)(sizeof bug->ranges / sizeof bug->ranges[0]);
  for (int i = 0; i < n && bug->ranges[i].first; i++) {
    if (version >= bug->ranges[i].first && version <= bug->ranges[i].last) return 1;
  }
  return 0;
}

int holdfast_known_bug(int sqlite_version_number, int index, holdfast_bug *out)
{
  int n = (int)(sizeof bugs / sizeof bugs[0]);

  if (!out || out->struct_size < sizeof *out || index < 0) return SQLITE_MISUSE;
  for (int i = 0; i < n; i++) {
    if (!affects(&bugs[i], sqlite_version_number) || index-- > 0) continue;
    out->id = bugs[i].id;
    out->fixed = bugs[i].fixed;
    out->what = bugs[i].what;
    return SQLITE_OK;
  }
  return SQLITE_NOTFOUND;
}
