/* policy_test.h - what the tests of files share: a scratch folder, files without fsync, expected errors. */
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
