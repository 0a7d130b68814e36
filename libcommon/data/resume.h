/* resume.h - the whole groups of an output that was cut: what is there need not be sampled, or judged, again. Groups come in the
 * order of the input, so one group at a time is held.
 * Not here: salvaging a stream as it is (jrl-cat --salvage). */
#ifndef JRL_DATA_RESUME_H
#define JRL_DATA_RESUME_H

#include "data/group.h"
#include "stream/reader.h"

/* Zero-initialise. */
struct jrl_resume {
    int fd;
    char *path;
    struct jrl_reader *reader;
    struct jrl_group group; /* the next whole group; empty: there is none */
    int64_t n_taken;
};

/* WANT: what the output's header must say under KEY, words "name=value" that tell what it was made with; JRL_ERR_INPUT
 * shows the first word that differs. */
int jrl_resume_open(struct jrl_resume *r, const char *path, const char *key, const char *want, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_resume_close(struct jrl_resume *r); /* safe on a zeroed one */

/* JRL_OK: r->group holds the group of KEY, for the caller to write; jrl_resume_next then goes on. JRL_EOF: that group is
 * not next. */
int jrl_resume_find(struct jrl_resume *r, const struct jrl_group_key *key);
int jrl_resume_next(struct jrl_resume *r, struct jrl_error *err) JRL_MUST_CHECK;
/* After the last group of the input: JRL_ERR_INPUT when one is left, which belongs to none of the input. */
int jrl_resume_end(struct jrl_resume *r, struct jrl_error *err) JRL_MUST_CHECK;

#endif
