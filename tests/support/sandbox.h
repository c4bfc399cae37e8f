/*
 * sandbox.h - system calls taken away from this process and its children, as containers do it.
 */
#ifndef HFT_SANDBOX_H
#define HFT_SANDBOX_H

/* fcntl() knows no OFD commands, as a kernel before 3.15. For peer_start_in(). Ends the program as skipped
 * where that cannot be had. */
void sandbox_without_ofd(void);

#endif
