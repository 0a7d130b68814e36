/* test_safetensors.c - safetensors files and config.json: what is read, what is refused and with which words. */
#include "base/random.h"
#include "policy_test.h"

/* A header and n_data bytes of zeros behind it. */
static void write_safetensors(const char *folder, const char *name, const char *header, uint64_t claimed_len, size_t n_data)
{
    const size_t len = strlen(header);
    uint8_t *file = calloc(1, 8 + len + n_data);

    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(claimed_len >> 8 * i);
    memcpy(file + 8, header, len);
    write_file(folder, name, file, 8 + len + n_data);
    free(file);
}

/* ---- safetensors ------------------------------------------------------------------------------------------ */

#define TENSOR(name, dtype, shape, first, last) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #first "," #last "]}"

static void test_hostile_safetensors(void **state)
{
    static const struct { const char *header; size_t n_data; const char *words; } cases[] = {
        { "{" TENSOR("a", "F32", "2", 0, 8) "}", 4, "tensor 'a' has its data at bytes 0 to 8, outside the 4 bytes" },
        { "{" TENSOR("a", "F32", "2", 0, 9223372036854775807) "}", 8, "outside the 8 bytes" },
        { "{" TENSOR("a", "F32", "2", 0, 9223372036854775808) "}", 8, "not valid JSON" },
        { "{" TENSOR("a", "F32", "2", -8, 0) "}", 8, "outside the 8 bytes" },
        { "{" TENSOR("a", "F32", "2", 8, 0) "}", 8, "outside the 8 bytes" },
        { "{" TENSOR("a", "F32", "2", 0, 8) "," TENSOR("b", "F32", "2", 4, 12) "}", 12, "tensors 'a' and 'b' overlap" },
        { "{" TENSOR("a", "F32", "2", 0, 8) "," TENSOR("b", "F32", "2", 0, 8) "}", 8, "tensors 'a' and 'b' overlap" },
        { "{" TENSOR("a", "F32", "2", 0, 8) "," TENSOR("b", "F32", "1", 12, 16) "}", 16, "4 bytes before tensor 'b' belong to no tensor" },
        { "{" TENSOR("a", "F32", "1", 4, 8) "}", 8, "4 bytes before tensor 'a' belong to no tensor" },
        { "{" TENSOR("a", "F32", "1", 0, 4) "}", 8, "4 bytes at the end belong to no tensor" },
        { "{}", 1, "1 bytes at the end belong to no tensor" },
        { "{" TENSOR("a", "F32", "3", 0, 8) "}", 8, "tensor 'a' has 8 bytes of data, its shape and type ask for 12" },
        { "{" TENSOR("a", "F32", "4294967296,4294967296", 0, 8) "}", 8, "tensor 'a' has an impossible shape" },
        { "{" TENSOR("a", "F32", "2305843009213693952", 0, 8) "}", 8, "tensor 'a' has" },
        { "{" TENSOR("a", "F32", "-2", 0, 8) "}", 8, "impossible shape" },
        { "{" TENSOR("a", "F32", "2.0", 0, 8) "}", 8, "impossible shape" },
        { "{" TENSOR("a", "F32", "1,1,1,1,2", 0, 8) "}", 8, "no shape of at most 4 dimensions" },
        { "{" TENSOR("a", "I64", "1", 0, 8) "}", 8, "tensor 'a' has type 'I64': only F32, BF16 and F16" },
        { "{" TENSOR("a", "F32", "2", 0, 8) "," TENSOR("a", "F32", "2", 0, 8) "}", 8, "duplicate" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "tensor 'a' has no data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "tensor 'a' has no data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0.0,8.0]}}", 8, "tensor 'a' has no data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "no shape" },
        { "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor 'a' has type ''" },
        { "{\"a\":7}", 8, "the entry of tensor 'a' is not an object" },
        { "{\"a\\nb\":7}", 8, "control characters" },
        { "{\"\":7}", 8, "name is empty" },
        { "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ holds something else than strings" },
        { "{\"__metadata__\":[]}", 0, "__metadata__ is not an object" },
        { "[]", 0, "the header is not a JSON object" },
        { "{\"a\":", 8, "not valid JSON" },
        { "{\"a\xff\":1}", 8, "not valid JSON" },
    };
    char *path = in_scratch("hostile.safetensors");

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jrl_error error = { 0 };
        struct jrl_safetensors f;

        write_safetensors(scratch, "hostile.safetensors", cases[i].header, strlen(cases[i].header), cases[i].n_data);
        expect_input_error(jrl_safetensors_open(&f, path, &error), &error, cases[i].words);
    }
    free(path);
}

