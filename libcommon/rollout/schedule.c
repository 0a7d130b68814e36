/* schedule.c - which sequences the next step feeds, and where their pages come from.
 *
 * Order of importance: the group added first, in a group its prompt, then its samples. Places and pages are given in
 * that order; when pages run out, the least important holder loses all of its own and is computed again later. So the
 * most important sequence always advances, and the cache needs to hold only one sequence of full length. */
#include "rollout/sequence.h"

int64_t jrl_pages_for(int64_t n_tokens)
{
    return (n_tokens + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS;
}

/* The least important sequence that holds pages, if it is less important than S of group G. A group's sequences are
 * its prompt or its samples, never both. */
static struct jrl_sequence *find_victim(struct jrl_engine *e, struct jrl_sequence_group *g, const struct jrl_sequence *s)
{
    for (struct jrl_sequence_group *v = e->tail; v; v = v->prev) {
        for (int64_t i = v->samples ? v->n_samples : 0; i-- > 0;) {
            if (&v->samples[i] == s)
                return NULL;
            if (v->samples[i].n_pages)
                return &v->samples[i];
        }
        if (v == g)
            return NULL;
        if (v->prompt.n_pages)
            return &v->prompt;
    }
    return NULL;
}

static void stop_running(struct jrl_engine *e, struct jrl_sequence *s)
{
    s->state = JRL_SEQ_WAITING;
    jrl_sequence_drop_pages(e, s);
    e->stats.preempted++;
}

/* A free page: a copy of ORIGINAL, or a zeroed one when that is NULL. Preempts less important sequences for it; NULL
 * when there are none left. */
static uint8_t *find_page(struct jrl_engine *e, struct jrl_sequence_group *g, struct jrl_sequence *s, uint8_t *original)
{
    struct jrl_sequence *victim;
    uint8_t *page;

    while (!(page = original ? jrl_page_copy(&e->pages, original) : jrl_page_take(&e->pages))) {
        if (!(victim = find_victim(e, g, s)))
            return NULL;
        stop_running(e, victim);
    }
    return page;
}

/* Pages for the positions n_cached .. n_cached + n - 1, no one else's. */
static bool make_room(struct jrl_engine *e, struct jrl_sequence_group *g, struct jrl_sequence *s, int64_t n)
{
    int64_t partial = s->n_cached / JRL_PAGE_TOKENS;
    uint8_t *page;

    if (s->n_cached % JRL_PAGE_TOKENS && jrl_page_references(&e->pages, s->pages[partial]) > 1) {
        if (!(page = find_page(e, g, s, s->pages[partial])))
            return false;
        s->pages[partial] = page;
    }
    while (s->n_pages < jrl_pages_for(s->n_cached + n)) {
        if (!(page = find_page(e, g, s, NULL)))
            return false;
        s->pages[s->n_pages++] = page;
    }
    return true;
}

/* Tokens that two sequences begin with alike, MOST of them at most. */
static int64_t common_prefix(const struct jrl_sequence *a, const struct jrl_sequence *b, int64_t most)
{
    int64_t n = 0;

    while (n < most && a->tokens[n] == b->tokens[n])
        n++;
    return n;
}

/* DONOR when it has more than *n_pages full pages of tokens that S begins with, else BEST. One token of S is left to be fed. */
static const struct jrl_sequence *better_donor(const struct jrl_sequence *s, const struct jrl_sequence *best, const struct jrl_sequence *donor, int64_t *n_pages)
{
    const int64_t most = donor->n_cached < s->n_tokens - 1 ? donor->n_cached : s->n_tokens - 1;
    int64_t n;

    if (donor == s || most / JRL_PAGE_TOKENS <= *n_pages || (n = common_prefix(s, donor, most) / JRL_PAGE_TOKENS) <= *n_pages)
        return best;
    *n_pages = n;
    return donor;
}

/* What another sequence has computed of the same tokens need not be computed again: its full pages are shared. So prompts
 * that begin alike, those of a judge most of all, and samples that lost their pages, begin where they differ. */
static void share_prefix(struct jrl_engine *e, struct jrl_sequence *s)
{
    const struct jrl_sequence *donor = NULL;
    int64_t n_pages = s->n_cached / JRL_PAGE_TOKENS;

    for (const struct jrl_sequence_group *g = e->head; g; g = g->next) {
        donor = better_donor(s, donor, &g->prompt, &n_pages);
        for (int64_t i = 0; g->samples && i < g->n_samples; i++)
            donor = better_donor(s, donor, &g->samples[i], &n_pages);
    }
    if (!donor)
        return;
    e->stats.shared_tokens += n_pages * JRL_PAGE_TOKENS - s->n_cached;
    jrl_sequence_drop_pages(e, s);
    jrl_sequence_share(e, s, donor, n_pages);
    s->n_cached = n_pages * JRL_PAGE_TOKENS;
}

/* How the places are taken. */
struct occupancy {
    int64_t active;    /* running sequences, prompts included */
    int64_t running;   /* running samples */
    int64_t committed; /* unfinished samples whose prompt is running or done: they will take places */
};

static struct occupancy count_places(const struct jrl_engine *e)
{
    struct occupancy o = { 0 };

    for (const struct jrl_sequence_group *g = e->head; g; g = g->next) {
        bool prompt_runs = g->prompt.state == JRL_SEQ_RUNNING;

        o.active += prompt_runs;
        if (g->samples || prompt_runs)
            o.committed += g->n_samples - g->n_done;
        for (int64_t i = 0; g->samples && i < g->n_samples; i++)
            o.running += g->samples[i].state == JRL_SEQ_RUNNING;
    }
    o.active += o.running;
    return o;
}

/* Is there memory for all tokens of the sequence and its next page, leaving one page for each that runs? Alone, a
 * sequence may always start. */
static bool fits(const struct jrl_engine *e, const struct jrl_sequence *s, int64_t active)
{
    int64_t need = jrl_pages_for(s->n_tokens + s->n_promised + 1) - s->n_pages + 1;

    return active == 0 || e->pages.n_pages - e->pages.n_used >= need + active;
}

/* Give places to waiting sequences, most important first; the first that does not fit ends it, so that none starves. */
static void admit(struct jrl_engine *e)
{
    struct occupancy o = count_places(e);

    for (struct jrl_sequence_group *g = e->head; g; g = g->next) {
        if (g->prompt.state == JRL_SEQ_WAITING) {
            if (o.committed >= e->limits.max_seqs || !fits(e, &g->prompt, o.active))
                return;
            g->prompt.state = JRL_SEQ_RUNNING;
            o.committed += g->n_samples;
            o.active++;
        }
        for (int64_t i = 0; g->samples && g->n_done < g->n_samples && i < g->n_samples; i++) {
            struct jrl_sequence *s = &g->samples[i];

            if (s->state != JRL_SEQ_WAITING)
                continue;
            if (o.running >= e->limits.max_seqs || !fits(e, s, o.active))
                return;
            s->state = JRL_SEQ_RUNNING;
            o.running++;
            o.active++;
        }
    }
}

/* Put the next tokens of one running sequence into the plan: one token of a response, a chunk of what is longer. */
static void plan_sequence(struct jrl_engine *e, struct jrl_sequence_group *g, struct jrl_sequence *s, int64_t *prefill_left)
{
    int64_t pending = s->n_tokens + s->n_promised - s->n_cached, n = 1;

    if (s->state != JRL_SEQ_RUNNING || (s->sample >= 0 && s->n_tokens + s->n_promised - g->n_prompt == e->sampling.max_tokens))
        return; /* its last token is under way */
    if (pending > 1) {
        if (*prefill_left == 0)
            return;
        share_prefix(e, s);
        pending = s->n_tokens + s->n_promised - s->n_cached;
        n = pending < *prefill_left ? pending : *prefill_left;
    }
    if (!make_room(e, g, s, n)) {
        stop_running(e, s);
        return;
    }
    if (pending > 1) {
        *prefill_left -= n;
        e->prefilling = true;
    }
    e->spans[e->n_spans] = (struct jrl_span){ s->tokens + s->n_cached, n, s->n_cached, s->pages };
    e->fed[e->n_spans] = s;
    e->fed_group[e->n_spans] = g;
    e->n_rows += n;
    if (n == pending) {
        e->logits_rows[e->n_logits] = e->n_rows - 1;
        e->logits_span[e->n_logits++] = e->n_spans;
    }
    e->n_spans++;
}

void jrl_schedule(struct jrl_engine *e)
{
    int64_t prefill_left = e->limits.prefill_tokens;

    e->n_spans = e->n_rows = e->n_logits = 0;
    e->prefilling = false;
    admit(e);
    for (struct jrl_sequence_group *g = e->head; g; g = g->next) {
        plan_sequence(e, g, &g->prompt, &prefill_left);
        for (int64_t i = 0; g->samples && g->n_done < g->n_samples && i < g->n_samples; i++)
            plan_sequence(e, g, &g->samples[i], &prefill_left);
    }
}
