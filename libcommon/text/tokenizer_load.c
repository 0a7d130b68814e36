/* tokenizer_load.c - reads tokenizer.json and the end token of tokenizer_config.json. The vocabulary
 * and the merges are scanned in place; all else goes through jansson. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "text/json_scan.h"
#include "text/tokenizer_private.h"
#include "text/utf8.h"

enum { MAX_CONFIG_BYTES = 64 << 20, MAX_ADDED = 65536 };
#define MAX_FILE_BYTES (256u << 20)

/* The two members of `model` that are scanned, as ranges of the text; begin == end: not there. */
struct ranges { size_t vocab, vocab_end, merges, merges_end; };

/* Walk one object's members: calls back for keys of interest, skips the values of others. */
static int find_ranges(struct jrl_scan *s, struct ranges *r, bool in_model)
{
    struct jrl_buffer scratch = { 0 };
    bool more = true;
    int rc = jrl_scan_expect(s, '{');

    if (rc == JRL_OK && jrl_scan_peek(s) == '}')
        more = false, s->at++;
    while (rc == JRL_OK && more) {
        const char *key;
        size_t len, begin;

        if ((rc = jrl_scan_string(s, &scratch, &key, &len)) < 0 || (rc = jrl_scan_expect(s, ':')) < 0)
            break;
        if (!in_model && len == 5 && !memcmp(key, "model", 5) && jrl_scan_peek(s) == '{') {
            rc = find_ranges(s, r, true);
        } else {
            bool vocab = in_model && len == 5 && !memcmp(key, "vocab", 5);
            bool merges = in_model && len == 6 && !memcmp(key, "merges", 6);

            if ((vocab && r->vocab) || (merges && r->merges)) {
                rc = jrl_scan_fail(s, vocab ? "'vocab' is there twice" : "'merges' is there twice");
                break;
            }
            (void)jrl_scan_peek(s);
            begin = s->at;
            rc = jrl_scan_skip(s);
            if (vocab)
                r->vocab = begin, r->vocab_end = s->at;
            if (merges)
                r->merges = begin, r->merges_end = s->at;
        }
        if (rc == JRL_OK)
            rc = jrl_scan_more(s, '}', &more);
    }
    jrl_buffer_release(&scratch);
    return rc;
}

/* Copy text[from..to) as null and its line breaks, so that jansson's line numbers stay right. */
static void blank(struct jrl_buffer *out, const char *text, size_t from, size_t to)
{
    jrl_buffer_append_str(out, "null");
    for (const char *p = text + from; (p = memchr(p, '\n', (size_t)(text + to - p))); p++)
        jrl_buffer_append_byte(out, '\n');
}

static int parse_rest(json_t **root, const char *text, size_t len_bytes, const struct ranges *r, const char *where, struct jrl_error *err)
{
    struct jrl_buffer rest = { 0 };
    bool vocab_first = r->vocab < r->merges;
    size_t a = vocab_first ? r->vocab : r->merges, a_end = vocab_first ? r->vocab_end : r->merges_end;
    size_t b = vocab_first ? r->merges : r->vocab, b_end = vocab_first ? r->merges_end : r->vocab_end;
    int rc;

    jrl_buffer_append(&rest, text, a);
    blank(&rest, text, a, a_end);
    jrl_buffer_append(&rest, text + a_end, b - a_end);
    blank(&rest, text, b, b_end);
    jrl_buffer_append(&rest, text + b_end, len_bytes - b_end);
    rc = jrl_json_parse(root, (const char *)rest.data, rest.len, where, err);
    jrl_buffer_release(&rest);
    return rc;
}

static int load_vocab(struct jrl_vocab *v, struct jrl_scan *s)
{
    struct jrl_buffer scratch = { 0 };
    bool more;
    int rc = jrl_scan_expect(s, '{');

    more = jrl_scan_peek(s) != '}';
    while (rc == JRL_OK && more) {
        const char *text;
        size_t len;
        int64_t id;

        if ((rc = jrl_scan_string(s, &scratch, &text, &len)) < 0 || (rc = jrl_scan_expect(s, ':')) < 0 ||
            (rc = jrl_scan_integer(s, &id)) < 0)
            break;
        rc = jrl_vocab_add(v, text, len, id, s->err);
        if (rc < 0)
            jrl_fail_prefix(s->err, "'%s'", s->where);
        else
            rc = jrl_scan_more(s, '}', &more);
    }
    jrl_buffer_release(&scratch);
    return rc;
}

