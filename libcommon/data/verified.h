/* verified.h - what scoring reads of one verified rollout, checked: whose it is, what was said of it, and the facts that are
 * averaged. A plain struct; its texts are borrowed from the record and the reader.
 * Not here: rollouts put together into problems (score/tally.h). */
#ifndef JRL_DATA_VERIFIED_H
#define JRL_DATA_VERIFIED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/index.h"
#include "base/text.h"

struct jrl_record;

#define JRL_MAX_ALSO 16 /* rules that judged beside the one whose verdict counts */

/* What the model judge said. A record that has `rule_correct` went past it; it is asked about what the rules rejected. */
enum jrl_judgement {
    JRL_JUDGE_ABSENT, /* the record did not go past a judge */
    JRL_JUDGE_SILENT, /* not asked */
    JRL_JUDGE_A,      /* correct */
    JRL_JUDGE_B,      /* incorrect */
    JRL_JUDGE_C,      /* invalid */
    JRL_JUDGE_OTHER,  /* no letter */
};

struct jrl_verified {
    struct jrl_text source; /* empty: the record has none */
    uint64_t uid;
    int64_t draw;            /* -1: none */
    int64_t sample, samples; /* 0 <= sample < samples; samples 0: the record does not say */
    bool correct;            /* the verdict that counts */
    bool answered;
    uint64_t answer;         /* digest of the extracted answer, when answered */
    struct jrl_text text;    /* the response; data NULL: the record has none */
    int64_t n_tokens;        /* of the response; -1: not known */
    int truncated;           /* 0, 1; -1: not known */
    double entropy, reward;  /* NaN: not known */
    enum jrl_judgement judgement;
    bool by_rules, by_judge; /* the verdict of each; without a judge by_rules is `correct` */
    uint16_t also, also_right; /* bit i: rule i of reader.also has judged; has found it right */
    const struct jrl_text *labels; /* [n_fields] value of each field to split by; data NULL: the record has none */
};

/* What stays the same from record to record. */
struct jrl_verified_reader {
    int n_fields;
    const char *const *fields;  /* [n_fields] paths of fields to split by; borrowed */
    bool *seen;                 /* [n_fields] some record has had it */
    struct jrl_index verifiers; /* rules whose verdict counts, from `verifier` */
    struct jrl_index also;      /* rules that judged besides: R of each field `R.correct`; JRL_MAX_ALSO at most */
    struct jrl_text *labels;    /* [n_fields] */
    struct jrl_buffer *label_bytes; /* [n_fields] */
};
void jrl_verified_reader_init(struct jrl_verified_reader *r, const char *const *fields, int n_fields);
void jrl_verified_reader_release(struct jrl_verified_reader *r);

/* JRL_ERR_INPUT: `uid` or `correct` is missing; a sample is out of its range; verdicts are no booleans or contradict each other;
 * a field to split by is no string, number or boolean. */
int jrl_verified_read(struct jrl_verified_reader *r, struct jrl_verified *v, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;

/* `source` and `uid` of a problem or rollout, which name it; an absent source is empty. */
int jrl_problem_name_read(struct jrl_text *source, uint64_t *uid, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;

#endif
