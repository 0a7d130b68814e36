/* where.h - conditions on the fields of a record: "reward > 0 and finish == stop or correct".
 *     condition:  term or term or ...      term: test and test and ...
 *     test:       FIELD OP VALUE, or FIELD (it is there, and neither false nor nil)
 *     OP:         == != < <= > >=  (and = for ==)
 *     VALUE:      a number, true, false, nil, a word, or text in 'single' or "double" quotes
 * A test of a field that is missing or of another type than the value is false, != too. */
#ifndef JRL_STREAM_WHERE_H
#define JRL_STREAM_WHERE_H

#include "stream/record.h"

struct jrl_where;

int jrl_where_new(struct jrl_where **out, const char *text, struct jrl_error *err) JRL_MUST_CHECK; /* JRL_ERR_USAGE with the place */
void jrl_where_free(struct jrl_where *w); /* accepts NULL */
/* The first field of the condition that is none of KNOWN (NULL at the end), or NULL: for records whose fields are known, in
 * which a misspelt one would never hold. */
const char *jrl_where_unknown(const struct jrl_where *w, const char *const known[]);
bool jrl_where_holds(const struct jrl_where *w, const struct jrl_record *rec);

#endif
