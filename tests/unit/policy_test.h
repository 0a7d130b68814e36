/* policy_test.h - what the tests of files share: a scratch folder, files without fsync, expected errors, policy folders. */
#ifndef JRL_TESTS_POLICY_TEST_H
#define JRL_TESTS_POLICY_TEST_H

#include "base/file.h"
#include "model_test.h"

static char scratch[] = "/tmp/jrl-test-XXXXXX";

static inline char *in_scratch(const char *name)
{
    return jrl_path_join(scratch, name);
}

static inline void write_file(const char *folder, const char *name, const void *data, size_t len)
{
    char *path = jrl_path_join(folder, name);
    FILE *f = fopen(path, "w"); /* not jrl_file_write: hundreds of fsyncs take seconds */

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static inline void expect_input_error(int rc, const struct jrl_error *error, const char *words)
{
    if (rc != JRL_ERR_INPUT || !strstr(error->text, words) || strchr(error->text, '\n'))
        fail_msg("status %d, '%s', expected '%s'", rc, error->text, words);
}

/* ---- policy folders ---- */

static inline struct jrl_policy *open_golden(const char *name)
{
    struct jrl_policy *p = NULL;
    char *path = golden_path(name);

    assert_ok(jrl_policy_open(&p, path, err));
    free(path);
    return p;
}

static inline struct jrl_tensor *tensors_of(const struct jrl_policy *p)
{
    struct jrl_tensor *tensors = calloc((size_t)jrl_policy_n_tensors(p) + 1, sizeof(*tensors));

    for (int64_t i = 0; i < jrl_policy_n_tensors(p); i++)
        tensors[i] = *jrl_policy_tensor(p, i);
    return tensors;
}

/* A folder with the golden config.json and the tensors given. */
static inline char *make_folder(const char *name, const char *golden, const struct jrl_tensor *tensors, int64_t n)
{
    char *folder = in_scratch(name), *from = golden_path(golden), *config = jrl_path_join(from, "config.json"), *weights;
    struct jrl_buffer text = { 0 };

    assert_ok(jrl_make_folder(folder, err));
    assert_ok(jrl_file_read(&text, config, 1 << 20, err));
    write_file(folder, "config.json", text.data, text.len);
    weights = jrl_path_join(folder, "model.safetensors");
    assert_ok(jrl_safetensors_write(weights, tensors, n, NULL, err));
    jrl_buffer_release(&text);
    free(weights);
    free(config);
    free(from);
    return folder;
}

static inline void id_of(const char *folder, char id[JRL_DIGEST_SIZE], struct jrl_pool *pool)
{
    struct jrl_policy *p = NULL;

    assert_ok(jrl_policy_open(&p, folder, err));
    assert_ok(jrl_policy_id(p, pool, id, err));
    jrl_policy_close(p);
}

/* ---- */

static inline int set_up(void **state)
{
    (void)state;
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    return jrl_remove_tree(scratch, NULL);
}

#endif
