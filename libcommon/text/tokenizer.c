/* tokenizer.c - text to ids and back: added tokens, normalisation, pre-tokenising, BPE in that order,
 * as the Hugging Face library does it. Reading the file is tokenizer_load.c. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_private.h"
#include "text/utf8.h"

void jrl_tokens_release(struct jrl_tokens *t)
{
    free(t->ids);
    *t = (struct jrl_tokens){ 0 };
}

void jrl_tokens_push(struct jrl_tokens *t, uint32_t id)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->ids = jrl_xrealloc(t->ids, t->cap, sizeof *t->ids);
    }
    t->ids[t->n++] = id;
}

int jrl_tokenizer_open(struct jrl_tokenizer **out, const char *policy_dir, struct jrl_error *err)
{
    struct jrl_tokenizer *t = jrl_xcalloc(1, sizeof *t);
    int rc;

    *out = NULL;
    t->shared = jrl_xcalloc(1, sizeof *t->shared);
    pthread_mutex_init(&t->shared->lock, NULL);
    rc = jrl_tokenizer_load(t, policy_dir, err);
    if (rc < 0)
        jrl_tokenizer_free(t);
    else
        *out = t;
    return rc;
}

void jrl_tokenizer_free(struct jrl_tokenizer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_added; i++) {
        free(t->added[i].content);
        free(t->added[i].written);
    }
    free(t->added);
    free(t->added_by_id);
    jrl_vocab_release(&t->bpe.vocab);
    jrl_pretokenizer_release(&t->pretokenizer);
    pthread_mutex_destroy(&t->shared->lock);
    jrl_bpe_cache_release(&t->shared->cache);
    jrl_pretokenizer_scratch_release(&t->shared->scratch);
    free(t->shared);
    free(t);
}

/* One encoding in progress. */
struct encoding {
    const struct jrl_tokenizer *t;
    struct jrl_bpe_cache *cache; /* NULL: another thread has it */
    struct jrl_pretokenizer_scratch *scratch;
    struct jrl_tokens *out;
    struct jrl_error *err;
};

/* Which added tokens a pass over the text looks for. Hugging Face looks for those that are not
 * `normalized` first, then normalises what lies between, and looks for the others there. When only
 * parts of the text may hold tokens, both kinds are looked for before normalising, since the parts'
 * borders are known only then. */
enum kinds { KINDS_RAW, KINDS_NORMALIZED, KINDS_BOTH };

static void piece_to_ids(void *ctx, const uint8_t *piece, size_t len_bytes)
{
    struct encoding *e = ctx;

    jrl_bpe_encode(&e->t->bpe, e->cache, piece, len_bytes, e->out);
}

/* The longest added token at text[at..limit-1], or NULL. */
static const struct jrl_added *added_at(const struct jrl_tokenizer *t, const uint8_t *text, size_t at, size_t limit, enum kinds kinds)
{
    uint8_t first = text[at];

    for (uint32_t i = t->added_begin[first]; i < t->added_begin[first + 1]; i++) {
        const struct jrl_added *a = &t->added[i];

        if ((kinds == KINDS_BOTH || a->normalized == (kinds == KINDS_NORMALIZED)) && a->len_bytes <= limit - at &&
            !memcmp(text + at, a->content, a->len_bytes))
            return a;
    }
    return NULL;
}

/* White space that ends before END is taken by a token with lstrip; returns where it begins. */
static size_t strip_left(const uint8_t *text, size_t begin, size_t end)
{
    while (end > begin) {
        size_t at = end - 1;
        uint32_t c;

        while (at > begin && (text[at] & 0xC0) == 0x80)
            at--;
        if (jrl_utf8_next(text + at, end - at, &c) < 0 || !jrl_is_white_space(c))
            break;
        end = at;
    }
    return end;
}

static size_t strip_right(const uint8_t *text, size_t begin, size_t end)
{
    while (begin < end) {
        uint32_t c;
        int n = jrl_utf8_next(text + begin, end - begin, &c);

        if (n < 0 || !jrl_is_white_space(c))
            break;
        begin += (size_t)n;
    }
    return begin;
}

static int encode_between(struct encoding *e, const uint8_t *text, size_t len_bytes, enum kinds searched);

/* Cut TEXT at its added tokens and pass on what lies between. The SPANS cover the text. */
static int encode_cut(struct encoding *e, const uint8_t *text, size_t len_bytes, const struct jrl_text_span *spans, enum kinds kinds)
{
    size_t done = 0, at = 0, limit = spans->len_bytes;
    int rc;

    while (at < len_bytes) {
        const struct jrl_added *a;
        size_t begin;

        while (at >= limit)
            limit += (++spans)->len_bytes;
        a = spans->parse_special ? added_at(e->t, text, at, limit, kinds) : NULL;
        if (!a) {
            at++;
            continue;
        }
        begin = a->lstrip ? strip_left(text, done, at) : at;
        if ((rc = encode_between(e, text + done, begin - done, kinds)) < 0)
            return rc;
        jrl_tokens_push(e->out, a->id);
        at += a->len_bytes;
        if (a->rstrip)
            at = strip_right(text, at, len_bytes);
        done = at;
    }
    return encode_between(e, text + done, len_bytes - done, kinds);
}

