/* test_policy.c - policy folders that are opened: what is in them, and which are refused and with which words. */
#include "base/json.h"
#include "model/make.h"
#include "policy_test.h"

static void expect_refused(const char *folder, const char *words)
{
    struct jrl_error error = { 0 };
    struct jrl_policy *p = NULL;

    expect_input_error(jrl_policy_open(&p, folder, &error), &error, words);
    assert_null(p);
    assert_non_null(strstr(error.text, folder));
}

static void test_tensor_set(void **state)
{
    struct jrl_policy *golden = open_golden("llama-untied"), *p = NULL;
    const int64_t n = jrl_policy_n_tensors(golden);
    struct jrl_tensor *t = tensors_of(golden);
    char *folder;

    (void)state;
    assert_string_equal(t[1].name, "model.embed_tokens.weight");
    folder = make_folder("missing-first", "llama-untied", t + 1, n - 1);
    expect_refused(folder, "tensor 'lm_head.weight' is missing");
    free(folder);
    folder = make_folder("missing-last", "llama-untied", t, n - 1);
    expect_refused(folder, "tensor 'model.norm.weight' is missing");
    free(folder);
    t[n] = (struct jrl_tensor){ .name = "model.layers.0.self_attn.q_proj.bias", .dtype = JRL_BF16, .n_dims = 1, .shape = { 4 }, .n_elements = 4, .data = t[0].data };
    folder = make_folder("extra", "llama-untied", t, n + 1);
    expect_refused(folder, "tensor 'model.layers.0.self_attn.q_proj.bias' is no part of the llama model");
    free(folder);
    t[n].name = "model.layers.0.self_attn.rotary_emb.inv_freq";
    folder = make_folder("inv-freq", "llama-untied", t, n + 1);
    assert_ok(jrl_policy_open(&p, folder, err));
    assert_int_equal(jrl_policy_n_tensors(p), n);
    jrl_policy_close(p);
    free(folder);
    t[1].shape[0] /= 2;
    t[1].n_elements /= 2;
    folder = make_folder("half", "llama-untied", t, n);
    expect_refused(folder, "tensor 'model.embed_tokens.weight' has shape [80,64], config.json asks for [160,64]");
    free(folder);
    t[1].shape[0] *= 4; /* the same number of elements in the wrong order */
    t[1].shape[1] /= 2;
    t[1].n_elements *= 2;
    folder = make_folder("turned", "llama-untied", t, n);
    expect_refused(folder, "has shape [320,32]");
    free(folder);
    free(t);
    jrl_policy_close(golden);
}

/* A tied head that repeats the embedding is left aside; one that differs is refused. */
static void test_tied_head(void **state)
{
    struct jrl_policy *golden = open_golden("llama-tied-hd64"), *p = NULL;
    const int64_t n = jrl_policy_n_tensors(golden);
    struct jrl_tensor *t = tensors_of(golden);
    char *folder;
    jrl_bf16 *other;

    (void)state;
    t[n] = t[0];
    t[n].name = "lm_head.weight";
    folder = make_folder("tied-twice", "llama-tied-hd64", t, n + 1);
    assert_ok(jrl_policy_open(&p, folder, err));
    assert_int_equal(jrl_policy_n_tensors(p), n);
    assert_null(jrl_policy_find(p, "lm_head.weight"));
    jrl_policy_close(p);
    free(folder);
    other = malloc((size_t)t[0].n_elements * 2);
    memcpy(other, t[0].data, (size_t)t[0].n_elements * 2);
    other[77] ^= 1;
    t[n].data = other;
    folder = make_folder("tied-other", "llama-tied-hd64", t, n + 1);
    expect_refused(folder, "tensor 'lm_head.weight' is no part");
    free(folder);
    free(other);
    free(t);
    jrl_policy_close(golden);
}

