/*
 * lockkind_other.c - systems where no lock is ever owned: nothing is known of any device.
 */
#include "records.h"

atomic_int hf_device_count;
atomic_bool hf_smb_seen;

bool hf_records_device(uint64_t device, hf_lock_kind kind)
{
  (void)device, (void)kind;
  return false;
}
bool hf_records_is_smb(uint64_t device)
{
  (void)device;
  return false;
}