static int encode_plain(struct encoding *e, const uint8_t *text, size_t len_bytes, enum kinds searched)
{
    struct jrl_text_span whole = { (const char *)text, len_bytes, true };

    if (searched == KINDS_RAW)
        return encode_cut(e, text, len_bytes, &whole, KINDS_NORMALIZED);
    return jrl_pretokenize(&e->t->pretokenizer, e->scratch, text, len_bytes, piece_to_ids, e, e->err);
}

/* Text without added tokens of the kinds already SEARCHED. */
static int encode_between(struct encoding *e, const uint8_t *text, size_t len_bytes, enum kinds searched)
{
    struct jrl_buffer form = { 0 };
    int rc;

    if (!len_bytes)
        return JRL_OK;
    if (searched == KINDS_NORMALIZED || !e->t->nfc || jrl_utf8_surely_nfc(text, len_bytes))
        return encode_plain(e, text, len_bytes, searched);
    rc = jrl_utf8_nfc(&form, text, len_bytes, e->err);
    if (rc == JRL_OK)
        rc = encode_plain(e, form.data, form.len, searched);
    jrl_buffer_release(&form);
    return rc;
}

/* Take the shared cache if it is free, else scratch of our own; encode; give it back. */
static int encode_text(const struct jrl_tokenizer *t, const uint8_t *text, size_t len_bytes, const struct jrl_text_span *spans,
                       enum kinds kinds, struct jrl_tokens *out, struct jrl_error *err)
{
    struct jrl_pretokenizer_scratch own = { 0 };
    bool shared = pthread_mutex_trylock(&t->shared->lock) == 0;
    struct encoding e = { t, shared ? &t->shared->cache : NULL, shared ? &t->shared->scratch : &own, out, err };
    int rc = encode_cut(&e, text, len_bytes, spans, kinds);

    if (shared)
        pthread_mutex_unlock(&t->shared->lock);
    jrl_pretokenizer_scratch_release(&own);
    return rc;
}

static int check_utf8(const char *text, size_t len_bytes, struct jrl_error *err)
{
    size_t valid = jrl_utf8_valid_len(text, len_bytes);

    return valid == len_bytes ? JRL_OK : jrl_fail(err, JRL_ERR_INPUT, "text is not UTF-8 at byte %zu", valid);
}

int jrl_tokenizer_encode(const struct jrl_tokenizer *t, const char *text, size_t len_bytes, bool parse_special,
                         struct jrl_tokens *out, struct jrl_error *err)
{
    struct jrl_text_span span = { text, len_bytes, parse_special };
    int rc = check_utf8(text, len_bytes, err);

    return rc < 0 || !len_bytes ? rc : encode_text(t, (const uint8_t *)text, len_bytes, &span, KINDS_RAW, out, err);
}

int jrl_tokenizer_encode_spans(const struct jrl_tokenizer *t, const struct jrl_text_span *spans, size_t n_spans,
                               struct jrl_tokens *out, struct jrl_error *err)
{
    struct jrl_buffer joined = { 0 };
    int rc = JRL_OK;

    for (size_t i = 0; i < n_spans && rc == JRL_OK; i++) {
        rc = check_utf8(spans[i].text, spans[i].len_bytes, err);
        jrl_buffer_append(&joined, spans[i].text, spans[i].len_bytes);
    }
    if (rc == JRL_OK && joined.len)
        rc = encode_text(t, joined.data, joined.len, spans, KINDS_BOTH, out, err);
    jrl_buffer_release(&joined);
    return rc;
}

static const struct jrl_added *added_of(const struct jrl_tokenizer *t, uint32_t id)
{
    return id < t->n_ids && t->added_by_id[id] >= 0 ? &t->added[t->added_by_id[id]] : NULL;
}

int jrl_tokenizer_decode(const struct jrl_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special,
                         struct jrl_buffer *out, struct jrl_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct jrl_added *a = added_of(t, ids[i]);
        const struct jrl_token *token;

        if (a) {
            if (!skip_special || !a->special)
                jrl_buffer_append(out, a->written, a->written_len);
            continue;
        }
        token = ids[i] < t->bpe.vocab.n_ids ? &t->bpe.vocab.tokens[ids[i]] : NULL;
        if (!token || !token->present)
            return jrl_fail(err, JRL_ERR_INPUT, "the tokenizer has no token with id %u", ids[i]);
        jrl_buffer_append(out, t->bpe.vocab.bytes.data + token->offset, token->len_bytes);
    }
    return JRL_OK;
}

int64_t jrl_tokenizer_n_ids(const struct jrl_tokenizer *t)
{
    return t->n_ids;
}

bool jrl_tokenizer_is_special(const struct jrl_tokenizer *t, uint32_t id)
{
    const struct jrl_added *a = added_of(t, id);

    return a && a->special;
}

int64_t jrl_tokenizer_id(const struct jrl_tokenizer *t, const char *token)
{
    struct jrl_buffer bytes = { 0 };
    uint32_t id;
    bool foreign;

    for (size_t i = 0; i < t->n_added; i++)
        if (!strcmp(t->added[i].written, token))
            return t->added[i].id;
    foreign = jrl_vocab_unspell(&bytes, token, strlen(token));
    id = jrl_vocab_find(&t->bpe.vocab, bytes.data, bytes.len, foreign);
    jrl_buffer_release(&bytes);
    return id == JRL_NO_ID ? -1 : (int64_t)id;
}

int64_t jrl_tokenizer_eos(const struct jrl_tokenizer *t)
{
    return t->eos;
}
