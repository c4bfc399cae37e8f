/*
 * units.c - the bytes that SQLite locks, as units: PENDING, RESERVED, SHARED, and the nine of a -shm.
 */
#include "records.h"

enum {
  SHM_FIRST = 120,
  SHM_BYTES = 9,
  PENDING_BYTE = 0x40000000,
  SHARED_FIRST = PENDING_BYTE + 2,
  SHARED_SIZE = 510
};

unsigned hf_units_of(off_t start, off_t length)
{
  if (start == 0 && length == 0) return (1u << HF_UNITS) - 1;
  if (start == PENDING_BYTE && length == 1) return HF_UNIT_PENDING;
  if (start == PENDING_BYTE && length == 2) return HF_UNIT_PENDING | HF_UNIT_RESERVED;
  if (start == PENDING_BYTE + 1 && length == 1) return HF_UNIT_RESERVED;
  if (start == SHARED_FIRST && length == SHARED_SIZE) return HF_UNIT_SHARED;
  if (start >= SHM_FIRST && length >= 1 && start + length <= SHM_FIRST + SHM_BYTES)
    return ((1u << length) - 1) << (3 + (start - SHM_FIRST));
  return 0;
}

void hf_unit_range(int index, off_t *start, off_t *length)
{
  *length = index == 2 ? SHARED_SIZE : 1;
  *start = index <= 2 ? PENDING_BYTE + index : SHM_FIRST + index - 3;
}
