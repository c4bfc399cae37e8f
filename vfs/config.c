/*
 * config.c - settings from three places: environment, C, URI parameters. A later one wins.
 *
 * A value that is not known is an error that names it, never a guess: a user who misspells "enforce" must not
 * find out after the damage that nothing was on.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* secure_getenv */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "slowlock.h"

enum { NUMBER = -1, SLOW_LOCK_MS_MAX = 86400000 };

typedef struct choice {
  const char *key;   /* as in HOLDFAST_MODE and holdfast_mode, lower case */
  const char *words; /* for the message */
  int last;          /* the values are 1..last; 0 means "not said" */
} choice;

static const choice choices[] = {
    {"mode", "enforce, observe or off", HOLDFAST_MODE_OFF},
    {"assume", "local, one-host or network", HOLDFAST_ASSUME_NETWORK},
    {"journal", "delete, truncate, persist or wal-exclusive", HOLDFAST_JOURNAL_WAL_EXCLUSIVE},
    {"walguard", "auto, on or off", HOLDFAST_WALGUARD_OFF},
    {"slow_lock_ms", "a number of milliseconds, 0 for none", NUMBER},
    {"strict", "1 or 0", 0}};
enum { CHOICES = sizeof choices / sizeof *choices };

static int parse_strict(const char *value)
{
  static const char *const yes[] = {"1", "on", "yes", "true"}, *const no[] = {"0", "off", "no", "false"};
  for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
    if (strcasecmp(value, yes[i]) == 0) return 1;
    if (strcasecmp(value, no[i]) == 0) return 0;
  }
  return -1;
}

static int parse_number(const char *value)
{
  char *end;
  long number = strtol(value, &end, 10);

  return end == value || *end || number < 0 || number > SLOW_LOCK_MS_MAX ? -1 : (int)number;
}

/* The value of a word, -1 when it is not one of the choice's. */
static int parse(const choice *which, const char *value)
{
  if (which->last == 0) return parse_strict(value);
  if (which->last == NUMBER) return parse_number(value);
  for (int i = 1; i <= which->last; i++)
    if (strcasecmp(value, holdfast_word(which->key, i)) == 0) return i;
  return -1;
}

static void store(hf_settings *io, const choice *which, int value)
{
  switch (which - choices) {
  case 0: io->mode = value; break;
  case 1: io->assume = value; break;
  case 2: io->journal = value; break;
  case 3: io->walguard = value; break;
  case 4: io->slow_lock_ms = value; break;
  default: io->strict = value; break;
  }
}

static int bad_value(const choice *which, const char *name, const char *value, char *message, size_t size)
{
  snprintf(message, size, "holdfast: %s=%.60s is not known: use %s", name, value, which->words);
  return SQLITE_MISUSE;
}

int hf_config_from_env(hf_settings *out, char *log, size_t log_size, char *message, size_t size)
{
  static const char *const names[CHOICES] = {"HOLDFAST_MODE",     "HOLDFAST_ASSUME",       "HOLDFAST_JOURNAL",
                                             "HOLDFAST_WALGUARD", "HOLDFAST_SLOW_LOCK_MS", "HOLDFAST_STRICT"};
  hf_settings made = {
      .mode = HOLDFAST_MODE_ENFORCE, .walguard = HOLDFAST_WALGUARD_AUTO, .slow_lock_ms = HF_SLOW_LOCK_MS};
  const char *where = secure_getenv("HOLDFAST_LOG");

  for (int i = 0; i < CHOICES; i++) {
    const char *value = secure_getenv(names[i]);
    int parsed;
    if (!value || !*value) continue;
    parsed = parse(&choices[i], value);
    if (parsed < 0) return bad_value(&choices[i], names[i], value, message, size);
    store(&made, &choices[i], parsed);
  }
  snprintf(log, log_size, "%s", where && *where ? where : "stderr");
  *out = made;
  return SQLITE_OK;
}

int hf_config_merge(const holdfast_config *config, hf_settings *io, char *log, size_t log_size, char *message,
                    size_t size)
{
  if (!config) return SQLITE_OK;
  if (config->struct_size < sizeof *config || config->mode < 0 || config->mode > HOLDFAST_MODE_OFF ||
      config->assume < 0 || config->assume > HOLDFAST_ASSUME_NETWORK || config->journal < 0 ||
      config->journal > HOLDFAST_JOURNAL_WAL_EXCLUSIVE || config->walguard < 0 ||
      config->walguard > HOLDFAST_WALGUARD_OFF || config->strict < -1 || config->strict > 1 ||
      config->slow_lock_ms < -1 || config->slow_lock_ms > SLOW_LOCK_MS_MAX) {
    snprintf(message, size, "holdfast: holdfast_config has a value out of range, or struct_size is not set");
    return SQLITE_MISUSE;
  }
  if (config->log && strlen(config->log) >= log_size) {
    snprintf(message, size, "holdfast: the path of the log is longer than %zu bytes", log_size - 1);
    return SQLITE_MISUSE;
  }
  if (config->mode) io->mode = config->mode;
  if (config->assume) io->assume = config->assume;
  if (config->journal) io->journal = config->journal;
  if (config->walguard) io->walguard = config->walguard;
  if (config->strict) io->strict = config->strict > 0;
  if (config->slow_lock_ms) io->slow_lock_ms = config->slow_lock_ms > 0 ? config->slow_lock_ms : 0;
  if (config->log) snprintf(log, log_size, "%s", config->log);
  return SQLITE_OK;
}

/* A misspelt holdfast_asume=local would silently protect nothing. Old SQLite cannot list the parameters. */
static int unknown_key(const hf_api *api, const char *name, char *message, size_t size)
{
  const char *key;
  if (!api->uri_key) return SQLITE_OK;
  for (int n = 0; n < 1000 && (key = api->uri_key(name, n)) != NULL; n++) {
    bool known = false;
    if (strncasecmp(key, "holdfast_", 9) != 0) continue;
    for (int i = 0; i < CHOICES; i++) known = known || strcmp(key + 9, choices[i].key) == 0;
    if (known) continue;
    snprintf(message, size,
             "holdfast: the URI parameter %.60s is not known: use holdfast_mode, _assume, _journal, "
             "_walguard, _slow_lock_ms or _strict",
             key);
    return SQLITE_MISUSE;
  }
  return SQLITE_OK;
}

int hf_config_from_uri(const hf_api *api, const char *name, hf_settings *io, char *message, size_t size)
{
  static const char *const names[CHOICES] = {"holdfast_mode",     "holdfast_assume",       "holdfast_journal",
                                             "holdfast_walguard", "holdfast_slow_lock_ms", "holdfast_strict"};
  hf_settings made = *io;
  int rc = unknown_key(api, name, message, size);

  for (int i = 0; i < CHOICES && rc == SQLITE_OK; i++) {
    const char *value = api->uri_parameter(name, names[i]);
    int parsed;
    if (!value) continue;
    parsed = parse(&choices[i], value);
    if (parsed < 0)
      rc = bad_value(&choices[i], names[i], value, message, size);
    else
      store(&made, &choices[i], parsed);
  }
  if (rc == SQLITE_OK) *io = made;
  return rc;
}
