/* tally.c - verified rollouts into problems; see tally.h. */
#include "score/tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 512 };

void jrl_tally_release(struct jrl_tally *t)
{
    for (int64_t i = 0; i < t->n; i++) {
        free(t->problems[i].labels);
        free(t->problems[i].list);
        jrl_ngrams_release(&t->problems[i].ngrams);
    }
    free(t->problems);
    jrl_index_release(&t->keys);
    jrl_index_release(&t->texts);
    memset(t, 0, sizeof(*t));
}

int64_t jrl_problem_correct(const struct jrl_tally_problem *p)
{
    int64_t n = 0;

    for (int64_t i = 0; i < p->n; i++)
        n += p->list[i].correct;
    return n;
}

static int64_t label_number(struct jrl_tally *t, struct jrl_text label)
{
    return label.data ? jrl_index_put(&t->texts, label.data, label.len_bytes, NULL) : -1;
}

/* "problem uid 5, draw 2 of source 'aime'" */
static const char *name_of(const struct jrl_tally *t, const struct jrl_tally_problem *p, char name[NAME_SIZE])
{
    struct jrl_text source = jrl_index_key(&t->texts, p->source);
    char draw[32] = "";

    if (p->draw >= 0)
        snprintf(draw, sizeof(draw), ", draw %" PRId64, p->draw);
    snprintf(name, NAME_SIZE, "problem uid %" PRIu64 "%s of source '%.*s'", p->uid, draw, (int)source.len_bytes, source.data);
    return name;
}

static int problem_fail(const struct jrl_tally *t, const struct jrl_tally_problem *p, struct jrl_error *err, const char *what)
{
    char name[NAME_SIZE];

    return jrl_fail(err, JRL_ERR_INPUT, "%s: %s", name_of(t, p, name), what);
}

static struct jrl_tally_problem *new_problem(struct jrl_tally *t, int64_t source, const struct jrl_verified *r)
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

static int check_member(struct jrl_tally *t, const struct jrl_tally_problem *p, const struct jrl_verified *r, struct jrl_error *err)
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

static void close_ngrams(struct jrl_tally *t, struct jrl_tally_problem *p)
{
    t->n_ngrams -= p->ngrams.slots ? p->ngrams.n : 0;
    jrl_ngrams_close(&p->ngrams);
}

/* Sets on the lowest level have the most to give and suffer least. */
static void thin_ngrams(struct jrl_tally *t)
{
    int lowest = JRL_NGRAMS_MAX_LEVEL;

    for (int64_t i = 0; i < t->n; i++)
        if (t->problems[i].ngrams.slots && t->problems[i].ngrams.level < lowest)
            lowest = t->problems[i].ngrams.level;
    t->n_ngrams = 0;
    for (int64_t i = 0; i < t->n; i++) {
        struct jrl_ngrams *g = &t->problems[i].ngrams;

        if (g->slots && g->level == lowest && lowest < JRL_NGRAMS_MAX_LEVEL)
            jrl_ngrams_thin(g);
        t->n_ngrams += g->slots ? g->n : 0;
    }
}

/* What is read from the text itself: the rest of it is not kept. */
static void read_text(struct jrl_tally *t, struct jrl_tally_problem *p, struct jrl_tally_sample *sample, struct jrl_text text)
{
    const int64_t max = t->max_ngrams ? t->max_ngrams : JRL_TALLY_NGRAMS;

    sample->boxed = text.data ? memmem(text.data, text.len_bytes, "boxed", 5) != NULL : -1;
    if (!text.data || (p->samples > 0 && p->n > p->samples)) /* one too many: jrl_tally_finish says so */
        return;
    t->n_ngrams -= p->ngrams.n;
    jrl_ngrams_add(&p->ngrams, text);
    t->n_ngrams += p->ngrams.n;
    if (p->n == p->samples) {
        close_ngrams(t, p);
        return;
    }
    /* Down to three quarters, so that this does not happen with every rollout. */
    if (t->n_ngrams > max)
        for (int i = 0; i < JRL_NGRAMS_MAX_LEVEL && 4 * t->n_ngrams > 3 * max; i++)
            thin_ngrams(t);
}

static struct jrl_tally_sample *new_sample(struct jrl_tally_problem *p)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 4;
        p->list = jrl_xrealloc(p->list, (size_t)p->cap, sizeof(*p->list));
    }
    return &p->list[p->n++];
}