static void test_hostile_header_length(void **state)
{
    static const struct { uint64_t len; const char *words; } cases[] = {
        { 3, "reaches beyond the end" }, { 1 << 20, "reaches beyond the end" }, { (16 << 20) + 1, "above the limit" }, { UINT64_MAX, "above the limit" },
    };
    char *path = in_scratch("hostile.safetensors");
    struct jrl_error error = { 0 };
    struct jrl_safetensors f;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        error = (struct jrl_error){ 0 };
        write_safetensors(scratch, "hostile.safetensors", "{}", cases[i].len, 0);
        expect_input_error(jrl_safetensors_open(&f, path, &error), &error, cases[i].words);
    }
    error = (struct jrl_error){ 0 };
    write_file(scratch, "hostile.safetensors", "1234567", 7);
    expect_input_error(jrl_safetensors_open(&f, path, &error), &error, "too short");
    error = (struct jrl_error){ 0 };
    write_file(scratch, "hostile.safetensors", "", 0);
    expect_input_error(jrl_safetensors_open(&f, path, &error), &error, "too short");
    free(path);
}

/* A good file cut at every length, and with every byte of its header changed: refused or whole, never worse. */
static void test_cut_and_changed(void **state)
{
    char *path = in_scratch("whole.safetensors"), *part = in_scratch("part.safetensors");
    const float values[6] = { 1, 2, 3, 4, 5, 6 };
    const struct jrl_tensor tensors[] = {
        { .name = "b", .dtype = JRL_F32, .n_dims = 2, .shape = { 1, 2 }, .n_elements = 2, .data = values },
        { .name = "a", .dtype = JRL_F32, .n_dims = 1, .shape = { 3 }, .n_elements = 3, .data = values + 2 },
    };
    struct jrl_buffer file = { 0 };
    int n_refused = 0;

    (void)state;
    assert_ok(jrl_safetensors_write(path, tensors, 2, NULL, err));
    assert_ok(jrl_file_read(&file, path, 1 << 20, err));
    for (size_t len = 0; len < file.len; len++) {
        struct jrl_error error = { 0 };
        struct jrl_safetensors f;

        write_file(scratch, "part.safetensors", file.data, len);
        expect_input_error(jrl_safetensors_open(&f, part, &error), &error, "part.safetensors");
    }
    for (size_t i = 0; i < file.len - 20; i++) {
        struct jrl_safetensors f;
        const uint8_t kept = file.data[i];

        file.data[i] ^= 0x11;
        write_file(scratch, "part.safetensors", file.data, file.len);
        if (jrl_safetensors_open(&f, part, NULL) == JRL_OK) {
            assert_in_range(f.n_tensors, 1, 2);
            jrl_safetensors_close(&f);
        } else {
            n_refused++;
        }
        file.data[i] = kept;
    }
    assert_true(n_refused > 50);
    jrl_buffer_release(&file);
    free(path);
    free(part);
}

#define SIZES "\"vocab_size\":100,\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":96"
#define LLAMA "\"model_type\":\"llama\"," SIZES
#define QWEN2 "\"model_type\":\"qwen2\",\"num_key_value_heads\":2," SIZES

/* Random damage to a header and to a config.json: any verdict but a crash, and an error has a text. */
static void test_random_damage(void **state)
{
    static const char header[] = "{" TENSOR("a", "F32", "2,2", 0, 16) "," TENSOR("b", "BF16", "4", 16, 24) ",\"__metadata__\":{\"format\":\"pt\"}}";
    static const char config[] = "{" QWEN2 ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1e6},\"eos_token_id\":[5,7],"
                                 "\"layer_types\":[\"full_attention\"],\"head_dim\":16,\"rms_norm_eps\":1e-6,\"torch_dtype\":\"bfloat16\"}";
    static const char bytes[] = "{}[]\",:0123456789-.eE\\u\0\xff\x80 truefalsn";
    char *path = in_scratch("damaged.safetensors"), text[sizeof(header) + sizeof(config)];
    int n_bad = 0;
    struct jrl_rng rng;

    (void)state;
    jrl_rng_init(&rng, 1, 2);
    for (int round = 0; round < 4000; round++) {
        const bool is_header = round % 2;
        const size_t len = is_header ? sizeof(header) - 1 : sizeof(config) - 1;
        struct jrl_error error = { 0 };
        struct jrl_model_config c;
        struct jrl_safetensors f;
        int rc;

        memcpy(text, is_header ? header : config, len + 1);
        for (uint64_t i = jrl_rng_below(&rng, 4); i < 4; i++)
            text[jrl_rng_below(&rng, len)] = bytes[jrl_rng_below(&rng, sizeof(bytes) - 1)];
        if (is_header) {
            uint8_t file[8 + sizeof(header) + 24] = { (uint8_t)len, (uint8_t)(len >> 8) };

            memcpy(file + 8, text, len);
            write_file(scratch, "damaged.safetensors", file, 8 + len + 24);
            if ((rc = jrl_safetensors_open(&f, path, &error)) == JRL_OK)
                jrl_safetensors_close(&f);
        } else {
            rc = jrl_config_parse(&c, text, len, "config.json", &error);
        }
        n_bad += rc != JRL_OK;
        assert_true(rc == JRL_OK || (rc == JRL_ERR_INPUT && error.text[0]));
    }
    assert_in_range(n_bad, 2000, 4000);
    free(path);
}

