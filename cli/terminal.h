/*
 * terminal.h - a terminal that is drawn on and asked for single keys, and given back as it was.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>

/* False where there is none to draw on: standard output is a file or a pipe, or TERM says dumb. */
bool terminal_there(void);

/*
 * Takes the terminal: another screen, no cursor, keys at once and without echo. From here on the signals that
 * end, stop or resize a program are kept until terminal_wait(), so that nothing is drawn by halves.
 */
void terminal_begin(void);
/* Gives it back. Harmless when it was not taken; also called at exit. */
void terminal_end(void);
void terminal_size(int *columns, int *lines); /* of the visible part */

typedef enum {
  TERMINAL_TIME,    /* wait_ms have passed */
  TERMINAL_INPUT,   /* `fd` can be read */
  TERMINAL_KEY,     /* *key was pressed */
  TERMINAL_CHANGED, /* another size, or it was away meanwhile: draw anew */
  TERMINAL_QUIT     /* a signal that ends the program, or the terminal has gone */
} terminal_event;
/* fd -1 = none. Ctrl-Z is dealt with here: the terminal is given back while the program is stopped. */
terminal_event terminal_wait(int fd, long wait_ms, int *key);

/* In a child: signals do again what they did before terminal_begin(). */
void terminal_forget(void);
/* The signal of TERMINAL_QUIT ends the program, so that whoever started it learns why. Returns if there was
 * none. */
void terminal_die(void);

#endif
