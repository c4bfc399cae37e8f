/*
 * text.h - a growing text and JSON, for reports only (never on the lock or write path).
 */
#ifndef HF_TEXT_H
#define HF_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero it to begin. After a failed allocation it stays as it was and `failed` is set: check once, at the end.
 */
typedef struct hf_text {
  char *at;
  size_t used, size;
  bool failed;
} hf_text;

void hf_text_add(hf_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void hf_text_json(hf_text *text, const char *string); /* quoted; invalid UTF-8 becomes U+FFFD; NULL is null */
void hf_text_free(hf_text *text);

#endif