static void test_write_and_read(void **state)
{
    char *path = in_scratch("written.safetensors");
    const float f32[] = { 1, -2, 3 };
    const uint16_t bf16[] = { 0x3f80, 0x4000 };
    const char *const metadata[] = { "format", "pt", "who", "a \"quoted\" one", NULL };
    const struct jrl_tensor tensors[] = {
        { .name = "z", .dtype = JRL_BF16, .n_dims = 1, .shape = { 2 }, .n_elements = 2, .data = bf16 },
        { .name = "empty", .dtype = JRL_F32, .n_dims = 2, .shape = { 0, 7 }, .n_elements = 0, .data = f32 },
        { .name = "m", .dtype = JRL_F32, .n_dims = 2, .shape = { 3, 1 }, .n_elements = 3, .data = f32 },
        { .name = "scalar", .dtype = JRL_F16, .n_dims = 0, .n_elements = 1, .data = bf16 },
    };
    struct jrl_safetensors f;

    (void)state;
    assert_ok(jrl_safetensors_write(path, tensors, 4, metadata, err));
    assert_ok(jrl_safetensors_open(&f, path, err));
    assert_int_equal(f.n_tensors, 4);
    assert_string_equal(f.tensors[0].name, "empty");
    assert_string_equal(f.tensors[1].name, "m");
    assert_string_equal(f.tensors[2].name, "scalar");
    assert_string_equal(f.tensors[3].name, "z");
    assert_int_equal((uintptr_t)f.tensors[0].data % 64, 0);
    assert_memory_equal(f.tensors[1].data, f32, sizeof(f32));
    assert_memory_equal(f.tensors[3].data, bf16, sizeof(bf16));
    assert_int_equal(f.tensors[2].n_dims, 0);
    assert_int_equal(f.tensors[0].shape[1], 7);
    assert_string_equal(f.metadata[2], "who");
    assert_string_equal(f.metadata[3], "a \"quoted\" one");
    assert_null(f.metadata[4]);
    jrl_safetensors_close(&f);
    assert_ok(jrl_safetensors_write(path, NULL, 0, NULL, err));
    assert_ok(jrl_safetensors_open(&f, path, err));
    assert_int_equal(f.n_tensors, 0);
    jrl_safetensors_close(&f);
    free(path);
}

/* ---- config.json ------------------------------------------------------------------------------------------ */

static void test_config_defaults(void **state)
{
    struct jrl_model_config c;
    const char *text = "{" LLAMA "}";

    (void)state;
    assert_ok(jrl_config_parse(&c, text, strlen(text), "x", err));
    assert_int_equal(c.arch, JRL_ARCH_LLAMA);
    assert_int_equal(c.n_kv_heads, 4);
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.max_positions, 2048);
    assert_true(c.rope_theta == 10000.0);
    assert_true(c.norm_eps == 1e-6f);
    assert_false(c.tied || c.qkv_bias || c.dtype_given || c.n_eos);
    text = "{" QWEN2 ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1000000.0},\"dtype\":\"bfloat16\",\"tie_word_embeddings\":true,"
           "\"eos_token_id\":[5,7],\"sliding_window\":4096,\"use_sliding_window\":false,\"rope_scaling\":null,\"head_dim\":32,\"use_mrope\":false,"
           "\"layer_types\":[\"full_attention\",\"full_attention\"],\"architectures\":[\"Qwen2ForCausalLM\"],\"rms_norm_eps\":1e-05}";
    assert_ok(jrl_config_parse(&c, text, strlen(text), "x", err));
    assert_int_equal(c.arch, JRL_ARCH_QWEN2);
    assert_true(c.rope_theta == 1000000.0 && c.qkv_bias && c.tied && c.dtype_given && c.dtype == JRL_BF16 && c.norm_eps == 1e-5f);
    assert_int_equal(c.head_dim, 32);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos_ids[1], 7);
    text = "{" QWEN2 ",\"rope_theta\":500000,\"torch_dtype\":\"float16\",\"eos_token_id\":3,\"rope_scaling\":{\"type\":\"default\"}}";
    assert_ok(jrl_config_parse(&c, text, strlen(text), "x", err));
    assert_true(c.rope_theta == 500000.0 && c.dtype == JRL_F16 && c.n_eos == 1 && c.eos_ids[0] == 3 && !c.tied);
}

