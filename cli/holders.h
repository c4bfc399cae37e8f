/*
 * holders.h - how locks and their holders are shown, for `holdfast locks` and `holdfast top`.
 */
#ifndef CLI_HOLDERS_H
#define CLI_HOLDERS_H

#include "cli.h"
#include "holdfast.h"

bool holder_is_stuck(const holdfast_holder *holder); /* stopped, frozen or traced: waiting does not help */
const char *holder_name(const holdfast_holder *holder);
void show_holder(const holdfast_holder *holder); /* the columns before the name, without a line end */
void json_holders(json *j, const holdfast_holders *all);
const char *holders_failed(int rc); /* why holdfast_lock_holders() failed, for people */

#endif
