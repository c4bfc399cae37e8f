/*
 * mount.c - the text of mountinfo, read without trusting it.
 *
 * Pure: a text goes in, the facts of one mount come out, nothing is opened. Fields are unescaped and cut
 * to size; options that do not fit are shortened value by value, so that a deciding option at the end of
 * a long line (overlay's "volatile" after a hundred layers) is not lost. What the facts mean is decided
 * in policy.c; where the text comes from, in mount_<os>.c.
 */
#include "mount.h"

#include <string.h>

#include "mount_text.h"

/* A path has at most 4,096 bytes, so no tree of mounts on it is deeper; stacks of mounts are bounded too. */
#define STEPS_MAX 4096

typedef struct span {
  const char *at;
  size_t len;
} span;

/* One line, cut into its fields; nothing is copied. */
typedef struct line {
  uint64_t id, parent;
  span root, point, options, fstype, source, super;
} line;

static bool number(span s, uint64_t *out)
{
  uint64_t n = 0;

  if (s.len == 0 || s.len > 19) return false;
  for (size_t i = 0; i < s.len; i++) {
    if (s.at[i] < '0' || s.at[i] > '9') return false;
    n = n * 10 + (uint64_t)(s.at[i] - '0');
  }
  *out = n;
  return true;
}

/* The next field of a line, fields being divided by single spaces. An empty field is a field: the source
 * of a mount may be one. */
static bool field(span *rest, span *out)
{
  const char *space;

  if (rest->at == NULL) return false;
  space = memchr(rest->at, ' ', rest->len);
  out->at = rest->at;
  out->len = space ? (size_t)(space - rest->at) : rest->len;
  if (space) {
    rest->at = space + 1;
    rest->len -= out->len + 1;
  } else {
    rest->at = NULL;
  }
  return true;
}

static bool parse_line(span text, line *out)
{
  span id, parent, device, tag;

  if (!field(&text, &id) || !field(&text, &parent) || !field(&text, &device)) return false;
  if (!number(id, &out->id) || !number(parent, &out->parent)) return false;
  if (!field(&text, &out->root) || !field(&text, &out->point) || !field(&text, &out->options)) return false;
  if (out->point.len == 0 || out->root.len == 0) return false;
  do { /* any number of tags such as shared:7, ended by a lone dash */
    if (!field(&text, &tag)) return false;
  } while (tag.len != 1 || tag.at[0] != '-');
  if (!field(&text, &out->fstype) || !field(&text, &out->source)) return false;
  if (out->fstype.len == 0) return false;
  /* Everything that is left: option values are not always escaped. */
  out->super = text.at ? text : (span){"", 0};
  return true;
}

/* The next line of a text that can be parsed; others are skipped. */
static bool next_line(const char **text, line *out)
{
  while (**text) {
    const char *end = strchr(*text, '\n');
    span s = {*text, end ? (size_t)(end - *text) : strlen(*text)};

    *text = end ? end + 1 : s.at + s.len;
    if (parse_line(s, out)) return true;
  }
  return false;
}

/* One byte of an escaped text, and how long it was. The kernel writes three octal digits. */
static size_t unescaped(span s, size_t i, char *out)
{
  const char *p = s.at + i;

  if (p[0] == '\\' && s.len - i >= 4 && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
      p[3] >= '0' && p[3] <= '7') {
    *out = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
    if (*out != '\0') return 4;
  }
  *out = p[0];
  return 1;
}

void hf_text_unescape(char *out, size_t size, const char *text, size_t len)
{
  span s = {text, len};
  size_t n = 0;

  for (size_t i = 0; i < len && n + 1 < size; n++) i += unescaped(s, i, &out[n]);
  out[n] = '\0';
}

/* Append one option, its value cut to value_max bytes; false when it does not fit. A comma that the kernel
 * escaped stays escaped: it is part of a value (a directory named "a,volatile") and divides nothing. */
static bool append_option(char *out, size_t size, size_t *used, span option, size_t value_max)
{
  const char *equals = memchr(option.at, '=', option.len);
  size_t name = equals ? (size_t)(equals - option.at) + 1 : option.len;
  size_t len = option.len - name > value_max ? name + value_max : option.len;
  size_t n = *used, comma = n > 0;
  size_t step;

  if (len >= size - n || len + comma >= size - n) return false;
  if (comma) out[n++] = ',';
  for (size_t i = 0; i < len; i += step) {
    step = unescaped(option, i, &out[n]);
    if (step > 1 && out[n] == ',') {
      out[n] = '\\';
      step = 1;
    }
    n++;
  }
  out[n] = '\0';
  *used = n;
  return true;
}

