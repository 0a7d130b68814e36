/* summary_mean.c - the mean of rows of an evaluation: which member of struct jrl_summary is averaged how; see summary.h. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "score/summary.h"

/* Rows and what is made of them. A member is its offset, counted from the start of struct jrl_summary. */
struct mean {
    struct jrl_summary *out;
    const struct jrl_summary *rows; /* [n] */
    int64_t n;
    double confidence;
    const struct jrl_estimate **list; /* [n] scratch */
};

static void *member(const struct jrl_summary *s, size_t offset)
{
    return (char *)(uintptr_t)s + offset;
}

static void add_counts(struct mean *m, const size_t *offsets, int n, size_t base)
{
    for (int j = 0; j < n; j++)
        for (int64_t i = 0; i < m->n; i++)
            *(int64_t *)member(m->out, base + offsets[j]) += *(const int64_t *)member(&m->rows[i], base + offsets[j]);
}

static void average(struct mean *m, const size_t *offsets, int n)
{
    for (int j = 0; j < n; j++) {
        double *x = member(m->out, offsets[j]);

        *x = m->n > 0 ? 0 : NAN;
        for (int64_t i = 0; i < m->n; i++)
            *x += *(const double *)member(&m->rows[i], offsets[j]) / (double)m->n;
    }
}

static void average_estimate(struct mean *m, size_t offset, double least)
{
    for (int64_t i = 0; i < m->n; i++)
        m->list[i] = member(&m->rows[i], offset);
    *(struct jrl_estimate *)member(m->out, offset) = jrl_estimate_rows(m->list, m->n, least, m->confidence);
}

/* The bool at OFFSET: so in every row, and there are rows. */
static void set_known(struct mean *m, size_t offset)
{
    bool *known = member(m->out, offset);

    *known = m->n > 0;
    for (int64_t i = 0; i < m->n; i++)
        *known &= *(const bool *)member(&m->rows[i], offset);
}

#define LENGTH(a) ((int)(sizeof(a) / sizeof(*(a))))

static void average_verdicts(struct mean *m, int n_also)
{
    static const size_t judged[] = { offsetof(struct jrl_judged, by_rules), offsetof(struct jrl_judged, by_judge), offsetof(struct jrl_judged, incorrect),
                                     offsetof(struct jrl_judged, invalid), offsetof(struct jrl_judged, other), offsetof(struct jrl_judged, not_asked) };
    static const size_t agreement[] = { offsetof(struct jrl_agreement, both), offsetof(struct jrl_agreement, first_only),
                                        offsetof(struct jrl_agreement, second_only), offsetof(struct jrl_agreement, neither) };
    static const size_t versus[] = { offsetof(struct jrl_versus, better), offsetof(struct jrl_versus, equal), offsetof(struct jrl_versus, worse) };

    set_known(m, offsetof(struct jrl_summary, judged.known));
    average_estimate(m, offsetof(struct jrl_summary, judged.avg), 0);
    add_counts(m, judged, LENGTH(judged), offsetof(struct jrl_summary, judged));
    for (int i = 0; i < n_also; i++) {
        const size_t base = offsetof(struct jrl_summary, also) + (size_t)i * sizeof(struct jrl_agreement);

        set_known(m, base + offsetof(struct jrl_agreement, known));
        average_estimate(m, base + offsetof(struct jrl_agreement, first), 0);
        average_estimate(m, base + offsetof(struct jrl_agreement, second), 0);
        add_counts(m, agreement, LENGTH(agreement), base);
    }
    set_known(m, offsetof(struct jrl_summary, versus.known));
    average_estimate(m, offsetof(struct jrl_summary, versus.other), 0);
    average_estimate(m, offsetof(struct jrl_summary, versus.difference), -1);
    add_counts(m, versus, LENGTH(versus), offsetof(struct jrl_summary, versus));
}

/* The estimate of pass@k in a row, or one without problems. */
static const struct jrl_estimate *find_pass(const struct jrl_summary *row, int64_t k)
{
    static const struct jrl_estimate none = { 0, 0, 0, 0, 0 };

    for (int j = 0; j < row->ks.n; j++)
        if (row->ks.k[j] == k)
            return &row->pass[j];
    return &none;
}

/* The k are those of the row with the fewest samples. */
static void average_pass(struct mean *m)
{
    for (int64_t i = 0; i < m->n; i++)
        if (m->rows[i].samples_min == m->out->samples_min)
            m->out->ks = m->rows[i].ks;
    for (int j = 0; j < m->out->ks.n; j++) {
        for (int64_t i = 0; i < m->n; i++)
            m->list[i] = find_pass(&m->rows[i], m->out->ks.k[j]);
        m->out->pass[j] = jrl_estimate_rows(m->list, m->n, 0, m->confidence);
    }
}

/* What is neither a sum nor a mean. */
static void merge_ranges(struct mean *m)
{
    struct jrl_summary *s = m->out;

    s->samples_min = m->n > 0 ? m->rows[0].samples_min : 0;
    s->ngram_sampling = 1;
    for (int64_t i = 0; i < m->n; i++) {
        const struct jrl_summary *row = &m->rows[i];

        s->samples_min = row->samples_min < s->samples_min ? row->samples_min : s->samples_min;
        s->samples_max = row->samples_max > s->samples_max ? row->samples_max : s->samples_max;
        s->ngram_sampling = row->ngram_sampling > s->ngram_sampling ? row->ngram_sampling : s->ngram_sampling;
        s->format_errors = s->format_errors < 0 || row->format_errors < 0 ? -1 : s->format_errors + row->format_errors;
    }
}

void jrl_summary_mean(struct jrl_summary *s, const struct jrl_summary *rows, int64_t n, const struct jrl_summary_options *options)
{
    static const size_t counts[] = { offsetof(struct jrl_summary, problems), offsetof(struct jrl_summary, rollouts),
                                     offsetof(struct jrl_summary, solve_none), offsetof(struct jrl_summary, solve_all) };
    static const size_t means[] = { offsetof(struct jrl_summary, tokens), offsetof(struct jrl_summary, truncated), offsetof(struct jrl_summary, answered),
                                    offsetof(struct jrl_summary, entropy), offsetof(struct jrl_summary, reward), offsetof(struct jrl_summary, distinct) };
    struct mean m = { s, rows, n, options->confidence, jrl_xcalloc((size_t)n + 1, sizeof(*m.list)) };

    memset(s, 0, sizeof(*s));
    add_counts(&m, counts, LENGTH(counts), 0);
    average(&m, means, LENGTH(means));
    merge_ranges(&m);
    average_estimate(&m, offsetof(struct jrl_summary, avg), 0);
    average_estimate(&m, offsetof(struct jrl_summary, maj), 0);
    average_estimate(&m, offsetof(struct jrl_summary, best), 0);
    average_pass(&m);
    average_verdicts(&m, options->n_also);
    free(m.list);
}
