/* The tokenizer without golden data: bytes, special tokens, refusals by name, cut UTF-8. What equals
 * Hugging Face's library is tested in test_tokenizer_golden.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "text/tokenizer.h"

static char folder[] = "/tmp/jrl-tokenizer-XXXXXX";

/* These tests write thousands of files: no fsync, and no truncation, which ext4 flushes. */
static void write_bytes(const char *name, const void *data, size_t len)
{
    char *path = jrl_path_join(folder, name);
    FILE *f;

    unlink(path);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void write_named(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static struct jrl_tokenizer *byte_tokenizer(void)
{
    struct jrl_error err = { 0 };
    struct jrl_tokenizer *t;

    assert_int_equal(jrl_tokenizer_write_bytes(folder, &err), JRL_OK);
    assert_int_equal(jrl_tokenizer_open(&t, folder, &err), JRL_OK);
    return t;
}

static void bytes_there_and_back(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_tokenizer *t = byte_tokenizer();
    struct jrl_tokens ids = { 0 };
    struct jrl_buffer text = { 0 };
    uint32_t all[256];

    (void)state;
    assert_int_equal(jrl_tokenizer_n_ids(t), JRL_BYTE_TOKENIZER_IDS);
    assert_int_equal(jrl_tokenizer_id(t, "<|im_end|>"), 258);
    assert_int_equal(jrl_tokenizer_eos(t), 258);
    assert_int_equal(jrl_tokenizer_id(t, "<|no|>"), -1);
    assert_int_equal(jrl_tokenizer_id(t, "\xC4\xA0"), ' ');
    assert_true(jrl_tokenizer_is_special(t, 256));
    assert_false(jrl_tokenizer_is_special(t, 255));
    assert_false(jrl_tokenizer_is_special(t, 4000000));

    for (uint32_t i = 0; i < 256; i++)
        all[i] = i;
    assert_int_equal(jrl_tokenizer_decode(t, all, 256, false, &text, &err), JRL_OK);
    assert_int_equal(text.len, 256);
    for (int i = 0; i < 256; i++)
        assert_int_equal(text.data[i], i);

    assert_int_equal(jrl_tokenizer_encode(t, "a\xC3\xA9<|im_end|>", 13, true, &ids, &err), JRL_OK);
    assert_int_equal(ids.n, 4);
    assert_int_equal(ids.ids[0], 'a');
    assert_int_equal(ids.ids[1], 0xC3);
    assert_int_equal(ids.ids[2], 0xA9);
    assert_int_equal(ids.ids[3], 258);
    ids.n = 0;
    assert_int_equal(jrl_tokenizer_encode(t, "<|im_end|>", 10, false, &ids, &err), JRL_OK);
    assert_int_equal(ids.n, 10);

    jrl_tokens_release(&ids);
    jrl_buffer_release(&text);
    jrl_tokenizer_free(t);
}

static void tokens_do_not_cross_spans(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_tokenizer *t = byte_tokenizer();
    struct jrl_tokens ids = { 0 };
    const struct jrl_text_span spans[] = {
        { "<|im_start|>", 12, true }, { "", 0, false }, { "<|im_end|>", 10, false }, { "<|im_", 5, true }, { "end|>", 5, true },
        { "<|im_end|>", 10, true },
    };

    (void)state;
    assert_int_equal(jrl_tokenizer_encode_spans(t, spans, 6, &ids, &err), JRL_OK);
    assert_int_equal(ids.n, 1 + 10 + 10 + 1);
    assert_int_equal(ids.ids[0], 257);
    assert_int_equal(ids.ids[21], 258);
    for (int i = 1; i < 21; i++)
        assert_true(ids.ids[i] < 256);
    jrl_tokens_release(&ids);
    jrl_tokenizer_free(t);
}

static void bad_text_and_ids(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_tokenizer *t = byte_tokenizer();
    struct jrl_tokens ids = { 0 };
    struct jrl_buffer text = { 0 };
    uint32_t id = 259;

    (void)state;
    assert_int_equal(jrl_tokenizer_encode(t, "ab\xFF", 3, true, &ids, &err), JRL_ERR_INPUT);
    assert_string_equal(err.text, "text is not UTF-8 at byte 2");
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_tokenizer_decode(t, &id, 1, false, &text, &err), JRL_ERR_INPUT);
    assert_string_equal(err.text, "the tokenizer has no token with id 259");
    jrl_tokens_release(&ids);
    jrl_buffer_release(&text);
    jrl_tokenizer_free(t);
}

static void cut_characters_are_repaired(void **state)
{
    /* Expected: Python's bytes.decode('utf-8', 'replace'), with R for U+FFFD. */
    static const struct { const char *bytes, *want; } cases[] = {
        { "", "" }, { "abc", "abc" }, { "\xff", "R" }, { "a\x80" "b", "aRb" }, { "\xc3", "R" }, { "\xc3(", "R(" },
        { "\xe2\x82", "R" }, { "\xe2\x82\xe2", "RR" }, { "\xe0\x80\x80", "RRR" }, { "\xed\xa0\x80", "RRR" },
        { "\xf0\x9f\x98", "R" }, { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" }, { "\xf0\x80\x80\x80", "RRRR" },
        { "\xf4\x90\x80\x80", "RRRR" }, { "\xf5\x80", "RR" }, { "\xc0\xaf", "RR" }, { "\xe1\x80\xf0\x90\x80x", "RRx" },
        { "\xf1\x80\x80\xe1\x80\xc2" "b\x80" "c\x80\xbf" "d", "RRRbRcRRd" }, { "12345678\xe2\x82", "12345678R" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct jrl_buffer got = { 0 }, want = { 0 };

        jrl_buffer_append_str(&got, cases[i].bytes);
        jrl_utf8_repair(&got);
        for (const char *p = cases[i].want; *p; p++) {
            if (*p == 'R')
                jrl_buffer_append_str(&want, "\xEF\xBF\xBD");
            else
                jrl_buffer_append_byte(&want, (uint8_t)*p);
        }
        assert_string_equal(jrl_buffer_str(&got), jrl_buffer_str(&want));
        jrl_buffer_release(&got);
        jrl_buffer_release(&want);
    }
}

/* A small tokenizer.json with the parts of interest to fill in. */
static void write_tokenizer(const char *added, const char *normalizer, const char *pre, const char *decoder, const char *model,
                            const char *vocab, const char *merges)
{
    struct jrl_buffer text = { 0 };

    jrl_buffer_printf(&text,
                      "{\"added_tokens\": [%s],\n\"normalizer\": %s, \"pre_tokenizer\": %s, \"decoder\": %s,\n"
                      "\"model\": {\"type\": \"BPE\"%s, \"vocab\": {%s},\n \"merges\": [%s]}}\n",
                      added, normalizer, pre, decoder, model, vocab, merges);
    write_named("tokenizer.json", jrl_buffer_str(&text));
    jrl_buffer_release(&text);
}

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}"
#define ABC "\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4, \"x\\u0120y\": 5"
#define SPLIT(pattern, rest) "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" pattern "\"}, " rest "}"

static void refused_by_name(void **state)
{
    static const struct { const char *added, *normalizer, *pre, *decoder, *model, *vocab, *merges, *message; } cases[] = {
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "\"a b\", \"ab c\"", NULL },
        { "", "{\"type\": \"Lowercase\"}", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "", "normalizer 'Lowercase' is not supported" },
        { "", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"NFKD\"}]}", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "",
          "normalizer 'NFKD' is not supported" },
        { "", "null", "{\"type\": \"Metaspace\"}", BYTE_LEVEL, "", ABC, "", "pre_tokenizer 'Metaspace' is not supported" },
        { "", "null", SPLIT("\\\\w+", "\"behavior\": \"Isolated\", \"invert\": false"), BYTE_LEVEL, "", ABC, "",
          "pre-tokeniser pattern has '\\w+', which is not supported" },
        { "", "null", SPLIT("\\\\p{Greek}", "\"behavior\": \"Isolated\""), BYTE_LEVEL, "", ABC, "", "pattern has '\\p{Greek}', which is not" },
        { "", "null", SPLIT("(a", "\"behavior\": \"Isolated\""), BYTE_LEVEL, "", ABC, "", "pre-tokeniser pattern, byte 2: missing closing parenthesis" },
        { "", "null", SPLIT("^a", "\"behavior\": \"Isolated\""), BYTE_LEVEL, "", ABC, "", "pattern has '^a', which is not" },
        { "", "null", SPLIT("a", "\"behavior\": \"MergedWithNext\""), BYTE_LEVEL, "", ABC, "", "behavior 'MergedWithNext' is not supported" },
        { "", "null", SPLIT("a", "\"behavior\": \"Removed\""), BYTE_LEVEL, "", ABC, "", "behavior 'Removed' is not supported" },
        { "", "null", BYTE_LEVEL, "{\"type\": \"WordPiece\"}", "", ABC, "", "decoder 'WordPiece' is not supported" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, ", \"dropout\": 0.1", ABC, "", "model with dropout is not supported" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, ", \"byte_fallback\": true", ABC, "", "byte_fallback (SentencePiece) is not supported" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, ", \"end_of_word_suffix\": \"</w>\"", ABC, "", "end_of_word_suffix is not supported" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, ", \"unk_token\": \"<unk>\"", ABC, "", "unk_token '<unk>' is not in the vocabulary" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "\"a b\", \"b c\"", "merge 1 ('b' and 'c'): the merged token is not in the vocabulary" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "[\"d\", \"c\"]", "merge 0 ('d' and 'c'): the first part is not in the vocabulary" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "\"a b c\"", "is not two tokens with a space between" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC ", \"a\": 9", "", "token 'a' is there twice" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC ", \"z\": 4", "", "two tokens have the id 4" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", "\"a\": 4294967295", "", "token 'a' has id 4294967295, not in 0..4194303" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", "\"a\": 1.5", "", "expected an integer" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", "\"a\": 1 \"b\": 2", "", "expected ',' or '}'" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", "\"\\ud800\": 1", "", "lone surrogate in a string" },
        { "", "null", BYTE_LEVEL, BYTE_LEVEL, "", "\"\xFF\": 1", "", "the string before it is not UTF-8" },
        { "{\"id\": 7, \"content\": \"<m>\", \"single_word\": true}", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "",
          "added token '<m>' with single_word is not supported" },
        { "{\"id\": 7, \"content\": \"ab\"}", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "", "added token 'ab' has id 7, but 3 in the vocabulary" },
        { "{\"id\": 3, \"content\": \"<m>\"}", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "", "added token '<m>' has the id 3 of another token" },
        { "{\"id\": 7, \"content\": \"<m>\"}, {\"id\": 8, \"content\": \"<m>\"}", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "", "'<m>' or its id is there twice" },
        { "{\"content\": \"<m>\"}", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "", "an added token has no content or no id" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct jrl_error err = { 0 };
        struct jrl_tokenizer *t;
        int rc;

        write_tokenizer(cases[i].added, cases[i].normalizer, cases[i].pre, cases[i].decoder, cases[i].model, cases[i].vocab, cases[i].merges);
        rc = jrl_tokenizer_open(&t, folder, &err);
        assert_int_equal(rc, cases[i].message ? JRL_ERR_INPUT : JRL_OK);
        if (cases[i].message && (!strstr(err.text, cases[i].message) || !strstr(err.text, "tokenizer.json")))
            fail_msg("case %zu: '%s' does not hold '%s'", i, err.text, cases[i].message);
        jrl_tokenizer_free(t);
    }
}

static void not_a_tokenizer(void **state)
{
    static const struct { const char *text, *message; } cases[] = {
        { "", "byte 0: expected '{'" },
        { "[]", "byte 0: expected '{'" },
        { "{\"model\": {\"vocab\": {", "the text ends inside a value" },
        { "{\"model\": {\"vocab\": {}, \"vocab\": {}}}", "'vocab' is there twice" },
        { "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}", "no model.merges" },
        { "{\"model\": {\"type\": \"Unigram\", \"vocab\": [], \"merges\": []}}", "expected '{'" },
        { "{\"version\": \"1.0\"}", "no model.vocab" },
        { "{\"a\": tru, \"model\": {\"vocab\": {}, \"merges\": []}}", "line 1" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct jrl_error err = { 0 };
        struct jrl_tokenizer *t;

        write_named("tokenizer.json", cases[i].text);
        assert_int_equal(jrl_tokenizer_open(&t, folder, &err), JRL_ERR_INPUT);
        if (!strstr(err.text, cases[i].message))
            fail_msg("case %zu: '%s' does not hold '%s'", i, err.text, cases[i].message);
        assert_null(t);
    }
}

/* A file cut anywhere is refused and nothing leaks or overruns (seen by the sanitizers' build). */
static void cut_anywhere(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_buffer whole = { 0 };
    char *path = jrl_path_join(folder, "tokenizer.json");

    (void)state;
    write_tokenizer("{\"id\": 7, \"content\": \"<m>\"}", "null", BYTE_LEVEL, BYTE_LEVEL, "", ABC, "\"a b\", [\"ab\", \"c\"]");
    assert_int_equal(jrl_file_read(&whole, path, 1 << 20, &err), JRL_OK);
    while (whole.len && (whole.data[whole.len - 1] == '\n' || whole.data[whole.len - 1] == '}'))
        whole.len--;
    for (size_t len = whole.len; len > 0; len--) {
        struct jrl_tokenizer *t;

        err = (struct jrl_error){ 0 };
        whole.len = len;
        write_named("tokenizer.json", jrl_buffer_str(&whole));
        assert_int_equal(jrl_tokenizer_open(&t, folder, &err), JRL_ERR_INPUT);
    }
    free(path);
    jrl_buffer_release(&whole);
}

/* Damaged files: bytes changed, removed and doubled. They are refused or they work; the sanitizers' build sees the rest. */
static void damaged_files(void **state)
{
    static const char text[] = "abc <m> abxc\xC3\xA9 12 <m>b", bytes[] = "\"\\[]{},:0u -\xFF";
    char *path = jrl_path_join(folder, "tokenizer.json");
    struct jrl_error err = { 0 };
    struct jrl_buffer whole = { 0 };
    struct jrl_rng rng;
    int n_opened = 0;

    (void)state;
    write_tokenizer("{\"id\": 7, \"content\": \"<m>\", \"special\": true, \"lstrip\": true}", "{\"type\": \"NFC\"}",
                    SPLIT("(?i:'s)|\\\\s+(?!\\\\S)|[^\\\\p{L}]|.", "\"behavior\": \"Isolated\", \"invert\": false"), BYTE_LEVEL,
                    ", \"ignore_merges\": true, \"unk_token\": \"x\"", ABC ", \"x\": 6", "\"a b\", [\"ab\", \"c\"]");
    assert_int_equal(jrl_file_read(&whole, path, 1 << 20, &err), JRL_OK);
    jrl_rng_init(&rng, 1, 0);
    for (int i = 0; i < 4000; i++) {
        struct jrl_buffer copy = { 0 };
        struct jrl_tokenizer *t;
        int rc;

        jrl_buffer_append(&copy, whole.data, whole.len);
        for (uint64_t k = jrl_rng_below(&rng, 3); i && k < 3; k++) {
            size_t at = jrl_rng_below(&rng, copy.len - 16), len = 1 + jrl_rng_below(&rng, 15);

            if (jrl_rng_below(&rng, 3))
                copy.data[at] = (uint8_t)bytes[jrl_rng_below(&rng, sizeof bytes - 1)];
            else
                memmove(copy.data + at, copy.data + at + len, (copy.len -= len) - at);
        }
        write_bytes("tokenizer.json", copy.data, copy.len);
        err = (struct jrl_error){ 0 };
        rc = jrl_tokenizer_open(&t, folder, &err);
        assert_true(rc == JRL_OK || (rc == JRL_ERR_INPUT && err.text[0]));
        if (rc == JRL_OK) {
            struct jrl_tokens ids = { 0 };
            struct jrl_buffer back = { 0 };

            n_opened++;
            assert_int_equal(jrl_tokenizer_encode(t, text, sizeof text - 1, true, &ids, &err), JRL_OK);
            assert_int_equal(jrl_tokenizer_decode(t, ids.ids, ids.n, false, &back, &err), JRL_OK);
            jrl_tokens_release(&ids);
            jrl_buffer_release(&back);
        }
        jrl_tokenizer_free(t);
        jrl_buffer_release(&copy);
    }
    assert_in_range(n_opened, 1, 3000);
    jrl_buffer_release(&whole);
    free(path);
}

struct worker { const struct jrl_tokenizer *t; const char *text; size_t len; struct jrl_tokens ids; };

static void *encode_often(void *ctx)
{
    struct worker *w = ctx;
    struct jrl_error err = { 0 };

    for (int i = 0; i < 300; i++) {
        w->ids.n = 0;
        if (jrl_tokenizer_encode(w->t, w->text, w->len, true, &w->ids, &err) < 0)
            return ctx;
    }
    return NULL;
}

/* One tokenizer, several threads: the cache is shared and must not show. */
static void several_threads(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_buffer text = { 0 };
    struct jrl_tokenizer *t;
    struct worker w[4] = { 0 };
    pthread_t threads[4];
    char *family = jrl_path_join(getenv("JRL_TOP") ? getenv("JRL_TOP") : ".", "tests/golden/tokenizer/qwen2");

    (void)state;
    assert_int_equal(jrl_tokenizer_open(&t, family, &err), JRL_OK);
    for (int i = 0; i < 200; i++)
        jrl_buffer_printf(&text, "word%d and $x^{%d}$, ", i, i * i);
    for (int i = 0; i < 4; i++) {
        w[i] = (struct worker){ .t = t, .text = (const char *)text.data + i, .len = text.len - (size_t)i };
        assert_int_equal(pthread_create(&threads[i], NULL, encode_often, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        struct jrl_tokens alone = { 0 };
        void *failed;

        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        assert_int_equal(jrl_tokenizer_encode(t, w[i].text, w[i].len, true, &alone, &err), JRL_OK);
        assert_int_equal(alone.n, w[i].ids.n);
        assert_memory_equal(alone.ids, w[i].ids.ids, alone.n * sizeof *alone.ids);
        jrl_tokens_release(&alone);
        jrl_tokens_release(&w[i].ids);
    }
    jrl_buffer_release(&text);
    jrl_tokenizer_free(t);
    free(family);
}

static int remove_folder(void **state)
{
    struct jrl_error err = { 0 };

    (void)state;
    return jrl_remove_tree(folder, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_there_and_back), cmocka_unit_test(tokens_do_not_cross_spans), cmocka_unit_test(bad_text_and_ids),
        cmocka_unit_test(cut_characters_are_repaired), cmocka_unit_test(refused_by_name), cmocka_unit_test(not_a_tokenizer),
        cmocka_unit_test(cut_anywhere), cmocka_unit_test(damaged_files), cmocka_unit_test(several_threads),
    };

    if (!mkdtemp(folder))
        return 1;
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, remove_folder);
}
