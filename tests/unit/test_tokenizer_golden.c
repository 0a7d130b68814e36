/* Token for token what Hugging Face's library yields (tests/golden/make_tokenizer.py): a torture file,
 * and every string of the shared data sets where they are. Decoding gives the text back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer.h"

/* Where the program was started is the top of the tree unless JRL_TOP says otherwise. */
static char *top_path(const char *name)
{
    const char *top = getenv("JRL_TOP");

    return jrl_path_join(top ? top : ".", name);
}

static char *golden_path(const char *family, const char *name)
{
    char *relative = jrl_xasprintf("tests/golden/tokenizer/%s%s%s", family, *family ? "/" : "", name), *path = top_path(relative);

    free(relative);
    return path;
}

/* A family's tokenizer; the real SmolLM2's is not committed, it is made by tests/reference/smollm2_to_hf.py. */
static struct jrl_tokenizer *open_family(const char *family)
{
    struct jrl_error err = { 0 };
    struct jrl_tokenizer *t;
    char *path;

    if (!strcmp(family, "smollm2-real")) {
        const char *folder = getenv("JRL_SMOLLM2");

        path = folder ? jrl_xstrdup(folder) : top_path("build/smollm2");
        if (access(path, F_OK) < 0) {
            print_message("SmolLM2's own vocabulary is not here: skipped (make reference)\n");
            free(path);
            skip();
        }
    } else {
        path = golden_path(family, "");
        print_message("%s: %s\n", family, strcmp(family, "odd") ? "a stand-in vocabulary under the family's pre-tokeniser" : "no model's settings");
    }
    if (jrl_tokenizer_open(&t, path, &err) < 0)
        fail_msg("%s", err.text);
    free(path);
    return t;
}

static void check_decoded(const struct jrl_tokenizer *t, const char *text, size_t len, const struct jrl_tokens *ids)
{
    struct jrl_error err = { 0 };
    struct jrl_buffer back = { 0 };

    assert_int_equal(jrl_tokenizer_decode(t, ids->ids, ids->n, false, &back, &err), JRL_OK);
    assert_int_equal(back.len, len);
    assert_memory_equal(back.data ? (const char *)back.data : "", text, len);
    jrl_buffer_release(&back);
}

/* EXACT: decoding gives the same bytes, so nothing was normalised, added or dropped. */
static void check_torture(const struct jrl_tokenizer *t, const char *family, bool exact)
{
    struct jrl_error err = { 0 };
    struct jrl_tokens ids = { 0 };
    char *path = golden_path("", "torture.json"), *ids_path = golden_path(family, "torture.ids");
    FILE *f = fopen(ids_path, "r");
    json_t *texts;

    assert_non_null(f);
    assert_int_equal(jrl_json_read_file(&texts, path, 1 << 24, &err), JRL_OK);
    assert_true(json_array_size(texts) > 500);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);

        ids.n = 0;
        assert_int_equal(jrl_tokenizer_encode(t, json_string_value(text), json_string_length(text), true, &ids, &err), JRL_OK);
        for (size_t k = 0;; k++) {
            uint32_t want;
            int c;

            while ((c = getc(f)) == ' ')
                ;
            if (c == '\n' || c == EOF) {
                if (k != ids.n)
                    fail_msg("%s: text %zu: %zu tokens, expected %zu", family, i, ids.n, k);
                break;
            }
            ungetc(c, f);
            assert_int_equal(fscanf(f, "%" SCNu32, &want), 1);
            if (k >= ids.n || ids.ids[k] != want)
                fail_msg("%s: text %zu: token %zu is %u, expected %u", family, i, k, k < ids.n ? ids.ids[k] : UINT32_MAX, want);
        }
        if (exact)
            check_decoded(t, json_string_value(text), json_string_length(text), &ids);
    }
    assert_int_equal(getc(f), EOF);
    fclose(f);
    json_decref(texts);
    jrl_tokens_release(&ids);
    free(path);
    free(ids_path);
}

struct tally {
    const struct jrl_tokenizer *t;
    XXH64_state_t *digest;
    uint64_t n_strings, n_ids;
    bool exact;
};

/* Every string value, in document order. */
static void tally_strings(struct tally *s, const json_t *value)
{
    const char *key;
    size_t i;
    json_t *item;

    if (json_is_string(value)) {
        struct jrl_error err = { 0 };
        struct jrl_tokens ids = { 0 };

        assert_int_equal(jrl_tokenizer_encode(s->t, json_string_value(value), json_string_length(value), true, &ids, &err), JRL_OK);
        if (s->exact)
            check_decoded(s->t, json_string_value(value), json_string_length(value), &ids);
        jrl_tokens_push(&ids, UINT32_MAX);
        XXH64_update(s->digest, ids.ids, ids.n * sizeof *ids.ids);
        s->n_strings++;
        s->n_ids += ids.n - 1;
        jrl_tokens_release(&ids);
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item) tally_strings(s, item);
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, item) tally_strings(s, item);
    }
}

