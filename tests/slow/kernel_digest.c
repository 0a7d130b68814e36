/* kernel_digest.c - runs every kernel on made-up input and prints a digest of its output, one line each, so that
 * two builds (another processor, another instruction set) can be compared by diff. Needs kernels/ and three
 * files of libcommon/base/ only. Usage: kernel_digest [threads] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/logprob.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/swiglu.h"
#include "kernels/vmath.h"

static struct jrl_error err;
static struct jrl_device *dev;

static void must(int rc)
{
    if (rc) {
        fprintf(stderr, "kernel_digest: error: %s\n", err.text);
        exit(1);
    }
}

static void *take(int64_t n, int64_t size_bytes)
{
    void *p;
    must(jrl_try_alloc(&p, (size_t)n, (size_t)size_bytes, "the digest", &err));
    return p;
}

/* FNV-1a over bytes. */
static void print_digest(const char *name, enum jrl_dtype dtype, const void *data, int64_t n_bytes)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int64_t i = 0; i < n_bytes; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    printf("%-24s %s %016llx\n", name, dtype == JRL_F32 ? "f32 " : "bf16", (unsigned long long)h);
}

static uint32_t state = 1;
static float uniform(void)
{
    state = state * 1664525u + 1013904223u;
    return ((float)(int32_t)((state >> 8) & 0xffffffu) - 8388608.0f) / 8388608.0f;
}

static float *floats(int64_t n, float scale)
{
    float *x = take(n, 4);
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * uniform();
    return x;
}

static void *elements(enum jrl_dtype dtype, int64_t n, float scale)
{
    float *x = floats(n, scale);
    void *y = take(n, 4);
    must(jrl_convert_from_f32(dev, y, dtype, x, n, &err));
    free(x);
    return y;
}

static void products(enum jrl_dtype dtype)
{
    static const int64_t sizes[][3] = { { 1, 50, 100 }, { 33, 40, 97 }, { 70, 96, 320 }, { 130, 33, 64 } };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        void *a = elements(dtype, m * k, 2), *b = elements(dtype, n * k, 2);
        float *c = floats(m * n, 1);
        struct jrl_matmul p = { dtype, m, n, k, a, b, c, k, k, n, true };
        must(jrl_matmul_nt(dev, &p, &err));
        p.ldb = n;
        must(jrl_matmul_nn(dev, &p, &err));
        p.lda = m;
        must(jrl_matmul_tn(dev, &p, &err));
        print_digest("matmul", dtype, c, m * n * 4);
        free(a);
        free(b);
        free(c);
    }
}

static void functions(void)
{
    enum { N = 200000 };
    float *y = take(2 * N, 4);
    double *z = take(N, 8);
    for (int i = 0; i < N; i++) {
        y[i] = jrl_expf(uniform() * 90);
        y[N + i] = jrl_logf(jrl_expf(uniform() * 80));
    }
    print_digest("exp, log", JRL_F32, y, 2 * N * 4);
    for (int i = 0; i < N; i++)
        jrl_sincos((double)uniform() * (i % 2 ? 0x1p31 : 10), &y[i], &y[N + i]);
    print_digest("sin, cos", JRL_F32, y, 2 * N * 4);
    for (int i = 0; i < N; i++) {
        double base = 1e6 + uniform();
        z[i] = jrl_pow(base, uniform());
    }
    print_digest("pow", JRL_F32, z, N * 8);
    free(y);
    free(z);
}

static void optimiser(void)
{
    const int64_t n = 10007;
    float *master = floats(n, 1), *m = floats(n, 0), *v = floats(n, 0), *grad = floats(n, 0.1f);
    jrl_bf16 *weights = take(n, 2);
    double sum;
    for (int step = 1; step <= 4; step++) {
        struct jrl_adamw p = { 1e-3, 0.9, 0.999, 1e-8, 0.1, 0.7, step };
        must(jrl_adamw_step(dev, &p, master, m, v, grad, weights, JRL_BF16, n, &err));
    }
    must(jrl_sum_squares(dev, &sum, master, n, &err));
    print_digest("adamw master", JRL_F32, master, n * 4);
    print_digest("adamw weights", JRL_BF16, weights, n * 2);
    print_digest("sum of squares", JRL_F32, &sum, sizeof sum);
    free(master);
    free(m);
    free(v);
    free(grad);
    free(weights);
}

