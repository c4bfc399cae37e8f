/*
 * turns.h - how a writer waits for another one in rollback mode.
 */
#ifndef HF_TURNS_H
#define HF_TURNS_H

#include "guard.h"

/* RESERVED was refused because another one has it: the next tries of this handle ask for it first. */
void hf_turn_refused(hf_node *node);

#endif