static void check_shared_file(const struct jrl_tokenizer *t, const char *family, const char *path, const char *name, uint64_t n_strings,
                              uint64_t n_ids, uint64_t digest, bool exact)
{
    struct tally s = { t, XXH64_createState(), 0, 0, exact };
    struct jrl_error err = { 0 };
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;

    assert_non_null(f);
    XXH64_reset(s.digest, 0);
    while ((len = getline(&line, &cap, f)) > 0) {
        json_t *row;

        assert_int_equal(jrl_json_parse(&row, line, (size_t)len, name, &err), JRL_OK);
        tally_strings(&s, row);
        json_decref(row);
    }
    if (s.n_strings != n_strings || s.n_ids != n_ids || XXH64_digest(s.digest) != digest)
        fail_msg("%s: %s: %" PRIu64 " strings, %" PRIu64 " tokens, digest %016" PRIx64 "; expected %" PRIu64 ", %" PRIu64 ", %016" PRIx64, family,
                 name, s.n_strings, s.n_ids, (uint64_t)XXH64_digest(s.digest), n_strings, n_ids, digest);
    XXH64_freeState(s.digest);
    free(line);
    fclose(f);
}

static void check_shared(const struct jrl_tokenizer *t, const char *family, bool exact)
{
    char *shared = top_path("../shared"), *list_path = golden_path(family, "shared.txt"), name[128];
    FILE *list = fopen(list_path, "r");
    uint64_t n_strings, n_ids, digest;
    int n_files = 0;

    assert_non_null(list);
    if (access(shared, F_OK) < 0) {
        print_message("%s: the shared data sets are not here: only the torture file was compared\n", family);
    } else {
        while (fscanf(list, "%127s %" SCNu64 " %" SCNu64 " %" SCNx64, name, &n_strings, &n_ids, &digest) == 4) {
            char *path = jrl_path_join(shared, name);

            check_shared_file(t, family, path, name, n_strings, n_ids, digest, exact);
            free(path);
            n_files++;
        }
        assert_int_equal(n_files, 14);
    }
    fclose(list);
    free(shared);
    free(list_path);
}

static void check_family(const char *family, bool torture_exact, bool shared_exact)
{
    struct jrl_tokenizer *t = open_family(family);

    check_torture(t, family, torture_exact);
    check_shared(t, family, shared_exact);
    jrl_tokenizer_free(t);
}

/* Qwen's NFC changes some texts, SmolLM2 lacks tokens for some bytes; all others must come back exactly. */
static void qwen2(void **state) { (void)state; check_family("qwen2", false, false); }
static void deepseek_r1(void **state) { (void)state; check_family("deepseek-r1", true, true); }
static void smollm2(void **state) { (void)state; check_family("smollm2", true, true); }
static void smollm2_real(void **state) { (void)state; check_family("smollm2-real", false, false); }
static void llama_3(void **state) { (void)state; check_family("llama-3", true, true); }

static void odd(void **state)
{
    struct jrl_tokenizer *t = open_family("odd");

    (void)state;
    check_torture(t, "odd", false);
    jrl_tokenizer_free(t);
}

/* A megabyte of one piece: n log n, where scanning for each merge would take minutes. */
static void long_pieces(void **state)
{
    static const char *const runs[] = { "a", "ab", " ", "!", "\xCC\x81", "\n", " \n", "1", "\xE4\xB8\xAD" };
    struct jrl_tokenizer *t = open_family("qwen2");

    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct jrl_error err = { 0 };
        struct jrl_buffer text = { 0 };
        struct jrl_tokens ids = { 0 };

        while (text.len < 1000000)
            jrl_buffer_append_str(&text, runs[i]);
        assert_int_equal(jrl_tokenizer_encode(t, (const char *)text.data, text.len, false, &ids, &err), JRL_OK);
        check_decoded(t, (const char *)text.data, text.len, &ids);
        jrl_tokens_release(&ids);
        jrl_buffer_release(&text);
    }
    jrl_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qwen2), cmocka_unit_test(deepseek_r1), cmocka_unit_test(smollm2), cmocka_unit_test(smollm2_real),
        cmocka_unit_test(llama_3), cmocka_unit_test(odd), cmocka_unit_test(long_pieces),
    };

    return cmocka_run_group_tests_name("tokenizer golden", tests, NULL, NULL);
}