static void rows(enum jrl_dtype dtype)
{
    const int64_t n_rows = 19, dim = 203, vocab = 3001, bytes = jrl_dtype_bytes(dtype);
    float *x = floats(n_rows * dim, 3), *dy = floats(n_rows * dim, 1), *dx = floats(n_rows * dim, 1), *dweight = floats(dim, 1);
    void *weight = elements(dtype, dim, 1), *y = take(n_rows * dim, bytes), *up = take(n_rows * dim, bytes);
    must(jrl_rmsnorm(dev, y, x, weight, dtype, 1e-6f, n_rows, dim, &err));
    print_digest("rmsnorm", dtype, y, n_rows * dim * bytes);
    must(jrl_rmsnorm_backward(dev, dx, dweight, dy, x, weight, dtype, 1e-6f, n_rows, dim, &err));
    print_digest("rmsnorm dx", dtype, dx, n_rows * dim * 4);
    print_digest("rmsnorm dweight", dtype, dweight, dim * 4);
    must(jrl_swiglu(dev, y, dtype, x, dx, n_rows, dim, &err));
    print_digest("swiglu", dtype, y, n_rows * dim * bytes);
    must(jrl_swiglu_backward(dev, y, up, dtype, dy, x, dx, n_rows, dim, &err));
    print_digest("swiglu dgate", dtype, y, n_rows * dim * bytes);
    print_digest("swiglu dup", dtype, up, n_rows * dim * bytes);
    free(x);
    free(dy);
    free(dx);
    free(dweight);
    free(weight);
    free(y);
    free(up);

    float *logits = floats(n_rows * vocab, 12), out[3][19], dentropy[19];
    void *dlogits = take(n_rows * vocab, bytes);
    uint32_t targets[19];
    for (int r = 0; r < n_rows; r++) {
        targets[r] = (uint32_t)(r * 157);
        dentropy[r] = uniform();
    }
    must(jrl_logprob(dev, out[0], out[1], out[2], logits, vocab, targets, 0.7f, n_rows, vocab, &err));
    print_digest("logprob", dtype, out, sizeof out);
    must(jrl_logprob_backward(dev, dlogits, dtype, logits, vocab, targets, 0.7f, out[2], out[1], out[0], dentropy, n_rows, vocab, &err));
    print_digest("logprob dlogits", dtype, dlogits, n_rows * vocab * bytes);
    free(logits);
    free(dlogits);
}

static void attention(enum jrl_dtype dtype)
{
    enum { HEADS = 6, KV_HEADS = 2, DIM = 64, LENGTH = 75, PAGES = 3 };
    const int64_t q_width = HEADS * DIM, width = (HEADS + 2 * KV_HEADS) * DIM, bytes = jrl_dtype_bytes(dtype);
    float *cosines = take(LENGTH * DIM / 2, 4), *sines = take(LENGTH * DIM / 2, 4), *qkv = floats(LENGTH * width, 3);
    float *dout = floats(LENGTH * q_width, 1), *dqkv = floats(LENGTH * width, 1), *lse = floats(LENGTH * HEADS, 1);
    void *q = take(LENGTH * q_width, bytes), *out = take(LENGTH * q_width, bytes), *bias = elements(dtype, width, 1);
    uint8_t *pages[PAGES];
    for (int i = 0; i < PAGES; i++)
        pages[i] = take(jrl_page_bytes(dtype, KV_HEADS, DIM), 1);
    jrl_rope_table(cosines, sines, LENGTH, DIM, 1e6);
    print_digest("rope table", dtype, cosines, LENGTH * DIM / 2 * 4);
    struct jrl_attention_rows sequence = { 0, LENGTH, 0, pages };
    struct jrl_attention p = {
        .dtype = dtype, .n_heads = HEADS, .n_kv_heads = KV_HEADS, .head_dim = DIM, .n_rows = LENGTH, .n_seqs = 1,
        .seqs = &sequence, .rope_cos = cosines, .rope_sin = sines,
    };
    must(jrl_qkv_rope(dev, &p, q, qkv, bias, &err));
    print_digest("qkv rope", dtype, q, LENGTH * q_width * bytes);
    must(jrl_attention_forward(dev, &p, out, lse, q, &err));
    print_digest("attention", dtype, out, LENGTH * q_width * bytes);
    print_digest("attention lse", dtype, lse, LENGTH * HEADS * 4);
    must(jrl_attention_backward(dev, &p, dqkv, dout, q, out, lse, &err));
    print_digest("attention dqkv", dtype, dqkv, LENGTH * width * 4);
    for (int i = 0; i < PAGES; i++)
        free(pages[i]);
    free(cosines);
    free(sines);
    free(qkv);
    free(dout);
    free(dqkv);
    free(lse);
    free(q);
    free(out);
    free(bias);
}

int main(int argc, char **argv)
{
    must(jrl_device_open(&dev, "cpu", argc > 1 ? atoi(argv[1]) : 2, &err));
    fprintf(stderr, "kernel_digest: path '%s'\n", jrl_device_path(dev));
    functions();
    optimiser();
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++) {
        products((enum jrl_dtype)dtype);
        rows((enum jrl_dtype)dtype);
        attention((enum jrl_dtype)dtype);
    }
    jrl_device_close(dev);
    return 0;
}