/* One merge: "left right" or ["left", "right"]. */
static int load_merge(struct jrl_vocab *v, struct jrl_scan *s, struct jrl_buffer *scratch, struct jrl_buffer *scratch2)
{
    const char *left, *right, *space;
    size_t left_len, right_len;
    int rc;

    if (jrl_scan_peek(s) == '[') {
        s->at++;
        if ((rc = jrl_scan_string(s, scratch, &left, &left_len)) < 0 || (rc = jrl_scan_expect(s, ',')) < 0 ||
            (rc = jrl_scan_string(s, scratch2, &right, &right_len)) < 0 || (rc = jrl_scan_expect(s, ']')) < 0)
            return rc;
    } else {
        if ((rc = jrl_scan_string(s, scratch, &left, &left_len)) < 0)
            return rc;
        space = memchr(left, ' ', left_len);
        if (!space || memchr(space + 1, ' ', left_len - (size_t)(space + 1 - left)))
            return jrl_scan_fail(s, "the merge before it is not two tokens with a space between");
        right = space + 1;
        right_len = left_len - (size_t)(right - left);
        left_len = (size_t)(space - left);
    }
    rc = jrl_vocab_add_merge(v, left, left_len, right, right_len, s->err);
    return rc < 0 ? jrl_fail_prefix(s->err, "'%s'", s->where) : rc;
}

static int load_merges(struct jrl_vocab *v, struct jrl_scan *s)
{
    struct jrl_buffer scratch = { 0 }, scratch2 = { 0 };
    bool more;
    int rc = jrl_scan_expect(s, '[');

    more = jrl_scan_peek(s) != ']';
    while (rc == JRL_OK && more) {
        rc = load_merge(v, s, &scratch, &scratch2);
        if (rc == JRL_OK)
            rc = jrl_scan_more(s, ']', &more);
    }
    jrl_buffer_release(&scratch);
    jrl_buffer_release(&scratch2);
    return rc;
}

/* Settings of `model` that are on in some BPE files and that we do not have. */
static int check_model(struct jrl_tokenizer *t, const json_t *model, const char *where, struct jrl_error *err)
{
    const char *type = "BPE", *unknown = NULL, *affix[2] = { "", "" };
    bool byte_fallback = false;
    double dropout = 0;
    int rc;

    t->bpe.unknown_id = JRL_NO_ID;
    if ((rc = jrl_json_get_str(model, "type", &type, where, err)) < 0 ||
        (rc = jrl_json_get_f64(model, "dropout", &dropout, where, err)) < 0 ||
        (rc = jrl_json_get_str(model, "unk_token", &unknown, where, err)) < 0 ||
        (rc = jrl_json_get_bool(model, "fuse_unk", &t->bpe.fuse_unknown, where, err)) < 0 ||
        (rc = jrl_json_get_bool(model, "byte_fallback", &byte_fallback, where, err)) < 0 ||
        (rc = jrl_json_get_bool(model, "ignore_merges", &t->bpe.ignore_merges, where, err)) < 0 ||
        (rc = jrl_json_get_str(model, "continuing_subword_prefix", &affix[0], where, err)) < 0 ||
        (rc = jrl_json_get_str(model, "end_of_word_suffix", &affix[1], where, err)) < 0)
        return rc;
    if (strcmp(type, "BPE"))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': model type '%s' is not supported, only byte-level BPE", where, type);
    if (dropout != 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': model with dropout is not supported", where);
    if (byte_fallback)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': model with byte_fallback (SentencePiece) is not supported, only byte-level BPE", where);
    if (*affix[0] || *affix[1])
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': model with %s is not supported", where,
                        *affix[0] ? "continuing_subword_prefix" : "end_of_word_suffix");
    if (unknown) {
        struct jrl_buffer bytes = { 0 };
        bool foreign = jrl_vocab_unspell(&bytes, unknown, strlen(unknown));

        t->bpe.unknown_id = jrl_vocab_find(&t->bpe.vocab, bytes.data, bytes.len, foreign);
        jrl_buffer_release(&bytes);
        if (t->bpe.unknown_id == JRL_NO_ID)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': unk_token '%s' is not in the vocabulary", where, unknown);
    }
    return JRL_OK;
}

