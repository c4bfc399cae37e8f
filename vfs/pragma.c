/*
 * pragma.c - the PRAGMAs that the file itself answers: holdfast, holdfast_status, one for each table, and
 * journal_mode where WAL cannot work.
 *
 * SQLite hands every PRAGMA to the VFS of the schema's file first (SQLITE_FCNTL_PRAGMA): args[0] takes the
 * answer, args[1] is the name, args[2] the value or NULL. SQLITE_NOTFOUND means "not ours". It needs no SQL
 * object and no lock, so it works on a locked or broken database, too.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "health.h"
#include "metrics.h"
#include "nfs.h"
#include "records.h"
#include "tables.h"

/* ---------------------------------------------------------------- answers */

/* SQLite frees the answer, so it must come from its allocator. */
static int answer(hf_node *node, char **args, const char *text)
{
  const hf_api *api = &node->owner->api;
  size_t size = strlen(text) + 1;

  args[0] = api->malloc((int)size);
  if (!args[0]) return SQLITE_NOMEM;
  memcpy(args[0], text, size);
  return SQLITE_OK;
}

static int answer_text(hf_node *node, char **args, hf_text *text)
{
  int rc = text->failed ? SQLITE_NOMEM : answer(node, args, text->at);
  hf_text_free(text);
  return rc;
}

/* How the kernel keeps this file's locks for us. Before the first lock there is nothing to tell but what will
 * be. */
static const char *lock_state(const hf_node *node)
{
  const char *state;

  if (!node->overridden) return "posix";
  state = hf_record_state(node->owner->slot, (dev_t)node->self.device, (ino_t)node->self.inode);
  if (strcmp(state, "none") == 0 && node->verdict.locks == HOLDFAST_LOCKS_KERNEL) return "owned";
  return state;
}

/* What is done for this file, as words for people and programs. */
static void add_protections(const hf_node *node, hf_text *out, const char *quote)
{
  const char *comma = "", *locks = lock_state(node);
  const struct {
    bool on;
    const char *word;
  } all[] = {{node->set.mode == HOLDFAST_MODE_ENFORCE && !node->wal_allowed, "journal"},
             {strcmp(locks, "owned") == 0, "locks"},
             {strcmp(locks, "verified") == 0, "locks-verified"},
             {node->set.mode == HOLDFAST_MODE_ENFORCE, "identity"},
             {node->set.mode == HOLDFAST_MODE_ENFORCE, "fork"},
             {node->fresh, "hot-journal"},
             {node->smb_locks, "smb-locks"},
             {node->nfs.on, "nfs-io"},
             {node->wal_exclusive, "wal-exclusive"},
             {node->set.strict, "strict"}};

  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (!all[i].on) continue;
    hf_text_add(out, "%s%s%s%s", comma, quote, all[i].word, quote);
    comma = ",";
  }
}

static int pragma_line(hf_node *node, char **args)
{
  hf_text out = {0};

  hf_text_add(&out, "holdfast %s %s %s on %s, mode %s, protections: ", holdfast_version(),
              holdfast_word("rule", node->verdict.rule), holdfast_word("class", node->verdict.mount_class),
              node->facts.fstype[0] ? node->facts.fstype : "?", holdfast_word("mode", node->set.mode));
  size_t before = out.used;
  add_protections(node, &out, "");
  if (out.used == before) hf_text_add(&out, "none needed");
  return answer_text(node, args, &out);
}

static void add_member(hf_text *out, const char *key, const char *value)
{
  hf_text_add(out, ",\"%s\":", key);
  hf_text_json(out, value);
}

