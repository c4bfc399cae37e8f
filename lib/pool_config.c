/*
 * pool_config.c - what was asked for, checked and completed, and compared with what a pool has.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool.h"

/* Members that are numbers: 0 = default, HOLDFAST_OFF where `off` is true, else least..most. */
typedef struct hf_number {
  const char *name;
  size_t offset;
  int standard, least, most;
  bool off;
} hf_number;

#define HF_NUMBER(member, standard, least, most, off)                                                        \
  {                                                                                                          \
#member, offsetof(holdfast_pool_config, member), standard, least, most, off                              \
  }
static const hf_number numbers[] = {
    HF_NUMBER(readers, 0, 1, HF_READERS, true),
    HF_NUMBER(wait_ms, 30000, 1, INT_MAX, false),
    HF_NUMBER(handoff_us, 1000, 1, 1000000, true),
    HF_NUMBER(journal, 0, HOLDFAST_JOURNAL_DELETE, HOLDFAST_JOURNAL_AS_IT_IS, false),
    HF_NUMBER(statements, 64, 1, 1024, true),
    HF_NUMBER(leak_ms, 30000, 10, INT_MAX, true),
    HF_NUMBER(max_read_age_ms, HOLDFAST_OFF, 10, INT_MAX, true),
    HF_NUMBER(checkpoint_frames, 1000, 1, INT_MAX, true),
    HF_NUMBER(checkpoint_ms, 60000, 100, INT_MAX, true),
    HF_NUMBER(wal_limit_mib, 64, 1, 1 << 20, false),
    HF_NUMBER(check, HOLDFAST_CHECK_QUICK, HOLDFAST_CHECK_QUICK, HOLDFAST_CHECK_NONE, false),
    HF_NUMBER(check_ms, 1000, 1, INT_MAX, false),
    HF_NUMBER(flags, 0, 0, HOLDFAST_POOL_READONLY | HOLDFAST_POOL_NO_CREATE, false),
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static int given_at(const holdfast_pool_config *config, const hf_number *number)
{
  int value;
  memcpy(&value, (const char *)config + number->offset, sizeof value);
  return value;
}

static int check(const holdfast_pool_config *given)
{
  if (given->struct_size < sizeof *given)
    return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_config.struct_size is %zu, not %zu", given->struct_size,
                   sizeof *given);
  for (int i = 0; i < NUMBERS; i++) {
    int value = given_at(given, &numbers[i]);
    if (value == 0 || (value == HOLDFAST_OFF && numbers[i].off)) continue;
    if (value < numbers[i].least || value > numbers[i].most)
      return hf_fail(HOLDFAST_MISUSE, "holdfast_pool_config.%s is %d: it must be %d to %d%s", numbers[i].name,
                     value, numbers[i].least, numbers[i].most, numbers[i].off ? " or HOLDFAST_OFF" : "");
  }
  if (given->journal == HOLDFAST_JOURNAL_WAL_EXCLUSIVE)
    return hf_fail(
        HOLDFAST_MISUSE,
        "holdfast_pool_config.journal: wal-exclusive is a setting of the shim (holdfast_config.journal)");
  return 0;
}

static int default_readers(const char *path)
{
  long processors = sysconf(_SC_NPROCESSORS_ONLN);

  /* A read over a network asks the server for locks each time, and a second connection brings nothing that
   * the first one has in its cache. */
  if (!*path || hf_file_network(path)) return HOLDFAST_OFF;
  return processors < 1 ? 1 : processors > 4 ? 4 : (int)processors;
}

static void complete(holdfast_pool_config *config, const char *path)
{
  if (!config->readers) config->readers = default_readers(path);
  if (!*path) config->readers = HOLDFAST_OFF;
  for (int i = 0; i < NUMBERS; i++)
    if (given_at(config, &numbers[i]) == 0)
      memcpy((char *)config + numbers[i].offset, &numbers[i].standard, sizeof numbers[i].standard);
}

static int64_t ms(int value)
{
  return value == HOLDFAST_OFF ? 0 : value * HF_MS;
}

int hf_config_read(const holdfast_pool_config *given, const char *path, hf_config *out)
{
  holdfast_pool_config config = {.struct_size = sizeof config};
  const char *slash = strrchr(path, '/');
  int rc = given ? check(given) : 0;

  if (rc) return rc;
  if (given) config = *given;
  out->given = config;
  complete(&config, path);
  snprintf(out->name, sizeof out->name, "%s",
           config.name ? config.name
           : slash     ? slash + 1
           : *path     ? path
                       : ":memory:");
  out->vfs = config.vfs ? strdup(config.vfs) : NULL;
  if (config.vfs && !out->vfs) return hf_fail(SQLITE_NOMEM, "no memory for a pool");
  out->flags = config.flags;
  out->readers = config.readers == HOLDFAST_OFF ? 0 : config.readers;
  out->wait_ns = ms(config.wait_ms);
  out->handoff_ns = config.handoff_us == HOLDFAST_OFF ? 0 : config.handoff_us * 1000LL;
  out->journal = config.journal;
  out->statements = config.statements == HOLDFAST_OFF ? 0 : config.statements;
  out->leak_ns = ms(config.leak_ms);
  out->read_age_ns = ms(config.max_read_age_ms);
  out->checkpoint_frames = config.checkpoint_frames == HOLDFAST_OFF ? 0 : config.checkpoint_frames;
  out->checkpoint_ns = ms(config.checkpoint_ms);
  out->wal_limit_mib = config.wal_limit_mib;
  out->check = config.check;
  out->check_ns = ms(config.check_ms);
  out->on_connect = config.on_connect;
  out->on_connect_arg = config.on_connect_arg;
  out->given = config;
  return 0;
}

static int conflict(const holdfast_pool *pool, const char *member)
{
  return hf_fail(HOLDFAST_CONFLICT, "pool %s is open in this process with another value of %s (%s)",
                 pool->config.name, member, pool->path);
}

/* What is not said agrees with everything. */
int hf_config_conflict(const holdfast_pool *pool, const holdfast_pool_config *given)
{
  const hf_config *have = &pool->config;
  int rc;

  if (!given) return 0;
  rc = check(given);
  if (rc) return rc;
  for (int i = 0; i < NUMBERS; i++) {
    int value = given_at(given, &numbers[i]);
    if (value && value != given_at(&have->given, &numbers[i])) return conflict(pool, numbers[i].name);
  }
  if (given->name && strncmp(given->name, have->name, sizeof have->name - 1) != 0)
    return conflict(pool, "name");
  if (given->vfs && (!have->vfs || strcmp(given->vfs, have->vfs) != 0)) return conflict(pool, "vfs");
  if (given->on_connect &&
      (given->on_connect != have->on_connect || given->on_connect_arg != have->on_connect_arg))
    return conflict(pool, "on_connect");
  return 0;
}

void hf_config_free(hf_config *config)
{
  free(config->vfs);
  config->vfs = NULL;
}