static int load_normalizer(struct jrl_tokenizer *t, const json_t *v, const char *where, struct jrl_error *err)
{
    const char *type = "";
    int rc;

    if (!v || json_is_null(v))
        return JRL_OK;
    if ((rc = jrl_json_get_str(v, "type", &type, where, err)) < 0)
        return rc;
    if (!strcmp(type, "NFC")) {
        t->nfc = true;
        return JRL_OK;
    }
    if (!strcmp(type, "Sequence")) {
        const json_t *list = json_object_get(v, "normalizers");

        for (size_t i = 0; rc == JRL_OK && i < json_array_size(list); i++)
            rc = load_normalizer(t, json_array_get(list, i), where, err);
        return rc;
    }
    return jrl_fail(err, JRL_ERR_INPUT, "'%s': normalizer '%s' is not supported", where, type);
}

/* ByteLevel, alone or in a Sequence; without it the file is not byte-level at all. */
static int check_decoder(const json_t *v, const char *where, struct jrl_error *err)
{
    const char *type = "";
    const json_t *list;
    int rc = jrl_json_get_str(v, "type", &type, where, err);

    if (rc < 0)
        return rc;
    list = !strcmp(type, "Sequence") ? json_object_get(v, "decoders") : NULL;
    if (json_array_size(list) == 1)
        return check_decoder(json_array_get(list, 0), where, err);
    if (strcmp(type, "ByteLevel"))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': decoder '%s' is not supported, only ByteLevel", where, type);
    return JRL_OK;
}

