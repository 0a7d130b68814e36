/* spool.h - records set aside in a temporary file and read back in order: for a filter that needs a whole batch before it can
 * write the first record, in memory that does not grow with the batch. The file lies in TMPDIR (else /tmp) and has no name,
 * so nothing is left behind however the process ends. */
#ifndef JRL_DATA_SPOOL_H
#define JRL_DATA_SPOOL_H

#include "stream/record.h"

struct jrl_spool;

int jrl_spool_new(struct jrl_spool **out, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_spool_free(struct jrl_spool *spool); /* accepts NULL */

/* Add while writing; `_rewind` ends writing; `_next` gives JRL_OK, or JRL_EOF after the last one. `_clear` makes the
 * spool empty and ready for the next batch. */
int jrl_spool_add(struct jrl_spool *spool, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_spool_rewind(struct jrl_spool *spool, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_spool_next(struct jrl_spool *spool, struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_spool_clear(struct jrl_spool *spool, struct jrl_error *err) JRL_MUST_CHECK;

#endif
