/*
 * program.h - what `holdfast exec` must know of a program before it runs it.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* The file that the shell would run for `name`. 0, or the shell's exit code: 126 (found, and not to be run)
 * or 127 (not found). */
int program_find(const char *name, char *path, size_t size);

/* May a library be preloaded into it? false: `why` is the end of the sentence "PATH cannot be reached: ..."
 */
bool program_reachable(const char *path, char *why, size_t size);

/* Where holdfast-preload.so is; false: `path` says where it was looked for. */
bool program_preload(char *path, size_t size);

#endif
