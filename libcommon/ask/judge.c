/* judge.c - see judge.h. */
#include "ask/judge.h"

#include <string.h>

#include "base/file.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { FIELD_QUESTION, FIELD_ANSWER, FIELD_RESPONSE, N_FIELDS };
static const char *const field_names[N_FIELDS] = { "question", "answer", "response" };

enum { MAX_PROMPT_BYTES = 1 << 20 };

/* SHA-256 of CompassVerifier's prompt (src/prompts.py of its repository, the same text in JustRL's evaluation) filled with
 * the question Q, the answer G and the response R. */
static const char compass_digest[] = "6b4c19737126514a2384315cd1e5a76be7c56475b6ed7c2f0682f2cf2e3d9c97";

static void fill(const struct jrl_judge_prompt *p, const struct jrl_judge_case *c, struct jrl_buffer *out)
{
    const struct jrl_text values[N_FIELDS] = { [FIELD_QUESTION] = c->question, [FIELD_ANSWER] = c->answer, [FIELD_RESPONSE] = c->response };

    out->len = 0;
    jrl_fields_fill(&p->fields, values, out);
}

int jrl_judge_prompt_read(struct jrl_judge_prompt *p, const char *path, struct jrl_error *err)
{
    const struct jrl_judge_case letters = { { "Q", 1 }, { "G", 1 }, { "R", 1 } };
    struct jrl_buffer text = { 0 };
    char digest[JRL_SHA256_SIZE];
    int rc = jrl_file_or_pipe_read(&text, path, MAX_PROMPT_BYTES, err);

    if (rc == JRL_OK && jrl_utf8_valid_len(text.data, text.len) < text.len)
        rc = jrl_fail(err, JRL_ERR_USAGE, "'%s' is not UTF-8", path);
    if (rc == JRL_OK && (rc = jrl_fields_parse(&p->fields, jrl_buffer_str(&text), text.len, field_names, N_FIELDS, err)) < 0)
        jrl_fail_prefix(err, "'%s'", path);
    if (rc == JRL_OK) {
        jrl_sha256_hex(p->digest, text.data, text.len);
        fill(p, &letters, &text);
        jrl_sha256_hex(digest, text.data, text.len);
        p->compass = strcmp(digest, compass_digest) == 0;
    }
    jrl_buffer_release(&text);
    return rc;
}

void jrl_judge_prompt_release(struct jrl_judge_prompt *p)
{
    jrl_fields_release(&p->fields);
}

/* ---- a prompt that fits ---- */

struct fitting {
    const struct jrl_judge_prompt *prompt;
    const struct jrl_judge_case *whole;
    const struct jrl_chat_model *policy;
    struct jrl_tokens *tokens;
    int64_t max_tokens, n_cut;
    struct jrl_buffer response, text; /* what was kept, and all of the prompt */
    struct jrl_error *err;
};

static bool inside_character(char byte) { return ((unsigned char)byte & 0xc0) == 0x80; }

static int64_t count_characters(const char *text, size_t len)
{
    int64_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += !inside_character(text[i]);
    return n;
}

/* The prompt with KEPT bytes of the response, or fewer where a character would be cut: JRL_OK, JRL_EOF when it is too long. */
static int try_kept(struct fitting *f, size_t kept)
{
    const struct jrl_text *r = &f->whole->response;
    struct jrl_judge_case c = *f->whole;
    int rc;

    f->n_cut = 0;
    if (kept < r->len_bytes) {
        size_t head = (kept + 1) / 2, tail = r->len_bytes - kept / 2; /* where the end begins */

        while (head > 0 && inside_character(r->data[head]))
            head--;
        while (tail < r->len_bytes && inside_character(r->data[tail]))
            tail++;
        f->response.len = 0;
        jrl_buffer_append(&f->response, r->data, head);
        jrl_buffer_append_str(&f->response, "\n...\n");
        jrl_buffer_append(&f->response, r->data + tail, r->len_bytes - tail);
        c.response = (struct jrl_text){ jrl_buffer_str(&f->response), f->response.len };
        f->n_cut = count_characters(r->data + head, tail - head);
    }
    fill(f->prompt, &c, &f->text);
    f->tokens->n = 0;
    rc = jrl_chat_encode(&f->policy->chat, f->policy->tokenizer, NULL, 0, jrl_buffer_str(&f->text), f->text.len, f->tokens, f->err);
    return rc < 0 ? rc : (int64_t)f->tokens->n > f->max_tokens ? JRL_EOF : JRL_OK;
}

/* The most that fits. More text is more tokens, nearly: where it is not, another length than the very longest is found, the
 * same one each time. From below, so that no response is encoded that is far too long. */
static int try_most(struct fitting *f)
{
    const size_t n = f->whole->response.len_bytes;
    size_t low = 0, high = (size_t)f->max_tokens * 8; /* low fits, as far as we know; high does not */
    int rc = JRL_OK;

    while (high < n && (rc = try_kept(f, high)) == JRL_OK) {
        low = high;
        high *= 2;
    }
    if (rc < 0 || (high >= n && (rc = try_kept(f, n)) != JRL_EOF))
        return rc;
    high = high < n ? high : n;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;

        if ((rc = try_kept(f, middle)) < 0)
            return rc;
        if (rc == JRL_OK)
            low = middle;
        else
            high = middle;
    }
    return try_kept(f, low);
}

int jrl_judge_encode(struct jrl_tokens *tokens, const struct jrl_judge_prompt *p, const struct jrl_judge_case *c, const struct jrl_chat_model *policy,
                     int64_t max_tokens, bool cut, int64_t *n_cut, struct jrl_error *err)
{
    struct fitting f = { .prompt = p, .whole = c, .policy = policy, .tokens = tokens, .max_tokens = max_tokens, .err = err };
    int rc = cut ? try_most(&f) : try_kept(&f, c->response.len_bytes);

    *n_cut = f.n_cut;
    jrl_buffer_release(&f.response);
    jrl_buffer_release(&f.text);
    return rc;
}

/* ---- the verdict ---- */

struct jrl_text jrl_judge_verdict(struct jrl_text output)
{
    return jrl_unicode_trim(output);
}

bool jrl_judge_accepts(struct jrl_text verdict)
{
    return verdict.len_bytes == 1 && verdict.data[0] == 'A';
}
