/* test_policy_write.c - policy folders that are written and made, and the policy id. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "model/make.h"
#include "policy_test.h"

static int add_file(void *ctx, const char *temp_dir, const char *id, struct jrl_error *err)
{
    *(int *)ctx += 1;
    assert_int_equal(strlen(id), 32);
    char *path = jrl_path_join(temp_dir, "state.json");
    int rc = jrl_file_write(path, "{\"step\": 7}", 11, err);

    free(path);
    return rc;
}

static int refuse(void *ctx, const char *temp_dir, const char *id, struct jrl_error *err)
{
    (void)ctx;
    (void)temp_dir;
    (void)id;
    return jrl_fail(err, JRL_ERR_RUN, "no");
}

static int n_entries(const char *folder)
{
    char *command = jrl_xasprintf("ls -A '%s' | wc -l", folder);
    FILE *f = popen(command, "r");
    int n = -1;

    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    free(command);
    return n;
}

static void test_write_policy(void **state)
{
    struct jrl_policy *golden = open_golden("qwen2-untied-gqa3"), *p = NULL;
    const int64_t n = jrl_policy_n_tensors(golden);
    struct jrl_tensor *t = tensors_of(golden);
    char id[JRL_DIGEST_SIZE], again[JRL_DIGEST_SIZE], *parent = in_scratch("written"), *folder = jrl_path_join(parent, "000001"), *path;
    struct jrl_error error = { 0 };
    struct jrl_pool *pool = NULL;
    int calls = 0;
    json_t *written = NULL;

    (void)state;
    assert_ok(jrl_pool_new(&pool, 2, err));
    /* what a killed process of our number left behind is in nobody's way */
    path = jrl_xasprintf("%s/.000001.%ld.tmp", parent, (long)getpid());
    assert_ok(jrl_make_folder(path, err));
    write_file(path, "model.safetensors", "half", 4);
    free(path);
    assert_ok(jrl_policy_write(folder, jrl_policy_dir(golden), t, n, add_file, &calls, pool, id, err));
    assert_int_equal(calls, 1);
    assert_int_equal(n_entries(parent), 1);
    assert_int_equal(n_entries(folder), 4); /* both configs, weights, state; golden.safetensors is no companion */
    path = jrl_path_join(folder, "state.json");
    assert_ok(jrl_json_read_file(&written, path, 1 << 20, err));
    assert_int_equal(json_integer_value(json_object_get(written, "step")), 7);
    assert_string_equal(json_string_value(json_object_get(json_object_get(written, "policy"), "id")), id);
    json_decref(written);
    assert_ok(jrl_policy_open(&p, folder, err));
    assert_ok(jrl_policy_hash(p, NULL, again, err));
    assert_string_equal(id, again);
    for (int64_t i = 0; i < n; i++)
        assert_memory_equal(jrl_policy_tensor(p, i)->data, t[i].data, (size_t)t[i].n_elements * 2);
    jrl_policy_close(p);
    /* a second time onto the same name, and a failure on the way: nothing is left behind */
    assert_int_equal(jrl_policy_write(folder, jrl_policy_dir(golden), t, n, NULL, NULL, NULL, again, &error), JRL_ERR_RUN);
    assert_non_null(strstr(error.text, "it exists"));
    error = (struct jrl_error){ 0 };
    free(path);
    path = jrl_path_join(parent, "000002");
    assert_int_equal(jrl_policy_write(path, jrl_policy_dir(golden), t, n, refuse, NULL, NULL, again, &error), JRL_ERR_RUN);
    assert_string_equal(error.text, "no");
    assert_int_equal(n_entries(parent), 1);
    free(path);
    free(parent);
    free(folder);
    free(t);
    jrl_pool_free(pool);
    jrl_policy_close(golden);
}

