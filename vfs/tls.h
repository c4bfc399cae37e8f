/*
 * tls.h - how thread-local data of the shim is declared.
 */
#ifndef HF_TLS_H
#define HF_TLS_H

/* libc allocates a loaded library's ordinary thread-local data at the first access, and aborts when it
 * cannot.
 */
#define HF_TLS __attribute__((tls_model("initial-exec")))

#endif