static int load_added(struct jrl_tokenizer *t, struct jrl_added *a, const json_t *v, const char *where, struct jrl_error *err)
{
    struct jrl_buffer bytes = { 0 };
    const char *content = NULL;
    bool single_word = false, foreign;
    int64_t id = -1;
    uint32_t known;
    int rc;

    if ((rc = jrl_json_get_str(v, "content", &content, where, err)) < 0 ||
        (rc = jrl_json_get_i64(v, "id", 0, JRL_MAX_TOKEN_ID, &id, where, err)) < 0 ||
        (rc = jrl_json_get_bool(v, "single_word", &single_word, where, err)) < 0 ||
        (rc = jrl_json_get_bool(v, "special", &a->special, where, err)) < 0 ||
        (rc = jrl_json_get_bool(v, "normalized", &a->normalized, where, err)) < 0 ||
        (rc = jrl_json_get_bool(v, "lstrip", &a->lstrip, where, err)) < 0 ||
        (rc = jrl_json_get_bool(v, "rstrip", &a->rstrip, where, err)) < 0)
        return rc;
    if (!content || !*content || id < 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': an added token has no content or no id", where);
    if (single_word)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': added token '%s' with single_word is not supported", where, content);
    foreign = jrl_vocab_unspell(&bytes, content, strlen(content));
    known = jrl_vocab_find(&t->bpe.vocab, bytes.data, bytes.len, foreign);
    jrl_buffer_release(&bytes);
    if (known != JRL_NO_ID && known != id)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': added token '%s' has id %" PRId64 ", but %u in the vocabulary", where, content, id, known);
    if (known == JRL_NO_ID && id < t->bpe.vocab.n_ids && t->bpe.vocab.tokens[id].present)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': added token '%s' has the id %" PRId64 " of another token", where, content, id);
    a->id = (uint32_t)id;
    a->written = jrl_xstrdup(content);
    a->written_len = strlen(content);
    a->normalized = a->normalized && t->nfc;
    if (a->normalized) {
        struct jrl_buffer form = { 0 };

        if ((rc = jrl_utf8_nfc(&form, (const uint8_t *)content, a->written_len, err)) < 0)
            return rc;
        a->content = jrl_xstrndup((const char *)form.data, form.len);
        a->len_bytes = form.len;
        jrl_buffer_release(&form);
    } else {
        a->content = jrl_xstrdup(content);
        a->len_bytes = a->written_len;
    }
    return JRL_OK;
}

/* By first byte; then longest first, since at one place of the text the longest token wins. */
static int compare_added(const void *a, const void *b)
{
    const struct jrl_added *x = a, *y = b;

    if (x->content[0] != y->content[0])
        return (uint8_t)x->content[0] < (uint8_t)y->content[0] ? -1 : 1;
    if (x->len_bytes != y->len_bytes)
        return x->len_bytes < y->len_bytes ? 1 : -1;
    return strcmp(x->content, y->content);
}

static int load_all_added(struct jrl_tokenizer *t, const json_t *list, const char *where, struct jrl_error *err)
{
    size_t n = json_array_size(list);

    t->n_ids = t->bpe.vocab.n_ids;
    if (n > MAX_ADDED)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': more than %d added tokens", where, MAX_ADDED);
    t->added = jrl_xcalloc(n ? n : 1, sizeof *t->added);
    for (size_t i = 0; i < n; i++) {
        int rc;

        t->n_added = i + 1;
        rc = load_added(t, &t->added[i], json_array_get(list, i), where, err);
        if (rc < 0)
            return rc;
        if (t->added[i].id >= t->n_ids)
            t->n_ids = t->added[i].id + 1;
    }
    qsort(t->added, n, sizeof *t->added, compare_added);
    t->added_by_id = jrl_xcalloc(t->n_ids ? t->n_ids : 1, sizeof *t->added_by_id);
    memset(t->added_by_id, 0xFF, t->n_ids * sizeof *t->added_by_id);
    for (size_t i = 0; i < n; i++) {
        struct jrl_added *a = &t->added[i];

        if (t->added_by_id[a->id] >= 0 || (i && !strcmp(t->added[i - 1].content, a->content)))
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': added token '%s' or its id is there twice", where, a->written);
        t->added_by_id[a->id] = (int32_t)i;
        t->added_begin[(uint8_t)a->content[0] + 1]++;
    }
    for (int b = 0; b < 256; b++)
        t->added_begin[b + 1] += t->added_begin[b];
    return JRL_OK;
}

static int load_file(struct jrl_tokenizer *t, const char *path, const char *text, size_t len_bytes, struct jrl_error *err)
{
    struct jrl_scan scan = { text, 0, len_bytes, path, err };
    struct ranges r = { 0 };
    json_t *root = NULL;
    const json_t *model;
    int rc = find_ranges(&scan, &r, false);

    if (rc < 0)
        return rc;
    if (!r.vocab || !r.merges)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': no %s: only byte-level BPE is supported", path, r.vocab ? "model.merges" : "model.vocab");
    rc = parse_rest(&root, text, len_bytes, &r, path, err);
    if (rc < 0)
        goto out;
    scan = (struct jrl_scan){ text, r.vocab, r.vocab_end, path, err };
    if ((rc = load_vocab(&t->bpe.vocab, &scan)) < 0)
        goto out;
    scan = (struct jrl_scan){ text, r.merges, r.merges_end, path, err };
    if ((rc = load_merges(&t->bpe.vocab, &scan)) < 0)
        goto out;
    jrl_vocab_finish(&t->bpe.vocab);
    model = json_object_get(root, "model");
    /* `truncation`, `padding` and `post_processor` change nothing here: Hugging Face's callers switch
     * the first two off, and begin-of-text tokens are spelled out by the chat templates. */
    if ((rc = check_model(t, model, path, err)) < 0 ||
        (rc = load_normalizer(t, json_object_get(root, "normalizer"), path, err)) < 0 ||
        (rc = jrl_pretokenizer_load(&t->pretokenizer, json_object_get(root, "pre_tokenizer"), path, err)) < 0 ||
        (rc = check_decoder(json_object_get(root, "decoder"), path, err)) < 0)
        goto out;
    rc = load_all_added(t, json_object_get(root, "added_tokens"), path, err);
out:
    json_decref(root);
    return rc;
}

/* eos_token: a string, or an object with `content`. */
static int load_config(struct jrl_tokenizer *t, const char *path, struct jrl_error *err)
{
    json_t *root = NULL;
    const json_t *eos;
    struct stat st;
    int rc;

    if (stat(path, &st) < 0)
        return JRL_OK;
    rc = jrl_json_read_file(&root, path, MAX_CONFIG_BYTES, err);
    if (rc == JRL_OK) {
        eos = json_object_get(root, "eos_token");
        if (json_is_object(eos))
            eos = json_object_get(eos, "content");
        if (json_is_string(eos))
            t->eos = jrl_tokenizer_id(t, json_string_value(eos));
    }
    json_decref(root);
    return rc;
}

int jrl_tokenizer_load(struct jrl_tokenizer *t, const char *policy_dir, struct jrl_error *err)
{
    char *path = jrl_path_join(policy_dir, "tokenizer.json");
    struct jrl_buffer text = { 0 };
    int rc;

    t->eos = -1;
    rc = jrl_file_read(&text, path, MAX_FILE_BYTES, err);
    if (rc == JRL_OK)
        rc = load_file(t, path, text.len ? (const char *)text.data : "", text.len, err);
    jrl_buffer_release(&text);
    free(path);
    if (rc < 0)
        return rc;
    path = jrl_path_join(policy_dir, "tokenizer_config.json");
    rc = load_config(t, path, err);
    free(path);
    return rc;
}
