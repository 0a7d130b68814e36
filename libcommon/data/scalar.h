/* scalar.h - plain values of a record as text: a field by its path, a scalar's shortest text, and the ground truths
 * a rollout is judged against. */
#ifndef JRL_DATA_SCALAR_H
#define JRL_DATA_SCALAR_H

#include "base/text.h"
#include "stream/record.h"

/* The value at PATH: a field of that very name, else names inside maps separated by dots ("extra.level").
 * false when there is none. *v is valid as long as the record's bytes are. */
bool jrl_record_path(const struct jrl_record *rec, const char *path, struct jrl_value *v);

/* Append the text of a string, number or boolean; false (and nothing appended) for anything else. A string is its
 * bytes; a number its shortest decimal text (34.0 is "34", 1e-09 is "1e-09"), a boolean "True" or "False". */
bool jrl_value_scalar(struct jrl_value v, struct jrl_buffer *out);

/* The ground truths of a record: its field `answer`, or each member when that is a list. Zero-initialise, reuse, release.
 * The texts are valid until the next read. */
struct jrl_truths {
    struct jrl_text *texts; /* [n] */
    size_t n, cap;
    struct jrl_buffer bytes;
};
void jrl_truths_release(struct jrl_truths *t);
/* JRL_ERR_INPUT when the field is missing, nil, a map, an empty list, or a list with such a member. */
int jrl_truths_read(struct jrl_truths *t, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;

#endif