static int pragma_status(hf_node *node, char **args)
{
  const hf_verdict *verdict = &node->verdict;
  holdfast_mount mount = {.struct_size = sizeof mount};
  hf_text out = {0};

  hf_mount_public(&node->facts, verdict, &mount);
  hf_text_add(&out, "{\"version\":\"%s\"", holdfast_version());
  add_member(&out, "sqlite_version", node->owner->api.libversion());
  add_member(&out, "path", node->path);
  add_member(&out, "base", node->owner->base->zName);
  add_member(&out, "mode", holdfast_word("mode", node->set.mode));
  add_member(&out, "assume", holdfast_word("assume", node->set.assume));
  add_member(&out, "journal", node->set.journal ? holdfast_word("journal", node->set.journal) : NULL);
  hf_text_add(&out, ",\"strict\":%s", node->set.strict ? "true" : "false");
  add_member(&out, "rule", holdfast_word("rule", verdict->rule));
  add_member(&out, "class", holdfast_word("class", verdict->mount_class));
  add_member(&out, "shm", holdfast_word("shm", verdict->shm));
  add_member(&out, "locks", holdfast_word("locks", verdict->locks));
  add_member(&out, "durable", holdfast_word("durable", verdict->durable));
  add_member(&out, "scope", holdfast_word("scope", verdict->scope));
  add_member(&out, "confidence", holdfast_word("confidence", verdict->confidence));
  add_member(&out, "fstype", mount.fstype);
  add_member(&out, "source", mount.source);
  add_member(&out, "options", mount.options);
  add_member(&out, "mount_point", mount.mount_point);
  add_member(&out, "facts_from", node->facts.how);
  add_member(&out, "reason", mount.reason);
  add_member(&out, "notes", verdict->notes);
  add_member(&out, "lock_owner", lock_state(node));
  hf_text_add(&out, ",\"wal\":%s,\"protections\":[", node->wal_allowed ? "true" : "false");
  add_protections(node, &out, "\"");
  hf_text_add(&out, "]}");
  return answer_text(node, args, &out);
}

static int pragma_metrics(hf_node *node, char **args)
{
  hf_text out = {0};

  hf_metrics_text(node->owner, &out);
  return answer_text(node, args, &out);
}

static int pragma_table(hf_node *node, char **args, const hf_table *table)
{
  hf_rows rows;
  hf_text out = {0};
  int rc = hf_rows_of(table, node->owner, node->pdb ? *node->pdb : NULL, &rows);

  if (rc) return rc;
  hf_rows_json(table, &rows, &out);
  hf_rows_free(&rows);
  return answer_text(node, args, &out);
}

/* ---------------------------------------------------------------- journal_mode=WAL where WAL cannot work */

