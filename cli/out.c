/*
 * out.c - how the command writes: text for people, JSON for programs.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* Length of the valid UTF-8 sequence at p (1..4), or 0. */
static int utf8_length(const unsigned char *p)
{
  static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  uint32_t code;
  int n;

  if (p[0] < 0x80) return 1;
  if (p[0] >= 0xC2 && p[0] <= 0xDF)
    n = 2;
  else if (p[0] >= 0xE0 && p[0] <= 0xEF)
    n = 3;
  else if (p[0] >= 0xF0 && p[0] <= 0xF4)
    n = 4;
  else
    return 0;
  code = p[0] & (0xFFu >> (n + 1));
  for (int i = 1; i < n; i++) {
    if ((p[i] & 0xC0) != 0x80) return 0; /* also stops at the end of the text */
    code = code << 6 | (p[i] & 0x3Fu);
  }
  return code >= smallest[n] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) ? n : 0;
}

void out_text(FILE *to, const char *text)
{
  const unsigned char *p = (const unsigned char *)text;

  while (*p) {
    int n = utf8_length(p);
    bool control = *p < 0x20 || *p == 0x7F || (n == 2 && p[0] == 0xC2 && p[1] < 0xA0);
    if (n == 0 || control) {
      fprintf(to, "\\x%02x", *p++);
      continue;
    }
    fwrite(p, 1, (size_t)n, to);
    p += n;
  }
}

static bool has_colours(void)
{
  static int known = -1;

  if (known < 0) {
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    known = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 && !(no && *no);
  }
  return known == 1;
}

void out_toned(tone t, const char *text)
{
  static const char *const codes[] = {"0", "32", "33", "31", "2"};

  if (has_colours() && t != TONE_PLAIN) printf("\033[%sm", codes[t]);
  out_text(stdout, text);
  if (has_colours() && t != TONE_PLAIN) fputs("\033[0m", stdout);
}

/* ---------------------------------------------------------------- JSON */

static void put_string(const char *text)
{
  const unsigned char *p = (const unsigned char *)text;

  putchar('"');
  while (*p) {
    int n = utf8_length(p);
    if (n == 0) {
      fputs("\\ufffd", stdout);
      p++;
    } else if (*p == '"' || *p == '\\') {
      printf("\\%c", *p++);
    } else if (*p < 0x20 || *p == 0x7F) {
      printf("\\u%04x", *p++);
    } else {
      fwrite(p, 1, (size_t)n, stdout);
      p += n;
    }
  }
  putchar('"');
}

static void element(json *j, const char *key)
{
  if (j->depth > 0) {
    if (j->any[j->depth]) putchar(',');
    j->any[j->depth] = true;
    printf("\n%*s", 2 * j->depth, "");
  }
  if (key) printf("\"%s\": ", key);
}

void json_begin(json *j, const char *key, char bracket)
{
  element(j, key);
  putchar(bracket);
  j->any[++j->depth] = false;
}

void json_end(json *j, char bracket)
{
  bool any = j->any[j->depth--];

  if (any) printf("\n%*s", 2 * j->depth, "");
  putchar(bracket);
  if (j->depth == 0) putchar('\n');
}

void json_text(json *j, const char *key, const char *text)
{
  element(j, key);
  if (text)
    put_string(text);
  else
    fputs("null", stdout);
}

void json_number(json *j, const char *key, long long number)
{
  element(j, key);
  printf("%lld", number);
}

void json_real(json *j, const char *key, double number)
{
  element(j, key);
  printf("%.3f", number);
}

void json_flag(json *j, const char *key, int yes_no_unknown)
{
  element(j, key);
  fputs(yes_no_unknown < 0 ? "null" : yes_no_unknown ? "true" : "false", stdout);
}