static void test_config_refusals(void **state)
{
    static const struct { const char *text, *words; } cases[] = {
        { "{" LLAMA ",\"attention_bias\":true}", "attention_bias is true" },
        { "{" LLAMA ",\"mlp_bias\":true}", "mlp_bias is true" },
        { "{" LLAMA ",\"sliding_window\":4096}", "sliding_window is 4096" },
        { "{" QWEN2 ",\"use_sliding_window\":true}", "use_sliding_window is true" },
        { "{" QWEN2 ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", "layer_types is" },
        { "{" QWEN2 ",\"quantization_config\":{\"bits\":4}}", "quantization_config is {\"bits\":4}" },
        { "{" LLAMA ",\"hidden_act\":\"gelu\"}", "hidden_act is \"gelu\"" },
        { "{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0}}", "rope_scaling of type 'llama3'" },
        { "{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\"}}", "rope_scaling of type 'yarn'" },
        { "{" LLAMA ",\"rope_scaling\":{\"factor\":2.0}}", "rope_scaling of type '?'" },
        { "{" LLAMA ",\"rope_parameters\":{\"rope_type\":\"dynamic\"}}", "rope_parameters of type 'dynamic'" },
        { "{" LLAMA ",\"rope_parameters\":[]}", "rope_parameters is not an object" },
        { "{" LLAMA ",\"partial_rotary_factor\":0.5}", "partial_rotary_factor 0.5" },
        { "{" LLAMA ",\"rope_interleaved\":true}", "rope_interleaved is true" },
        { "{" LLAMA ",\"attention_dropout\":0.1}", "attention_dropout is 0.1" },
        { "{" LLAMA ",\"torch_dtype\":\"float8_e4m3fn\"}", "dtype 'float8_e4m3fn'" },
        { "{" LLAMA ",\"architectures\":[\"LlamaForSequenceClassification\"]}", "architectures is" },
        { "{" LLAMA ",\"num_key_value_heads\":3}", "no multiple of num_key_value_heads 3" },
        { "{" LLAMA ",\"head_dim\":15}", "head_dim 15 is not supported" },
        { "{" LLAMA ",\"head_dim\":512}", "head_dim 512 is not supported" },
        { "{" LLAMA ",\"rms_norm_eps\":0}", "rms_norm_eps" },
        { "{" LLAMA ",\"eos_token_id\":100}", "eos_token_id is not a token id below the vocab_size 100" },
        { "{" LLAMA ",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", "eos_token_id lists 9 ids" },
        { "{" LLAMA ",\"vocab_size\":7}", "duplicate" },
        { "{" SIZES "}", "model_type is missing" },
        { "{\"model_type\":\"qwen3\"," SIZES "}", "model_type 'qwen3' is not supported: only qwen2 and llama" },
        { "{\"model_type\":\"llama\",\"hidden_size\":64}", "vocab_size is missing" },
        { "{\"model_type\":\"llama\",\"vocab_size\":0}", "vocab_size" },
        { "{\"model_type\":\"llama\",\"vocab_size\":\"9\"}", "vocab_size" },
        { "{\"model_type\":\"qwen2\"," SIZES "}", "no multiple of num_key_value_heads 32" },
        { "[1]", "not a JSON object" },
        { "{", "not valid JSON" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jrl_error error = { 0 };
        struct jrl_model_config c;

        expect_input_error(jrl_config_parse(&c, cases[i].text, strlen(cases[i].text), "config.json", &error), &error, cases[i].words);
        assert_non_null(strstr(error.text, "config.json"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_safetensors), cmocka_unit_test(test_hostile_header_length), cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_random_damage),       cmocka_unit_test(test_write_and_read),        cmocka_unit_test(test_config_defaults),
        cmocka_unit_test(test_config_refusals),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
