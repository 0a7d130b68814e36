/* test_optimizer.c - warm-up, AdamW over the flat state against a plain loop in double, skipped updates, and the
 * folder optimizer/ written and read again. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/random.h"
#include "learn/optimizer.h"
#include "learn/state.h"
#include "model/safetensors.h"

static const struct jrl_model_config config = { .arch = JRL_ARCH_QWEN2, .vocab = 50, .dim = 24, .n_layers = 2, .n_heads = 4, .n_kv_heads = 2,
                                                .head_dim = 6, .mlp_dim = 40, .max_positions = 64, .tied = true, .qkv_bias = true };
static const struct jrl_optimizer_settings settings = { .lr = 1e-2, .warmup = 10, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
                                                        .weight_decay = 0.1, .grad_clip = 1 };

struct fixture {
    struct jrl_device *dev;
    struct jrl_parameter *parameters;
    int64_t n_parameters, n;
    struct jrl_optimizer o;
    float *grad;
    char dir[64];
};

static int set_up(void **state)
{
    struct fixture *f = jrl_xcalloc(1, sizeof(*f));
    struct jrl_error err = { 0 };

    *state = f;
    if (jrl_device_open(&f->dev, "cpu", 2, &err) < 0)
        return -1;
    f->n_parameters = jrl_config_parameters(&config, &f->parameters, &f->n);
    if (jrl_optimizer_init(&f->o, f->dev, &settings, f->parameters, f->n_parameters, f->n, &err) < 0)
        return -1;
    f->grad = jrl_xcalloc((size_t)f->n, sizeof(float));
    snprintf(f->dir, sizeof(f->dir), "/tmp/jrl-test-optimizer-XXXXXX");
    return mkdtemp(f->dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct jrl_error err = { 0 };
    int rc = jrl_remove_tree(f->dir, &err);

    jrl_optimizer_release(&f->o);
    jrl_parameters_free(f->parameters, f->n_parameters);
    jrl_device_close(f->dev);
    free(f->grad);
    free(f);
    return rc;
}

/* The values of the tensors; the gaps between them stay zero. */
static void fill(const struct fixture *f, float *to, uint64_t stream, double scale)
{
    struct jrl_rng rng;

    jrl_rng_init(&rng, 7, stream);
    for (int64_t i = 0; i < f->n_parameters; i++)
        for (int64_t j = 0; j < f->parameters[i].n_elements; j++)
            to[f->parameters[i].offset + j] = (float)(scale * jrl_rng_normal(&rng));
}

static void test_warmup(void **state)
{
    struct jrl_optimizer_settings s = { .lr = 1e-6, .warmup = 10 };

    (void)state;
    assert_true(jrl_learning_rate(&s, 1) == 0);
    assert_true(fabs(jrl_learning_rate(&s, 2) - 1e-7) < 1e-20);
    assert_true(fabs(jrl_learning_rate(&s, 10) - 9e-7) < 1e-20);
    assert_true(jrl_learning_rate(&s, 11) == 1e-6 && jrl_learning_rate(&s, 4380) == 1e-6);
    s.warmup = 0;
    assert_true(jrl_learning_rate(&s, 1) == 1e-6);
}

/* Three updates beside torch.optim.AdamW's formulas in double; the second gradient is longer than the bound. */
static void test_step(void **state)
{
    static const double scales[] = { 1e-3, 3, 2e-3 };
    struct fixture *f = *state;
    struct jrl_error err = { 0 };
    double *w = jrl_xcalloc((size_t)f->n, sizeof(*w)), *m = jrl_xcalloc((size_t)f->n, sizeof(*m)), *v = jrl_xcalloc((size_t)f->n, sizeof(*v));
    jrl_bf16 *weights = jrl_xcalloc((size_t)f->n, sizeof(*weights));

    fill(f, f->o.master, 0, 0.5);
    for (int64_t i = 0; i < f->n; i++)
        w[i] = f->o.master[i];
    for (int t = 1; t <= 3; t++) {
        double squares = 0, norm, scale;
        bool skipped = true;

        fill(f, f->grad, (uint64_t)t, scales[t - 1]);
        for (int64_t i = 0; i < f->n; i++)
            squares += (double)f->grad[i] * f->grad[i];
        scale = fmin(1, 1 / (sqrt(squares) + 1e-6));
        assert_int_equal(jrl_optimizer_step(&f->o, settings.lr, f->grad, weights, JRL_BF16, &norm, &skipped, &err), JRL_OK);
        assert_false(skipped);
        assert_true(fabs(norm - sqrt(squares)) <= 1e-9 * norm);
        assert_true((scale < 1) == (t == 2));
        for (int64_t i = 0; i < f->n; i++) {
            double g = scale * f->grad[i];
            uint32_t bits = (uint32_t)weights[i] << 16;
            float rounded;

            memcpy(&rounded, &bits, 4);
            w[i] *= 1 - settings.lr * settings.weight_decay;
            m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g;
            v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g * g;
            w[i] -= settings.lr * (m[i] / (1 - pow(settings.beta1, t))) / (sqrt(v[i] / (1 - pow(settings.beta2, t))) + settings.eps);
            if (!(fabs(f->o.master[i] - w[i]) <= 2e-5 * settings.lr + 1e-6 * fabs(w[i])))
                fail_msg("update %d, element %d: %.9g, expected %.9g", t, (int)i, (double)f->o.master[i], w[i]);
            if (!(fabsf(rounded - f->o.master[i]) <= fabsf(f->o.master[i]) / 256))
                fail_msg("update %d, element %d: weight %.9g of master %.9g", t, (int)i, (double)rounded, (double)f->o.master[i]);
        }
    }
    assert_int_equal(f->o.updates, 3);
    free(w);
    free(m);
    free(v);
    free(weights);
}