/* The recorded id is used while sizes and times fit, and found out when the bytes were changed. */
static void test_recorded_id(void **state)
{
    struct jrl_policy *golden = open_golden("qwen2-untied-gqa3"), *p = NULL;
    struct jrl_tensor *t = tensors_of(golden);
    char id[JRL_DIGEST_SIZE], other[JRL_DIGEST_SIZE], *folder = in_scratch("recorded"), *weights = jrl_path_join(folder, "model.safetensors");
    struct jrl_error error = { 0 };
    struct stat st;
    int fd;

    (void)state;
    assert_ok(jrl_policy_write(folder, jrl_policy_dir(golden), t, jrl_policy_n_tensors(golden), NULL, NULL, NULL, id, err));
    id_of(folder, other, NULL);
    assert_string_equal(id, other);
    assert_int_equal(stat(weights, &st), 0);
    fd = open(weights, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x12\x34", 2, st.st_size - 2), 2);
    id_of(folder, other, NULL); /* the time no longer fits: computed */
    assert_string_not_equal(id, other);
    assert_int_equal(futimens(fd, (struct timespec[]){ st.st_atim, st.st_mtim }), 0);
    close(fd);
    id_of(folder, other, NULL); /* damage that hides behind the old time is believed ... */
    assert_string_equal(id, other);
    assert_ok(jrl_policy_open(&p, folder, err));
    expect_input_error(jrl_policy_hash(p, NULL, other, &error), &error, "damaged"); /* ... and found by hashing */
    jrl_policy_close(p);
    free(weights);
    free(folder);
    free(t);
    jrl_policy_close(golden);
}

/* The id covers names, types, shapes, bytes, config.json and tokenizer.json, whatever the number of threads. */
static void test_id_covers(void **state)
{
    struct jrl_policy *golden = open_golden("qwen2-untied-gqa3");
    const int64_t n = jrl_policy_n_tensors(golden);
    struct jrl_tensor *t = tensors_of(golden);
    char first[JRL_DIGEST_SIZE], id[JRL_DIGEST_SIZE], *folder = make_folder("covered", "qwen2-untied-gqa3", t, n);
    char *golden_folder = golden_path("qwen2-untied-gqa3");
    struct jrl_pool *pool = NULL;
    jrl_bf16 *changed = malloc((size_t)t[3].n_elements * 2);

    (void)state;
    assert_ok(jrl_pool_new(&pool, 3, err));
    id_of(folder, first, NULL);
    id_of(folder, id, pool);
    assert_string_equal(first, id);
    id_of(golden_folder, id, NULL);
    assert_string_equal(first, id);
    assert_string_equal(first, "49753d3a595fc0c0de43d401f62828a4"); /* the definition does not drift */
    write_file(folder, "tokenizer.json", "{}", 2);
    id_of(folder, id, NULL);
    assert_string_not_equal(first, id);
    memcpy(changed, t[3].data, (size_t)t[3].n_elements * 2);
    changed[0] ^= 1;
    t[3].data = changed;
    free(folder);
    folder = make_folder("changed", "qwen2-untied-gqa3", t, n);
    id_of(folder, id, NULL);
    assert_string_not_equal(first, id);
    free(changed);
    free(golden_folder);
    free(folder);
    free(t);
    jrl_pool_free(pool);
    jrl_policy_close(golden);
}

/* Random weights: a function of seed and config, normal, and not of the number of threads. */
static void test_make(void **state)
{
    static const char config[] = "{\"model_type\":\"qwen2\",\"num_key_value_heads\":2,\"vocab_size\":100,\"hidden_size\":64,\"num_hidden_layers\":2,"
                                 "\"num_attention_heads\":4,\"intermediate_size\":96,\"initializer_range\":0.05,\"tie_word_embeddings\":true}";
    char ids[3][JRL_DIGEST_SIZE], *folders[3];
    struct jrl_policy *p = NULL;

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct jrl_device *dev = NULL;
        char name[] = "made0";

        name[4] = (char)('0' + i);
        folders[i] = in_scratch(name);
        assert_ok(jrl_device_open(&dev, "cpu", 1 + i, err));
        assert_ok(jrl_policy_make(folders[i], config, strlen(config), "config", i == 2 ? 6 : 5, JRL_F32, NULL, NULL, dev, ids[i], err));
        jrl_device_close(dev);
    }
    assert_string_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[0], ids[2]);
    assert_ok(jrl_policy_open(&p, folders[0], err));
    assert_int_equal(jrl_policy_config(p)->dtype, JRL_F32);
    for (int64_t i = 0; i < jrl_policy_n_tensors(p); i++) {
        const struct jrl_tensor *t = jrl_policy_tensor(p, i);
        const float *x = t->data;
        double sum = 0, squares = 0;

        for (int64_t j = 0; j < t->n_elements; j++) {
            sum += (double)x[j];
            squares += (double)x[j] * (double)x[j];
        }
        if (strstr(t->name, "norm.weight"))
            assert_true(sum == (double)t->n_elements && squares == sum);
        else if (strstr(t->name, "bias"))
            assert_true(squares == 0);
        else {
            assert_true(fabs(sum / (double)t->n_elements) < 0.05 * 5 / sqrt((double)t->n_elements));
            assert_true(fabs(sqrt(squares / (double)t->n_elements) - 0.05) < 0.05 * 4 / sqrt((double)t->n_elements));
        }
    }
    jrl_policy_close(p);
    for (int i = 0; i < 3; i++)
        free(folders[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_policy), cmocka_unit_test(test_recorded_id), cmocka_unit_test(test_id_covers), cmocka_unit_test(test_make),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