void hf_text_options(char *out, size_t size, const char *text, size_t len)
{
  /* Whole; else values cut; else only the short options, which are the ones that decide. */
  static const struct {
    size_t value_max, option_max;
  } tries[] = {{SIZE_MAX, SIZE_MAX}, {48, SIZE_MAX}, {SIZE_MAX, 32}};
  bool fits = false;

  for (size_t t = 0; t < sizeof tries / sizeof tries[0] && !fits; t++) {
    span rest = {text, len};
    size_t used = 0;

    fits = true;
    out[0] = '\0';
    while (rest.at && rest.len > 0) {
      const char *comma = memchr(rest.at, ',', rest.len);
      span option = {rest.at, comma ? (size_t)(comma - rest.at) : rest.len};

      rest.at = comma ? comma + 1 : NULL;
      rest.len -= comma ? option.len + 1 : option.len;
      if (option.len == 0 || option.len > tries[t].option_max) continue;
      if (!append_option(out, size, &used, option, tries[t].value_max)) fits = false;
    }
  }
}

static void facts_of_line(const line *l, hf_mount_facts *out)
{
  static const char deleted[] = "//deleted";
  size_t tail = sizeof deleted - 1;

  memset(out, 0, sizeof *out);
  hf_text_unescape(out->fstype, sizeof out->fstype, l->fstype.at, l->fstype.len);
  hf_text_unescape(out->source, sizeof out->source, l->source.at, l->source.len);
  hf_text_unescape(out->mount_point, sizeof out->mount_point, l->point.at, l->point.len);
  hf_text_unescape(out->root, sizeof out->root, l->root.at, l->root.len);
  hf_text_options(out->mount_options, sizeof out->mount_options, l->options.at, l->options.len);
  hf_text_options(out->super_options, sizeof out->super_options, l->super.at, l->super.len);
  out->mount_id = l->id;
  out->deleted = l->root.len >= tail && memcmp(l->root.at + l->root.len - tail, deleted, tail) == 0;
  memcpy(out->how, "mountinfo", sizeof "mountinfo");
}

int hf_mountinfo_by_id(const char *text, uint64_t id, hf_mount_facts *out)
{
  line l;

  while (next_line(&text, &l)) {
    if (l.id != id) continue;
    facts_of_line(&l, out);
    return 0;
  }
  return -1;
}

/* Does the mount point of a line lead to path? Gives its unescaped length, 0 when not. "/" counts as 1. */
static size_t covers(const line *l, const char *path)
{
  size_t n = 0;
  char c;

  for (size_t i = 0; i < l->point.len; n++) {
    i += unescaped(l->point, i, &c);
    if (path[n] != c) return 0;
  }
  if (n == 1 && path[0] == '/') return 1;
  return path[n] == '\0' || path[n] == '/' ? n : 0;
}

static bool listed(const char *text, uint64_t id)
{
  line l;

  while (next_line(&text, &l))
    if (l.id == id) return true;
  return false;
}

/* The mount that a walk along path meets first after leaving `from` (NULL: before any). Of several mounts
 * on one parent the one nearest to the root comes first and hides those that were below it. */
static bool first_mount(const char *text, const char *path, const line *from, line *out)
{
  const char *at = text;
  size_t best = 0, n;
  line l;

  while (next_line(&at, &l)) {
    n = covers(&l, path);
    if (n == 0 || (best != 0 && n > best)) continue;
    if (from ? l.parent != from->id || l.id == from->id : l.parent != l.id && listed(text, l.parent))
      continue;
    best = n;
    *out = l;
  }
  return best != 0;
}

int hf_mountinfo_by_path(const char *text, const char *path, hf_mount_facts *out)
{
  line here, next;

  if (path[0] != '/' || !first_mount(text, path, NULL, &here)) return -1;
  for (int step = 0; first_mount(text, path, &here, &next); step++) {
    if (step == STEPS_MAX) return -1; /* parents that form a ring: not a text of the kernel */
    here = next;
  }
  facts_of_line(&here, out);
  return 0;
}

bool hf_option(const char *options, const char *key, char *value, size_t size)
{
  size_t wanted = strlen(key);

  while (*options) {
    size_t len = strcspn(options, ",");

    if (len >= wanted && memcmp(options, key, wanted) == 0 && (len == wanted || options[wanted] == '=')) {
      size_t n = len > wanted ? len - wanted - 1 : 0;

      if (value && size > 0) {
        if (n >= size) n = size - 1;
        memcpy(value, options + len - (len > wanted ? len - wanted - 1 : 0), n);
        value[n] = '\0';
      }
      return true;
    }
    options += len + (options[len] == ',');
  }
  return false;
}