/* A gradient with a NaN or an infinity changes nothing and is reported. */
static void test_skip(void **state)
{
    struct fixture *f = *state;
    struct jrl_error err = { 0 };
    float *weights = jrl_xcalloc((size_t)f->n, sizeof(float)), *before = jrl_xcalloc((size_t)f->n, sizeof(float));
    const float bad[] = { NAN, INFINITY, -INFINITY };

    fill(f, f->o.master, 1, 1);
    memcpy(before, f->o.master, (size_t)f->n * sizeof(float));
    for (int i = 0; i < 3; i++) {
        double norm;
        bool skipped = false;

        fill(f, f->grad, 2, 1);
        f->grad[f->parameters[f->n_parameters - 1].offset] = bad[i];
        assert_int_equal(jrl_optimizer_step(&f->o, 1, f->grad, weights, JRL_F32, &norm, &skipped, &err), JRL_OK);
        assert_true(skipped && !isfinite(norm));
    }
    assert_memory_equal(before, f->o.master, (size_t)f->n * sizeof(float));
    for (int64_t i = 0; i < f->n; i++)
        assert_true(f->o.m[i] == 0 && f->o.v[i] == 0 && weights[i] == 0);
    assert_int_equal(f->o.updates, 0);
    free(weights);
    free(before);
}

static void reload(struct fixture *f, int status, const char *says)
{
    struct jrl_optimizer other = { 0 };
    struct jrl_error err = { 0 };

    assert_int_equal(jrl_optimizer_init(&other, f->dev, &settings, f->parameters, f->n_parameters, f->n, &err), JRL_OK);
    assert_int_equal(jrl_optimizer_load(&other, f->dir, &err), status);
    if (status == JRL_OK) {
        assert_memory_equal(other.master, f->o.master, (size_t)f->n * sizeof(float));
        assert_memory_equal(other.m, f->o.m, (size_t)f->n * sizeof(float));
        assert_memory_equal(other.v, f->o.v, (size_t)f->n * sizeof(float));
    } else if (!strstr(err.text, says)) {
        fail_msg("the message is '%s', not about '%s'", err.text, says);
    }
    jrl_optimizer_release(&other);
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    struct jrl_error err = { 0 };
    char path[128];

    fill(f, f->o.master, 1, 1);
    fill(f, f->o.m, 2, 1e-3);
    fill(f, f->o.v, 3, 1e-6);
    assert_false(jrl_optimizer_exists(f->dir));
    reload(f, JRL_ERR_INPUT, "master.safetensors");
    assert_int_equal(jrl_optimizer_save(&f->o, f->dir, &err), JRL_OK);
    assert_true(jrl_optimizer_exists(f->dir));
    reload(f, JRL_OK, "");
    f->o.m[f->parameters[3].offset] = NAN;
    assert_int_equal(jrl_optimizer_save(&f->o, f->dir, &err), JRL_OK);
    reload(f, JRL_ERR_INPUT, f->parameters[3].name);
    f->o.m[f->parameters[3].offset] = 0;
    f->parameters[0].shape[0]--; /* another model's state */
    f->parameters[0].n_elements -= config.dim;
    assert_int_equal(jrl_optimizer_save(&f->o, f->dir, &err), JRL_OK);
    f->parameters[0].shape[0]++;
    f->parameters[0].n_elements += config.dim;
    reload(f, JRL_ERR_INPUT, "not f32 of the model's shape");
    f->o.n_parameters--;
    assert_int_equal(jrl_optimizer_save(&f->o, f->dir, &err), JRL_OK);
    f->o.n_parameters++;
    reload(f, JRL_ERR_INPUT, "tensors");
    snprintf(path, sizeof(path), "%s/optimizer/master.safetensors", f->dir);
    assert_int_equal(truncate(path, 100), 0);
    reload(f, JRL_ERR_INPUT, "master.safetensors");
}

static void test_state(void **state)
{
    struct fixture *f = *state;
    struct jrl_train_state s = { .step = 12, .updates = 48, .parent = "0123456789abcdef0123456789abcdef", .has_seed = true,
                                 .seed = UINT64_MAX, .device = "cpu", .path = "amx", .dtype = "bf16", .version = "1", .ranks = 1 }, r;
    struct jrl_error err = { 0 };
    char path[128];

    assert_int_equal(jrl_train_state_read(&r, f->dir, &err), JRL_OK);
    assert_false(r.present);
    assert_int_equal(jrl_train_state_write(&s, f->dir, &err), JRL_OK);
    assert_int_equal(jrl_train_state_read(&r, f->dir, &err), JRL_OK);
    assert_true(r.present && r.step == 12 && r.updates == 48 && r.has_seed && r.seed == UINT64_MAX && r.ranks == 1);
    assert_string_equal(r.parent, s.parent);
    assert_string_equal(r.path, "amx");
    assert_string_equal(r.dtype, "bf16");
    snprintf(path, sizeof(path), "%s/state.json", f->dir);
    assert_int_equal(jrl_file_write(path, "{\"step\":\"a\"}", 12, &err), JRL_OK);
    assert_int_equal(jrl_train_state_read(&r, f->dir, &err), JRL_ERR_INPUT);
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_file_write(path, "{\"step\":1}", 10, &err), JRL_OK);
    assert_int_equal(jrl_train_state_read(&r, f->dir, &err), JRL_ERR_INPUT);
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_file_write(path, "[]", 2, &err), JRL_OK);
    assert_int_equal(jrl_train_state_read(&r, f->dir, &err), JRL_ERR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup),
        cmocka_unit_test_setup_teardown(test_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_skip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_state, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