/* Shards give the id of the single file; broken indexes are refused. */
static void test_shards(void **state)
{
    struct jrl_policy *golden = open_golden("qwen2-tied-gqa1");
    const int64_t n = jrl_policy_n_tensors(golden), half = n / 2;
    struct jrl_tensor *t = tensors_of(golden);
    char *folder = make_folder("sharded", "qwen2-tied-gqa1", t, half), *single = make_folder("single", "qwen2-tied-gqa1", t, n);
    char *first = jrl_path_join(folder, "model.safetensors"), *first_final = jrl_path_join(folder, "model-00001-of-00002.safetensors");
    char *second = jrl_path_join(folder, "model-00002-of-00002.safetensors"), *text, ids[2][JRL_DIGEST_SIZE];
    json_t *map = json_object(), *index = json_pack("{s:{},s:O}", "metadata", "weight_map", map);

    (void)state;
    assert_int_equal(rename(first, first_final), 0);
    assert_ok(jrl_safetensors_write(second, t + half, n - half, NULL, err));
    expect_refused(folder, "holds neither model.safetensors nor");
    for (int64_t i = 0; i < n; i++)
        json_object_set_new(map, t[i].name, json_string(i < half ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors"));
    text = json_dumps(index, 0);
    write_file(folder, "model.safetensors.index.json", text, strlen(text));
    free(text);
    id_of(folder, ids[0], NULL);
    id_of(single, ids[1], NULL);
    assert_string_equal(ids[0], ids[1]);

    static const struct { const char *tensor, *place, *words; } broken[] = {
        { "model.norm.weight", "../x.safetensors", "not the name of a file" },
        { "model.norm.weight", "missing.safetensors", "missing.safetensors" },
        { "model.norm.weight", "model-00001-of-00002.safetensors", "tensor 'model.norm.weight' is not in 'model-00001-of-00002.safetensors'" },
        { "ghost", "model-00001-of-00002.safetensors", "tensor 'ghost' is not in" },
        { "model.norm.weight", NULL, "tensor 'model.norm.weight' of 'model-00002-of-00002.safetensors' is not in weight_map" },
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        json_t *copy = json_deep_copy(index), *copied = json_object_get(copy, "weight_map");

        if (broken[i].place)
            json_object_set_new(copied, broken[i].tensor, json_string(broken[i].place));
        else
            json_object_del(copied, broken[i].tensor);
        text = json_dumps(copy, 0);
        write_file(folder, "model.safetensors.index.json", text, strlen(text));
        expect_refused(folder, broken[i].words);
        free(text);
        json_decref(copy);
    }
    write_file(folder, "model.safetensors.index.json", "{\"weight_map\":{}}", 17);
    expect_refused(folder, "weight_map is missing or empty");
    json_decref(index);
    json_decref(map);
    free(first);
    free(first_final);
    free(second);
    free(folder);
    free(single);
    free(t);
    jrl_policy_close(golden);
}

static void test_nonfinite(void **state)
{
    static const struct { jrl_bf16 bits; int bad; } cases[] = {
        { 0x7fc0, 1 }, { 0xffff, 1 }, { 0x7f80, 1 }, { 0xff80, 1 }, { 0x7f7f, 0 }, { 0xff7f, 0 }, { 0x8000, 0 }, { 0x0001, 0 },
    };
    struct jrl_policy *golden = open_golden("qwen2-untied-gqa3");
    const int64_t n = jrl_policy_n_tensors(golden);
    struct jrl_tensor *t = tensors_of(golden);
    struct jrl_device *dev = NULL;
    jrl_bf16 *changed = malloc((size_t)t[n - 1].n_elements * 2);

    (void)state;
    assert_ok(jrl_device_open(&dev, "cpu", 2, err));
    assert_string_equal(t[n - 1].name, "model.norm.weight");
    memcpy(changed, t[n - 1].data, (size_t)t[n - 1].n_elements * 2);
    t[n - 1].data = changed;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jrl_error error = { 0 };
        struct jrl_policy *p = NULL;
        struct jrl_model model;
        char *folder;
        int rc;

        changed[t[n - 1].n_elements - 1] = cases[i].bits;
        folder = make_folder("finite", "qwen2-untied-gqa3", t, n);
        assert_ok(jrl_policy_open(&p, folder, err));
        rc = jrl_model_open(&model, dev, p, "auto", 0, &error);
        if (cases[i].bad)
            expect_input_error(rc, &error, "tensor 'model.norm.weight' holds NaN or infinite values");
        else
            assert_int_equal(rc, JRL_OK);
        jrl_model_close(&model);
        jrl_policy_close(p);
        free(folder);
    }
    free(changed);
    free(t);
    jrl_device_close(dev);
    jrl_policy_close(golden);
}

/* F16 and F32 files, and data at odd addresses, compute what the bf16 file computes. */
static void test_other_types(void **state)
{
    struct jrl_policy *golden = open_golden("llama-untied"), *p = NULL;
    struct jrl_device *dev = NULL;
    char id[JRL_DIGEST_SIZE], *f32 = in_scratch("as-f32"), *back = in_scratch("back"), *config = jrl_path_join(f32, "config.json");
    struct jrl_buffer text = { 0 };

    (void)state;
    assert_ok(jrl_device_open(&dev, "cpu", 2, err));
    assert_ok(jrl_policy_cast(f32, golden, JRL_F32, dev, id, err));
    assert_ok(jrl_file_read(&text, config, 1 << 20, err));
    assert_non_null(strstr(jrl_buffer_str(&text), "\"dtype\": \"float32\""));
    assert_ok(jrl_policy_open(&p, f32, err));
    assert_int_equal(jrl_policy_config(p)->dtype, JRL_F32);
    for (int64_t i = 0; i < jrl_policy_n_tensors(p); i++) {
        struct jrl_tensor_difference d;

        assert_ok(jrl_tensor_compare(&d, jrl_policy_tensor(golden, i), jrl_policy_tensor(p, i), dev, err));
        assert_true(d.max_abs == 0 && d.n_different == 0 && d.rms == 0);
    }
    assert_ok(jrl_policy_cast(back, p, JRL_BF16, dev, id, err));
    jrl_policy_close(p);
    assert_ok(jrl_policy_open(&p, back, err));
    for (int64_t i = 0; i < jrl_policy_n_tensors(p); i++)
        assert_memory_equal(jrl_policy_tensor(p, i)->data, jrl_policy_tensor(golden, i)->data, (size_t)jrl_policy_tensor(p, i)->n_elements * 2);
    jrl_policy_close(p);
    jrl_policy_close(golden);
    jrl_device_close(dev);
    jrl_buffer_release(&text);
    free(f32);
    free(back);
    free(config);
}

/* A header of odd length puts every tensor at an odd address: the same logprobs. */
static void test_unaligned(void **state)
{
    struct test_model t;
    struct jrl_policy *p = NULL;
    struct jrl_model model;
    char *folder, *weights;
    struct jrl_buffer file = { 0 }, odd = { 0 };
    uint64_t len;
    int64_t n = 0;
    float want[64], got[64];
    uint32_t *tokens;

    (void)state;
    test_model_open(&t, "qwen2-untied-gqa3", "bf16", 2);
    struct jrl_tensor *tensors = tensors_of(t.policy);
    folder = make_folder("odd", "qwen2-untied-gqa3", tensors, jrl_policy_n_tensors(t.policy));
    weights = jrl_path_join(folder, "model.safetensors");
    assert_ok(jrl_file_read(&file, weights, 1 << 24, err));
    memcpy(&len, file.data, 8);
    len++;
    jrl_buffer_append(&odd, &len, 8);
    jrl_buffer_append(&odd, file.data + 8, (size_t)len - 1);
    jrl_buffer_append_byte(&odd, ' ');
    jrl_buffer_append(&odd, file.data + 8 + len - 1, file.len - 8 - (size_t)len + 1);
    write_file(folder, "model.safetensors", odd.data, odd.len);
    assert_ok(jrl_policy_open(&p, folder, err));
    assert_int_equal((uintptr_t)jrl_policy_tensor(p, 0)->data % 2, 1);
    assert_ok(jrl_model_open(&model, t.dev, p, "auto", 0, err));
    tokens = golden_tokens(&t, "tokens", &n);
    const struct jrl_sequence s = { tokens, 65, 1 };
    assert_ok(jrl_score(&t.model, t.ws, &s, 1, 1, want, NULL, err));
    assert_ok(jrl_score(&model, t.ws, &s, 1, 1, got, NULL, err));
    assert_false(bits_differ(want, got, 64));
    jrl_model_close(&model);
    jrl_policy_close(p);
    jrl_buffer_release(&file);
    jrl_buffer_release(&odd);
    free(tensors);
    free(tokens);
    free(weights);
    free(folder);
    test_model_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_set), cmocka_unit_test(test_tied_head),   cmocka_unit_test(test_shards),
        cmocka_unit_test(test_nonfinite),  cmocka_unit_test(test_other_types), cmocka_unit_test(test_unaligned),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
