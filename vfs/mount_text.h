/*
 * mount_text.h - how mount.c copies the kernel's texts, for mount_linux.c, which gets some of them from
 * statmount instead of mountinfo.
 */
#ifndef HF_MOUNT_TEXT_H
#define HF_MOUNT_TEXT_H

#include <stddef.h>

/* Copy a text with its octal escapes (\040) resolved, cut at size - 1 bytes, ended by a zero. */
void hf_text_unescape(char *out, size_t size, const char *text, size_t len);
/* The same for a list of options. When it does not fit, long values are cut, then long options left out. */
void hf_text_options(char *out, size_t size, const char *text, size_t len);

#endif
