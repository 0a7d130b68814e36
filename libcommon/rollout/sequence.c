/* sequence.c - the tokens and pages of one sequence. */
#include "rollout/sequence.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void jrl_sequence_init(struct jrl_sequence *s, int64_t sample, const uint32_t *tokens, int64_t n_tokens, int64_t max_pages)
{
    *s = (struct jrl_sequence){ .sample = sample, .n_tokens = n_tokens, .capacity = sample < 0 ? n_tokens : n_tokens + 64 };
    s->tokens = jrl_xmalloc((size_t)s->capacity * sizeof *s->tokens);
    memcpy(s->tokens, tokens, (size_t)n_tokens * sizeof *tokens);
    s->pages = jrl_xcalloc((size_t)max_pages, sizeof *s->pages);
}

void jrl_sequence_release(struct jrl_engine *e, struct jrl_sequence *s)
{
    jrl_sequence_drop_pages(e, s);
    free(s->tokens);
    free(s->pages);
    free(s->logprobs);
    free(s->entropies);
    s->tokens = NULL;
    s->pages = NULL;
    s->logprobs = s->entropies = NULL;
}

void jrl_sequence_drop_pages(struct jrl_engine *e, struct jrl_sequence *s)
{
    for (int64_t i = 0; i < s->n_pages; i++)
        jrl_page_drop(&e->pages, s->pages[i]);
    s->n_pages = s->n_cached = 0;
}

void jrl_sequence_share(struct jrl_engine *e, struct jrl_sequence *s, const struct jrl_sequence *from, int64_t n_pages)
{
    for (; s->n_pages < n_pages; s->n_pages++) {
        s->pages[s->n_pages] = from->pages[s->n_pages];
        jrl_page_share(&e->pages, s->pages[s->n_pages]);
    }
}

void jrl_sequence_append(struct jrl_sequence *s, int64_t n_prompt, uint32_t token, float logprob, float entropy, bool keep_entropy)
{
    int64_t i = s->n_tokens - n_prompt;

    if (s->n_tokens == s->capacity || !s->logprobs) {
        s->capacity = s->n_tokens == s->capacity ? s->capacity * 2 : s->capacity;
        s->tokens = jrl_xrealloc(s->tokens, (size_t)s->capacity, sizeof *s->tokens);
        s->logprobs = jrl_xrealloc(s->logprobs, (size_t)(s->capacity - n_prompt), sizeof *s->logprobs);
        if (keep_entropy)
            s->entropies = jrl_xrealloc(s->entropies, (size_t)(s->capacity - n_prompt), sizeof *s->entropies);
    }
    s->tokens[s->n_tokens++] = token;
    s->logprobs[i] = logprob;
    if (keep_entropy)
        s->entropies[i] = entropy;
    s->entropy_sum += (double)entropy;
}