/* The name of this file's schema in the connection that is asking. Quotes are doubled for use in SQL. */
static bool schema_of(hf_node *node, sqlite3 *db, char *out, size_t size)
{
  const hf_api *api = &node->owner->api;
  sqlite3_stmt *list = NULL;
  bool found = false;

  if (api->prepare_v2(db, "PRAGMA database_list", -1, &list, NULL) == SQLITE_OK) {
    while (!found && api->step(list) == SQLITE_ROW) {
      const char *schema = (const char *)api->column_text(list, 1);
      sqlite3_file *file = NULL;
      size_t used = 0;
      if (!schema || api->file_control(db, schema, SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) continue;
      if (!file || file->pMethods != &node->methods) continue;
      for (const char *p = schema; *p && used + 3 < size; p++) {
        if (*p == '"') out[used++] = '"';
        out[used++] = *p;
      }
      out[used] = 0;
      found = true;
    }
  }
  (void)api->finalize(list);
  return found;
}

static int run(const hf_api *api, sqlite3 *db, const char *sql, char *out, size_t size)
{
  sqlite3_stmt *statement = NULL;
  int rc = api->prepare_v2(db, sql, -1, &statement, NULL), last;

  if (rc) return rc;
  rc = api->step(statement);
  if (rc == SQLITE_ROW) snprintf(out, size, "%s", (const char *)api->column_text(statement, 0));
  last = api->finalize(statement);
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : last;
}

/* SQLite before 3.20 does not say which connection asks: what it was last told is the mode in force. */
static int answer_without_connection(hf_node *node, char **args)
{
  return answer(node, args, node->journal_seen[0] ? node->journal_seen : "delete");
}

static int wal_asked(hf_node *node, char **args)
{
  const hf_api *api = &node->owner->api;
  sqlite3 *db = node->pdb ? *node->pdb : NULL;
  char schema[300], sql[400], mode[16] = "";
  int rc;

  if (!db) return answer_without_connection(node, args);
  if (!schema_of(node, db, schema, sizeof schema)) return SQLITE_NOTFOUND;
  if (node->wal_exclusive) {
    snprintf(sql, sizeof sql, "PRAGMA \"%s\".locking_mode=EXCLUSIVE", schema);
    rc = run(api, db, sql, mode, sizeof mode);
    return rc ? rc : SQLITE_NOTFOUND; /* now SQLite can do it itself */
  }
  switch (node->set.journal) {
  case HOLDFAST_JOURNAL_TRUNCATE:
  case HOLDFAST_JOURNAL_PERSIST:
  case HOLDFAST_JOURNAL_DELETE:
    snprintf(sql, sizeof sql, "PRAGMA \"%s\".journal_mode=%s", schema,
             holdfast_word("journal", node->set.journal));
    break;
  default: snprintf(sql, sizeof sql, "PRAGMA \"%s\".journal_mode", schema);
  }
  rc = run(api, db, sql, mode, sizeof mode);
  if (rc) return rc;
  hf_report(node->owner, "warned", "wal-asked", node->path, 0,
            "journal_mode=WAL was asked for; %s: it stays %s", node->verdict.reason, mode);
  return answer(node, args, mode);
}

/*
 * A main database that is in WAL mode and may stay so needs exclusive mode before its first read, or SQLite,
 * which finds no shared memory, cannot open it. A program that says PRAGMA journal_mode=WAL first gets there
 * by itself.
 */
int hf_exclusive_ready(hf_vfs *owner, sqlite3 *db)
{
  sqlite3_file *file = NULL;

  if (owner->api.file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file)
    return SQLITE_OK;
  if (!file->pMethods || file->pMethods->xClose != hf_xClose || !hf_node_of(file)->wal_found)
    return SQLITE_OK;
  return owner->api.exec(db, "PRAGMA main.locking_mode=EXCLUSIVE", NULL, NULL, NULL);
}

/* SQLite before 3.20 does not say which connection asks, and the check works on that one only. */
static int health(hf_node *node, char **args)
{
  sqlite3 *db = node->pdb ? *node->pdb : NULL;
  char schema[300];
  hf_text out = {0};
  int rc = SQLITE_ERROR;

  if (!db)
    hf_text_add(&out,
                "holdfast_health: as a PRAGMA from SQLite 3.20 on; the table holdfast_health does the same");
  else if (!schema_of(node, db, schema, sizeof schema))
    rc = SQLITE_NOMEM; /* it is one of the connection's own */
  else
    rc = hf_health_pragma(&node->owner->api, db, schema, args[2], &out);
  if (rc == SQLITE_OK || rc == SQLITE_ERROR) {
    int given = answer_text(node, args, &out);
    return given ? given : rc;
  }
  hf_text_free(&out);
  return rc;
}

static int journal_mode(hf_node *node, char **args)
{
  if (!args[2]) return SQLITE_NOTFOUND;
  if (strcasecmp(args[2], "wal") == 0) return node->wal_allowed ? SQLITE_NOTFOUND : wal_asked(node, args);
  node->journal_unsafe = strcasecmp(args[2], "off") == 0 || strcasecmp(args[2], "memory") == 0;
  snprintf(node->journal_seen, sizeof node->journal_seen, "%s", args[2]);
  for (char *p = node->journal_seen; *p; p++) *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
  return SQLITE_NOTFOUND;
}

int hf_pragma(hf_node *node, char **args)
{
  const char *name = args[1], *why;
  int rc = hf_nfs_pragma(node, name, args[2], &why);

  if (rc != SQLITE_NOTFOUND) {
    (void)answer(node, args, why); /* without memory the code must do */
    return rc;
  }

  if (strcasecmp(name, "journal_mode") == 0) return journal_mode(node, args);
  if (strncasecmp(name, "holdfast", 8) != 0) return SQLITE_NOTFOUND;
  if (strcasecmp(name, "holdfast") == 0) return pragma_line(node, args);
  if (strcasecmp(name, "holdfast_status") == 0) return pragma_status(node, args);
  if (strcasecmp(name, "holdfast_health") == 0) return health(node, args);
  if (strcasecmp(name, "holdfast_metrics") == 0) return pragma_metrics(node, args);
  for (int i = 0; i < hf_table_count; i++)
    if (strcasecmp(name, hf_tables[i].name) == 0) return pragma_table(node, args, &hf_tables[i]);
  return SQLITE_NOTFOUND;
}
