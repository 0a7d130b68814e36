/* tally.c - verified rollouts into problems; see tally.h. */
#include "score/tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void jrl_tally_release(struct jrl_tally *t)
{
    for (int64_t i = 0; i < t->n; i++) {
        free(t->problems[i].labels);
        free(t->problems[i].list);
    }
    free(t->problems);
    jrl_index_release(&t->keys);
    jrl_index_release(&t->texts);
    memset(t, 0, sizeof(*t));
}

static int64_t label_number(struct jrl_tally *t, struct jrl_text label)
{
    return label.data ? jrl_index_put(&t->texts, label.data, label.len_bytes, NULL) : -1;
}

static int problem_fail(const struct jrl_tally *t, const struct jrl_tally_problem *p, struct jrl_error *err, const char *what)
{
    struct jrl_text source = jrl_index_key(&t->texts, p->source);
    char draw[32] = "";

    if (p->draw >= 0)
        snprintf(draw, sizeof(draw), ", draw %" PRId64, p->draw);
    return jrl_fail(err, JRL_ERR_INPUT, "problem uid %" PRIu64 "%s of source '%.*s': %s", p->uid, draw, (int)source.len_bytes,
                    source.data, what);
}

static struct jrl_tally_problem *new_problem(struct jrl_tally *t, int64_t source, const struct jrl_scored *r)
{
    struct jrl_tally_problem *p;

    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->problems = jrl_xrealloc(t->problems, (size_t)t->cap, sizeof(*t->problems));
    }
    p = &t->problems[t->n++];
    *p = (struct jrl_tally_problem){ .source = source, .uid = r->uid, .draw = r->draw, .samples = r->samples };
    p->labels = jrl_xcalloc((size_t)t->n_fields + 1, sizeof(*p->labels));
    for (int i = 0; i < t->n_fields; i++)
        p->labels[i] = label_number(t, r->labels[i]);
    return p;
}

static int check_member(struct jrl_tally *t, const struct jrl_tally_problem *p, const struct jrl_scored *r, struct jrl_error *err)
{
    char what[256];

    if (p->samples != r->samples) {
        snprintf(what, sizeof(what), "field 'samples' is %" PRId64 " in one rollout and %" PRId64 " in another", p->samples, r->samples);
        return problem_fail(t, p, err, what);
    }
    for (int i = 0; i < t->n_fields; i++) {
        if (p->labels[i] != label_number(t, r->labels[i])) {
            snprintf(what, sizeof(what), "field '%s' differs between its rollouts; results are split by fields of the problem", t->fields[i]);
            return problem_fail(t, p, err, what);
        }
    }
    return JRL_OK;
}

int jrl_tally_add(struct jrl_tally *t, const struct jrl_scored *r, struct jrl_error *err)
{
    int64_t source = jrl_index_put(&t->texts, r->source.data, r->source.len_bytes, NULL);
    uint64_t key[3] = { (uint64_t)source, r->uid, (uint64_t)r->draw };
    struct jrl_tally_problem *p;
    bool added;
    int64_t number = jrl_index_put(&t->keys, key, sizeof(key), &added);
    int rc;

    if (added) {
        p = new_problem(t, source, r);
    } else {
        p = &t->problems[number];
        if ((rc = check_member(t, p, r, err)) < 0)
            return rc;
    }
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 4;
        p->list = jrl_xrealloc(p->list, (size_t)p->cap, sizeof(*p->list));
    }
    p->list[p->n] = (struct jrl_tally_sample){ .sample = r->samples > 0 ? r->sample : p->n, .n_tokens = r->n_tokens, .answer = r->answer, .entropy = r->entropy,
                                                 .reward = r->reward, .correct = r->correct, .answered = r->answered,
                                                 .truncated = (int8_t)r->truncated };
    p->n++;
    return JRL_OK;
}

static int compare_samples(const void *a, const void *b)
{
    const struct jrl_tally_sample *x = a, *y = b;

    return (x->sample > y->sample) - (x->sample < y->sample);
}

static int compare_problems(const void *a, const void *b, void *ctx)
{
    const struct jrl_tally_problem *x = a, *y = b;
    const struct jrl_tally *t = ctx;

    if (x->source != y->source) {
        struct jrl_text s = jrl_index_key(&t->texts, x->source), u = jrl_index_key(&t->texts, y->source);
        int order = memcmp(s.data, u.data, s.len_bytes < u.len_bytes ? s.len_bytes : u.len_bytes);

        return order ? order : (s.len_bytes > u.len_bytes) - (s.len_bytes < u.len_bytes);
    }
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return (x->draw > y->draw) - (x->draw < y->draw);
}

static int check_problem(const struct jrl_tally *t, const struct jrl_tally_problem *p, bool partial, struct jrl_error *err)
{
    char what[128];

    for (int64_t i = 1; i < p->n; i++) {
        if (p->list[i].sample == p->list[i - 1].sample) {
            snprintf(what, sizeof(what), "sample %" PRId64 " comes twice", p->list[i].sample);
            return problem_fail(t, p, err, what);
        }
    }
    if (p->n < p->samples && !partial) {
        snprintf(what, sizeof(what), "%" PRId64 " of %" PRId64 " samples; --partial scores what is there", p->n, p->samples);
        return problem_fail(t, p, err, what);
    }
    return JRL_OK;
}

int jrl_tally_finish(struct jrl_tally *t, bool partial, struct jrl_error *err)
{
    if (t->n > 0)
        qsort_r(t->problems, (size_t)t->n, sizeof(*t->problems), compare_problems, t);
    for (int64_t i = 0; i < t->n; i++) {
        struct jrl_tally_problem *p = &t->problems[i];
        int rc;

        qsort(p->list, (size_t)p->n, sizeof(*p->list), compare_samples);
        if ((rc = check_problem(t, p, partial, err)) < 0)
            return rc;
    }
    return JRL_OK;
}
