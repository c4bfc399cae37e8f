/*
 * text.c - a growing text and JSON strings. Memory is libc's: it is handed to SQLite by copying.
 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(hf_text *text, size_t more)
{
  size_t size = text->size ? text->size : 256;
  char *grown;

  if (text->failed) return false;
  while (size - text->used <= more) size *= 2;
  if (size == text->size) return true;
  grown = realloc(text->at, size);
  if (!grown) {
    text->failed = true;
    return false;
  }
  text->at = grown;
  text->size = size;
  return true;
}

void hf_text_add(hf_text *text, const char *format, ...)
{
  va_list args, again;
  int length;

  va_start(args, format);
  va_copy(again, args);
  length = vsnprintf(NULL, 0, format, args);
  if (length >= 0 && reserve(text, (size_t)length + 1)) {
    vsnprintf(text->at + text->used, text->size - text->used, format, again);
    text->used += (size_t)length;
  }
  va_end(again);
  va_end(args);
}

/* Length of the well-formed UTF-8 sequence at p, 0 when there is none. Paths are bytes, JSON must be UTF-8.
 */
static int utf8_length(const unsigned char *p)
{
  static const struct {
    unsigned char first, last, low, high;
    int more;
  } rows[] = {{0xc2, 0xdf, 0x80, 0xbf, 1}, {0xe0, 0xe0, 0xa0, 0xbf, 2}, {0xe1, 0xec, 0x80, 0xbf, 2},
              {0xed, 0xed, 0x80, 0x9f, 2}, {0xee, 0xef, 0x80, 0xbf, 2}, {0xf0, 0xf0, 0x90, 0xbf, 3},
              {0xf1, 0xf3, 0x80, 0xbf, 3}, {0xf4, 0xf4, 0x80, 0x8f, 3}};

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (p[0] < rows[i].first || p[0] > rows[i].last) continue;
    if (p[1] < rows[i].low || p[1] > rows[i].high) return 0;
    for (int k = 2; k <= rows[i].more; k++)
      if ((p[k] & 0xc0) != 0x80) return 0;
    return rows[i].more + 1;
  }
  return 0;
}

void hf_text_json(hf_text *text, const char *string)
{
  if (!string) {
    hf_text_add(text, "null");
    return;
  }
  hf_text_add(text, "\"");
  for (const unsigned char *p = (const unsigned char *)string; *p;) {
    int length = 1;
    if (*p == '"' || *p == '\\')
      hf_text_add(text, "\\%c", *p);
    else if (*p < 0x20 || *p == 0x7f)
      hf_text_add(text, "\\u%04x", *p);
    else if (*p < 0x80)
      hf_text_add(text, "%c", *p);
    else if ((length = utf8_length(p)) > 0)
      hf_text_add(text, "%.*s", length, (const char *)p);
    else {
      hf_text_add(text, "\\ufffd");
      length = 1;
    }
    p += length;
  }
  hf_text_add(text, "\"");
}

void hf_text_free(hf_text *text)
{
  free(text->at);
  memset(text, 0, sizeof *text);
}
