/* summary.h - what a stream holds: records, batches, groups, and per field its presence, types, and the
 * mean, least and greatest value or length. Memory does not grow with the stream. */
#ifndef JRL_STREAM_SUMMARY_H
#define JRL_STREAM_SUMMARY_H

#include "stream/record.h"

#define JRL_SUMMARY_FIELDS 1024 /* more names than this are counted together */

/* Numbers seen one by one. Sums are compensated (Neumaier), so that a mean of 10^9 values is right. */
struct jrl_moments {
    int64_t n, n_nan;
    double sum, compensation, min, max;
};
void jrl_moments_add(struct jrl_moments *m, double x);
double jrl_moments_mean(const struct jrl_moments *m); /* of the values that are numbers; NaN when none */

struct jrl_field_summary {
    char *key;
    size_t key_len;
    int64_t n;          /* records that have it */
    uint32_t types;     /* bit set of enum jrl_value_type, and ext types 1..6 from bit 16 + type */
    struct jrl_moments values;  /* numbers and truth values */
    struct jrl_moments lengths; /* bytes of text, elements of arrays, lists and maps */
};

struct jrl_summary {
    int64_t n_segments, n_records, n_batches, first_batch, last_batch;
    int64_t n_groups, n_right, n_wrong; /* groups; those whose records are all, or none of them, `correct` */
    struct jrl_moments group_size;
    int64_t n_finished, n_cut_off; /* records with `finish`; of those "length" */
    int64_t n_other_fields;
    struct jrl_field_summary *fields;
    size_t n_fields;
    char *kinds; /* "rollout", or several with commas */

    struct { bool open, has_draw, judged; uint64_t id; int64_t n, n_correct; } group; /* being read */
};

void jrl_summary_release(struct jrl_summary *s); /* zero-initialise before use */
void jrl_summary_header(struct jrl_summary *s, const struct jrl_record *header);
void jrl_summary_record(struct jrl_summary *s, const struct jrl_record *rec);
void jrl_summary_batch(struct jrl_summary *s, int64_t k);
void jrl_summary_end(struct jrl_summary *s); /* closes the last group */

/* Names of a field's types, "string, nil", appended. */
void jrl_summary_types(const struct jrl_field_summary *f, struct jrl_buffer *out);

#endif
