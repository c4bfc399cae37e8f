/*
 * metrics.h - the counters for programs outside: Prometheus text or JSON, and the file that they are written
 * to.
 */
#ifndef HF_METRICS_H
#define HF_METRICS_H

#include "text.h"
#include "vfs.h"

void hf_metrics_text(hf_vfs *owner, hf_text *out); /* Prometheus; out->failed when there is no memory */
void hf_metrics_json(hf_vfs *owner, hf_text *out);

/* A database was opened: if a file is asked for (HOLDFAST_METRICS), see to it that it is written from now on.
 */
void hf_metrics_opened(hf_vfs *owner);
/* The last database was closed: write it once more. */
void hf_metrics_closed(hf_vfs *owner);
/* Takes HOLDFAST_METRICS: "%p" becomes the number of the process, a relative path is that of now. */
void hf_metrics_from_env(char *out, size_t size);

#endif
