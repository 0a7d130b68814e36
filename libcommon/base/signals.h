/* signals.h - fatal signals and exit() leave no temporary files and no commands behind. */
#ifndef JRL_BASE_SIGNALS_H
#define JRL_BASE_SIGNALS_H

#include <sys/types.h>

/* Called once by every tool: SIGPIPE ends the process even when the parent ignored it; INT, TERM,
 * HUP, PIPE and XFSZ remove the registered temporary files, then act as by default (the process dies
 * of the signal). Of those, what the parent ignored stays ignored, PIPE excepted. */
void jrl_signals_ready(void);

/* A list of paths to unlink when the process ends by exit() or one of these signals. Registering
 * returns a slot for `_forget`; both keep signals out while they change the list. */
int jrl_signals_register(const char *path);
void jrl_signals_forget(int slot);

/* The same for process groups that are killed then. A slot of -1 is no slot: there were too many. */
int jrl_signals_register_group(pid_t group);
void jrl_signals_forget_group(int slot);

#endif
