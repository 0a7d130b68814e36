/* stop.h - for a tool that must finish what it has begun: while work is held, the first INT, TERM or USR1 is only
 * noted, to be died of later. Otherwise the process dies at once as by default, its temporary files removed, and so it does
 * when another comes, two seconds later or more: what comes before is the same stop once more, as from Slurm, which signals
 * every process of a job, and from a driver that passes it on. What the parent ignores stays ignored. */
#ifndef JRL_TOOL_STOP_H
#define JRL_TOOL_STOP_H

#include <stdbool.h>

#include "base/error.h"

/* After jrl_cli_parse. */
int jrl_stop_catch(struct jrl_error *err) JRL_MUST_CHECK;

/* From now on there is (no) work that a signal must not cut. */
void jrl_stop_hold(bool hold);
bool jrl_stop_held(void);

/* The signal noted, or 0. */
int jrl_stop_signal(void);

/* Readable once a signal was noted, so that a poll() cannot miss it: jrl_io_read ends a wait by it. -1: nothing is held. */
int jrl_stop_fd(void);

/* End the process by the signal noted. */
_Noreturn void jrl_stop_die(void);

#endif
