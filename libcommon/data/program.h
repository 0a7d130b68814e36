/* program.h - a user's own reward: a command that gets a rollout as one line of JSON and answers with one line,
 * {"reward": number, "correct": true|false, "pred": text}, of which only `reward` has to be there. Several run side by side,
 * one a thread; jrl-verify(1) is their contract. */
#ifndef JRL_DATA_PROGRAM_H
#define JRL_DATA_PROGRAM_H

#include "base/memory.h"
#include "stream/record.h"

#define JRL_PROGRAM_FIELDS "uid,draw,sample,problem,answer,text"

struct jrl_programs;

/* Zero-initialise, reuse, release. */
struct jrl_program_answer {
    double reward;
    bool correct;           /* reward > 0 where the program does not say */
    bool found;             /* it named the answer that it found: pred */
    struct jrl_buffer pred;
};

/* N copies of COMMAND, from a thread that lives as long as the process. FIELDS of a record are sent, "A,B", paths
 * with dots included (data/scalar.h); an answer is awaited for TIMEOUT_SECONDS (0: for ever). */
int jrl_programs_start(struct jrl_programs **out, const char *command, int n, const char *fields, double timeout_seconds, struct jrl_error *err) JRL_MUST_CHECK;

/* Ask program I, each by one thread at a time. JRL_ERR_RUN: it is dead, late, or its answer is not of the form. */
int jrl_programs_ask(struct jrl_programs *p, int i, const struct jrl_record *rec, struct jrl_program_answer *a, struct jrl_error *err) JRL_MUST_CHECK;

/* Let every question that is under way fail at once. */
void jrl_programs_stop(struct jrl_programs *p);

/* End their input and wait for their end, with exit status 0. */
int jrl_programs_finish(struct jrl_programs *p, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_programs_free(struct jrl_programs *p); /* kills those that still run; accepts NULL */

#endif