int jrl_tally_add(struct jrl_tally *t, const struct jrl_verified *r, struct jrl_error *err)
{
    int64_t source = jrl_index_put(&t->texts, r->source.data, r->source.len_bytes, NULL);
    uint64_t key[3] = { (uint64_t)source, r->uid, (uint64_t)r->draw };
    struct jrl_tally_problem *p;
    struct jrl_tally_sample *sample;
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
    sample = new_sample(p);
    *sample = (struct jrl_tally_sample){
        .sample = r->samples > 0 ? r->sample : p->n - 1, .n_tokens = r->n_tokens, .answer = r->answer, .entropy = r->entropy,
        .reward = r->reward, .also = r->also, .also_right = r->also_right, .correct = r->correct, .answered = r->answered,
        .by_rules = r->by_rules, .by_judge = r->by_judge, .truncated = (int8_t)r->truncated, .judgement = (int8_t)r->judgement
    };
    read_text(t, p, sample, r->text);
    return JRL_OK;
}

static int compare_samples(const void *a, const void *b)
{
    const struct jrl_tally_sample *x = a, *y = b;

    return (x->sample > y->sample) - (x->sample < y->sample);
}

static int compare_texts(struct jrl_text a, struct jrl_text b)
{
    size_t len = a.len_bytes < b.len_bytes ? a.len_bytes : b.len_bytes;
    int order = len ? memcmp(a.data, b.data, len) : 0;

    return order ? order : (a.len_bytes > b.len_bytes) - (a.len_bytes < b.len_bytes);
}

/* Order of (source, uid). */
static int compare_names(struct jrl_text source_a, uint64_t uid_a, struct jrl_text source_b, uint64_t uid_b)
{
    int order = compare_texts(source_a, source_b);

    return order ? order : (uid_a > uid_b) - (uid_a < uid_b);
}

/* Two problems, perhaps of two tallies, in the order of (source, uid, draw). */
static int compare_in(const struct jrl_tally *t, const struct jrl_tally_problem *x, const struct jrl_tally *u, const struct jrl_tally_problem *y)
{
    int order = compare_names(jrl_index_key(&t->texts, x->source), x->uid, jrl_index_key(&u->texts, y->source), y->uid);

    return order ? order : (x->draw > y->draw) - (x->draw < y->draw);
}

static int compare_problems(const void *a, const void *b, void *ctx)
{
    return compare_in(ctx, a, ctx, b);
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

        close_ngrams(t, p);
        qsort(p->list, (size_t)p->n, sizeof(*p->list), compare_samples);
        if ((rc = check_problem(t, p, partial, err)) < 0)
            return rc;
    }
    return JRL_OK;
}

int jrl_tally_expect(const struct jrl_tally *t, struct jrl_text source, uint64_t uid, struct jrl_error *err)
{
    for (int64_t low = 0, high = t->n; low < high;) {
        int64_t middle = low + (high - low) / 2;
        const struct jrl_tally_problem *p = &t->problems[middle];
        int order = compare_names(source, uid, jrl_index_key(&t->texts, p->source), p->uid);

        if (order == 0)
            return JRL_OK;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return jrl_fail(err, JRL_ERR_INPUT, "problem uid %" PRIu64 " of source '%.*s' has no rollouts", uid, (int)source.len_bytes, source.data);
}

int jrl_tally_pair(struct jrl_tally *t, const char *name, const struct jrl_tally *other, const char *other_name, struct jrl_error *err)
{
    char text[NAME_SIZE];

    for (int64_t i = 0; i < t->n || i < other->n; i++) {
        int order = i == t->n ? 1 : i == other->n ? -1 : compare_in(t, &t->problems[i], other, &other->problems[i]);

        if (order < 0)
            return jrl_fail(err, JRL_ERR_INPUT, "%s is in %s and not in %s", name_of(t, &t->problems[i], text), name, other_name);
        if (order > 0)
            return jrl_fail(err, JRL_ERR_INPUT, "%s is in %s and not in %s", name_of(other, &other->problems[i], text), other_name, name);
        t->problems[i].other = (double)jrl_problem_correct(&other->problems[i]) / (double)other->problems[i].n;
    }
    return JRL_OK;
}
