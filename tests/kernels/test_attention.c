/* Attention over key-value pages against double precision; every path, thread count and way to cut a sequence
 * into calls gives the same bits. */
#include "attention_case.h"

static void expect_finished(int rc, const struct jrl_error *err)
{
    if (rc != JRL_OK)
        fail_msg("%s", err->text);
}

/* All the kernels over the whole pack. */
static struct attention_result run_pack(struct jrl_device *dev, const struct attention_case *c)
{
    struct attention_result r = { .lse = test_floats(c->n_rows * c->n_heads), .dqkv = test_floats(c->n_rows * c->width) };
    struct jrl_attention_rows seqs[MAX_SEQS];
    struct jrl_error err = { 0 };
    void *q = test_elements(c->dtype, c->n_rows * c->q_width), *out = test_elements(c->dtype, c->n_rows * c->q_width);

    for (int64_t s = 0; s < c->n_seqs; s++) {
        r.pages[s] = new_pages(c, c->lengths[s]);
        seqs[s] = (struct jrl_attention_rows){ c->first_rows[s], c->lengths[s], 0, r.pages[s] };
    }
    struct jrl_attention p = attention_of(c, seqs, c->n_seqs, c->n_rows);
    expect_finished(jrl_qkv_rope(dev, &p, q, c->qkv, c->bias, &err), &err);
    expect_finished(jrl_attention_forward(dev, &p, out, r.lse, q, &err), &err);
    expect_finished(jrl_attention_backward(dev, &p, r.dqkv, c->dout, q, out, r.lse, &err), &err);
    r.q = as_floats(q, c->dtype, c->n_rows * c->q_width);
    r.out = as_floats(out, c->dtype, c->n_rows * c->q_width);
    test_elements_free(c->dtype, q, c->n_rows * c->q_width);
    test_elements_free(c->dtype, out, c->n_rows * c->q_width);
    return r;
}

/* The sequences in calls of at most CHUNK rows each, all sequences in one call, rows packed without gaps. */
static void check_chunks(struct jrl_device *dev, const struct attention_case *c, int64_t chunk)
{
    uint8_t **pages[MAX_SEQS];
    struct jrl_error err = { 0 };
    int64_t longest = 0;

    for (int64_t s = 0; s < c->n_seqs; s++) {
        pages[s] = new_pages(c, c->lengths[s]);
        longest = c->lengths[s] > longest ? c->lengths[s] : longest;
    }
    for (int64_t start = 0; start < longest; start += chunk) {
        struct jrl_attention_rows seqs[MAX_SEQS];
        int64_t n_seqs = 0, n_rows = 0, whole_rows[MAX_SEQS];
        for (int64_t s = 0; s < c->n_seqs; s++) {
            int64_t n = c->lengths[s] - start < chunk ? c->lengths[s] - start : chunk;
            if (n <= 0)
                continue;
            whole_rows[n_seqs] = c->first_rows[s] + start;
            seqs[n_seqs++] = (struct jrl_attention_rows){ n_rows, n, start, pages[s] };
            n_rows += n;
        }
        float *qkv = test_floats(n_rows * c->width), *lse = test_floats(n_rows * c->n_heads), *got;
        void *q = test_elements(c->dtype, n_rows * c->q_width), *out = test_elements(c->dtype, n_rows * c->q_width);
        for (int64_t s = 0; s < n_seqs; s++)
            memcpy(qkv + seqs[s].first_row * c->width, c->qkv + whole_rows[s] * c->width, (size_t)(seqs[s].n_rows * c->width) * 4);
        struct jrl_attention p = attention_of(c, seqs, n_seqs, n_rows);
        expect_finished(jrl_qkv_rope(dev, &p, q, qkv, c->bias, &err), &err);
        expect_finished(jrl_attention_forward(dev, &p, out, lse, q, &err), &err);
        got = as_floats(out, c->dtype, n_rows * c->q_width);
        for (int64_t s = 0; s < n_seqs; s++) {
            int64_t row = seqs[s].first_row, n = seqs[s].n_rows;
            expect_same_bits("rows of a chunk", got + row * c->q_width, c->want.out + whole_rows[s] * c->q_width, n * c->q_width);
            expect_same_bits("lse of a chunk", lse + row * c->n_heads, c->want.lse + whole_rows[s] * c->n_heads, n * c->n_heads);
        }
        test_floats_free(qkv, n_rows * c->width);
        test_floats_free(lse, n_rows * c->n_heads);
        test_floats_free(got, n_rows * c->q_width);
        test_elements_free(c->dtype, q, n_rows * c->q_width);
        test_elements_free(c->dtype, out, n_rows * c->q_width);
    }
    for (int64_t s = 0; s < c->n_seqs; s++)
        free_pages(c, pages[s]);
}

static void check_same(struct jrl_device *dev, bool first, void *ctx)
{
    struct attention_case *c = ctx;
    struct attention_result r = run_pack(dev, c);

    if (first) {
        c->want = r;
        return;
    }
    expect_same_bits("rotated q", r.q, c->want.q, c->n_rows * c->q_width);
    expect_same_bits("attention", r.out, c->want.out, c->n_rows * c->q_width);
    expect_same_bits("lse", r.lse, c->want.lse, c->n_rows * c->n_heads);
    expect_same_bits("dqkv", r.dqkv, c->want.dqkv, c->n_rows * c->width);
    for (int64_t s = 0; s < c->n_seqs; s++)
        for (int64_t i = 0; i < (c->lengths[s] + 31) / 32; i++)
            assert_memory_equal(r.pages[s][i], c->want.pages[s][i], 2 * jrl_page_bytes(c->dtype, c->n_kv_heads, c->dim));
    free_result(c, &r);
}

static void check_chunked(struct jrl_device *dev, bool first, void *ctx)
{
    const int64_t chunks[] = { 1, 3, 32, 100 };
    (void)first;
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
        check_chunks(dev, ctx, chunks[i]);
}

/* The rotated, biased head of a row before rounding. */
static void reference_rope(const struct attention_case *c, double *y, int64_t row, int64_t position, int64_t head)
{
    int64_t half = c->dim / 2;
    for (int64_t i = 0; i < c->dim; i++)
        y[i] = c->qkv[row * c->width + head * c->dim + i] + (c->bias ? element(c->bias, c->dtype, head * c->dim + i) : 0);
    if (head >= c->n_heads + c->n_kv_heads)
        return;
    for (int64_t i = 0; i < half; i++) {
        double angle = (float)position * (float)(1 / pow(10000, 2.0 * (double)i / (double)c->dim));
        double a = y[i], b = y[i + half];
        y[i] = a * cos(angle) - b * sin(angle);
        y[i + half] = b * cos(angle) + a * sin(angle);
    }
}

/* Element I of K (V) at position T as the page holds it. */
static double page_element(const struct attention_case *c, int64_t s, int64_t t, int64_t kv_head, int64_t i, bool value)
{
    int64_t bytes = jrl_page_bytes(c->dtype, c->n_kv_heads, c->dim), each = 32 * c->dim;
    const uint8_t *layer = c->want.pages[s][t / 32] + bytes;
    int64_t slot = t % 32, k_at = kv_head * each + slot * c->dim + i;
    int64_t v_at = (c->n_kv_heads + kv_head) * each + slot / 2 * 2 * c->dim + 2 * i + slot % 2;
    return element(layer, c->dtype, value ? v_at : k_at);
}

static void load_reference(const struct attention_case *c, struct head_reference *h, int64_t s, int64_t head)
{
    int64_t kv_head = head / (c->n_heads / c->n_kv_heads);
    double exact[256];
    for (int64_t t = 0; t < h->n; t++) {
        int64_t row = c->first_rows[s] + t, at = row * c->q_width + head * c->dim;
        double atol = c->dtype == JRL_F32 ? 2e-6 : 1e-6, rtol = c->dtype == JRL_F32 ? 1e-6 : 4e-3;
        double atol_angle = 1e-7 * (double)t; /* an angle off by one float step */
        for (int64_t i = 0; i < c->dim; i++) {
            h->q[t * c->dim + i] = c->want.q[at + i];
            h->k[t * c->dim + i] = page_element(c, s, t, kv_head, i, false);
            h->v[t * c->dim + i] = page_element(c, s, t, kv_head, i, true);
            h->dout[t * c->dim + i] = c->dout[at + i];
        }
        const double *held[] = { h->q, h->k, h->v };
        const int64_t heads[] = { head, c->n_heads + kv_head, c->n_heads + c->n_kv_heads + kv_head };
        for (int part = 0; part < 3; part++) {
            reference_rope(c, exact, row, t, heads[part]);
            for (int64_t i = 0; i < c->dim; i++)
                expect_close("rotation", &(float){ (float)held[part][t * c->dim + i] }, exact + i, 1, atol + 4 * atol_angle, rtol);
        }
    }
}

/* dx of a rotated head -> gradient before the rotation. */
static void rotate_back(double *x, int64_t position, int64_t dim)
{
    for (int64_t i = 0; i < dim / 2; i++) {
        double angle = (float)position * (float)(1 / pow(10000, 2.0 * (double)i / (double)dim)), a = x[i], b = x[i + dim / 2];
        x[i] = a * cos(angle) + b * sin(angle);
        x[i + dim / 2] = b * cos(angle) - a * sin(angle);
    }
}

static void compare_part(const struct attention_case *c, const char *what, int64_t s, int64_t head, double *want, bool rotated)
{
    int64_t n = c->lengths[s], dim = c->dim;
    float *got = test_floats(n * dim);
    for (int64_t t = 0; t < n; t++) {
        if (rotated)
            rotate_back(want + t * dim, t, dim);
        memcpy(got + t * dim, c->want.dqkv + (c->first_rows[s] + t) * c->width + head * dim, (size_t)dim * 4);
    }
    if (n > 1 || !rotated) /* one position: the exact dq and dk are 0 */
        expect_error_below(what, got, want, n * dim, c->dtype == JRL_F32 ? 2e-5 : 2e-2);
    test_floats_free(got, n * dim);
}

static void check_against_double(const struct attention_case *c)
{
    int64_t group = c->n_heads / c->n_kv_heads, dim = c->dim;
    for (int64_t s = 0; s < c->n_seqs; s++) {
        int64_t n = c->lengths[s];
        struct head_reference h = new_head_reference(n, dim);
        for (int64_t head = 0; head < c->n_heads; head++) {
            int64_t kv_head = head / group;
            size_t bytes = (size_t)(n * dim) * sizeof(double);
            load_reference(c, &h, s, head);
            reference_forward(&h);
            for (int64_t t = 0; t < n; t++) {
                const float *out = c->want.out + (c->first_rows[s] + t) * c->q_width + head * dim;
                expect_close("lse", &c->want.lse[(c->first_rows[s] + t) * c->n_heads + head], h.lse + t, 1, 3e-6, 1e-6);
                expect_close("attention", out, h.out + t * dim, dim, c->dtype == JRL_F32 ? 1e-5 : 2e-2, c->dtype == JRL_F32 ? 1e-5 : 8e-3);
                expect_error_below("attention", out, h.out + t * dim, dim, c->dtype == JRL_F32 ? 4e-6 : 2e-2);
            }
            if (head % group == 0) {
                memset(h.dk, 0, bytes);
                memset(h.dv, 0, bytes);
            }
            memset(h.dq, 0, bytes);
            reference_backward(&h);
            compare_part(c, "dq", s, head, h.dq, true);
            if (head % group == group - 1) {
                compare_part(c, "dk", s, c->n_heads + kv_head, h.dk, true);
                compare_part(c, "dv", s, c->n_heads + c->n_kv_heads + kv_head, h.dv, false);
            }
        }
        free_head_reference(&h);
    }
}

static void check_padding(const struct attention_case *c)
{
    for (int64_t r = 0; r < c->n_rows; r++) {
        bool used = false;
        for (int64_t s = 0; s < c->n_seqs; s++)
            used = used || (r >= c->first_rows[s] && r < c->first_rows[s] + c->lengths[s]);
        for (int64_t i = 0; !used && i < c->q_width; i++)
            assert_true(c->want.q[r * c->q_width + i] == 0 && c->want.out[r * c->q_width + i] == 0);
        for (int64_t i = 0; !used && i < c->width; i++)
            assert_true(c->want.dqkv[r * c->width + i] == 0);
    }
}

static void attention_case(enum jrl_dtype dtype, int64_t n_heads, int64_t n_kv_heads, int64_t dim, const int64_t *lengths,
                           int64_t n_seqs, bool with_bias)
{
    struct attention_case c = new_attention_case(dtype, n_heads, n_kv_heads, dim, lengths, n_seqs, with_bias);
    on_every_device(check_same, &c);
    check_against_double(&c);
    check_padding(&c);
    on_every_device(check_chunked, &c);
    free_attention_case(&c);
}

static void test_head_dims(void **state)
{
    const int64_t dims[] = { 2, 16, 30, 32, 64, 80, 96, 128, 256 }, lengths[] = { 33, 7 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
            attention_case((enum jrl_dtype)dtype, 3, 1, dims[i], lengths, 2, i % 2);
}

static void test_lengths(void **state)
{
    const int64_t lengths[] = { 1, 31, 0, 32, 65, 64, 2 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (int64_t n_seqs = 0; n_seqs <= 7; n_seqs += 7)
            attention_case((enum jrl_dtype)dtype, 2, 2, 32, lengths, n_seqs, true);
}

static void test_groups(void **state)
{
    const int64_t lengths[] = { 97, 40 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (int64_t group = 1; group <= 6; group += group == 1 ? 2 : 3)
            attention_case((enum jrl_dtype)dtype, 2 * group, 2, 32, lengths, 2, false);
}

static void test_long(void **state)
{
    const int64_t lengths[] = { 290 };
    (void)state;
    attention_case(JRL_BF16, 3, 1, 64, lengths, 1, false);
    attention_case(JRL_F32, 1, 1, 64, lengths, 1, false);
}

/* Threads that share heads, of which there are fewer than threads, and threads than cores: each pass meets them in another order. The sequences
 * have up to three sets of keys (JRL_ATTENTION_KEY_SET blocks of 32), the last not whole. */
static void test_shared_heads(void **state)
{
    const int64_t lengths[2][2] = { { 530, 0 }, { 40, 290 } };
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct attention_case c = new_attention_case(i % 2 ? JRL_BF16 : JRL_F32, 3 + i / 2, 1 + i / 2, 32, lengths[i / 2], 1 + i / 2, false);
        struct jrl_device *dev = test_device("portable", 1);
        check_same(dev, true, &c);
        jrl_device_close(dev);
        for (int path = 0; path < N_TEST_PATHS; path++)
            for (int n_threads = 2; n_threads <= 11; n_threads += 3) {
                if ((dev = test_device(test_paths[path], n_threads)))
                    for (int pass = 0; pass < (path == N_TEST_PATHS - 1 ? 2 : 8); pass++) /* the plain loops are slow */
                        check_same(dev, false, &c);
                jrl_device_close(dev);
            }
        free_attention_case(&c);
    }
}

/* The slope of sum dout * out along every 7th input, from double precision alone, against the kernel's gradient. */
static void test_finite_differences(void **state)
{
    const int64_t lengths[] = { 35 };
    struct attention_case c = new_attention_case(JRL_F32, 2, 1, 16, lengths, 1, false);
    struct head_reference h = new_head_reference(35, 16);
    const double step = 1e-5;
    (void)state;
    on_every_device(check_same, &c);
    for (int64_t at = 0; at < c.n_rows * c.width; at += 7) {
        double loss[2] = { 0, 0 };
        for (int side = 0; side < 2; side++)
            for (int64_t head = 0; head < 2; head++) {
                const int64_t heads[] = { head, 2, 3 };
                double *into[] = { h.q, h.k, h.v };
                for (int64_t t = 0; t < 35; t++)
                    for (int part = 0; part < 3; part++) {
                        double *x = into[part] + t * 16;
                        reference_rope(&c, x, t, t, heads[part]);
                        if (at / c.width != t || at % c.width / 16 != heads[part])
                            continue;
                        /* Move the input: its rotated direction is the inverse rotation's transpose. */
                        double moved[16] = { 0 };
                        moved[at % 16] = side ? step : -step;
                        if (part < 2)
                            rotate_back(moved, -t, 16);
                        for (int i = 0; i < 16; i++)
                            x[i] += moved[i];
                    }
                reference_forward(&h);
                for (int64_t i = 0; i < 35 * 16; i++)
                    loss[side] += c.dout[i / 16 * c.q_width + head * 16 + i % 16] * h.out[i];
            }
        double slope = (loss[1] - loss[0]) / (2 * step);
        if (!(fabs(slope - c.want.dqkv[at]) <= 2e-5 * (1 + fabs(slope))))
            fail_msg("element %lld: slope %.9g, gradient %.9g", (long long)at, slope, c.want.dqkv[at]);
    }
    free_head_reference(&h);
    free_attention_case(&c);
}

struct far_case {
    struct attention_case *c;
    uint8_t **pages;
    float *out, *lse;
};

static void check_far(struct jrl_device *dev, bool first, void *ctx)
{
    struct far_case *far = ctx;
    const struct attention_case *c = far->c;
    int64_t n = c->lengths[0], rows = 5;
    struct jrl_attention_rows seq = { 0, rows, n - rows, far->pages };
    struct jrl_attention p = attention_of(c, &seq, 1, rows);
    struct jrl_error err = { 0 };
    void *q = test_elements(c->dtype, rows * c->q_width), *out = test_elements(c->dtype, rows * c->q_width);
    float *lse = test_floats(rows * c->n_heads), *copy;

    expect_finished(jrl_qkv_rope(dev, &p, q, c->qkv + (n - rows) * c->width, NULL, &err), &err);
    expect_finished(jrl_attention_forward(dev, &p, out, lse, q, &err), &err);
    copy = as_floats(out, c->dtype, rows * c->q_width);
    if (first) {
        far->out = copy;
        far->lse = lse;
    } else {
        expect_same_bits("far rows", copy, far->out, rows * c->q_width);
        expect_same_bits("far lse", lse, far->lse, rows * c->n_heads);
        test_floats_free(copy, rows * c->q_width);
        test_floats_free(lse, rows * c->n_heads);
    }
    test_elements_free(c->dtype, q, rows * c->q_width);
    test_elements_free(c->dtype, out, rows * c->q_width);
}

/* Some rows behind 16 000 positions, in a page that holds nothing else of theirs. */
static void test_far_positions(void **state)
{
    const int64_t n = 16389, lengths[] = { n };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++) {
        struct attention_case c = new_attention_case((enum jrl_dtype)dtype, 3, 1, 32, lengths, 1, false);
        struct far_case far = { .c = &c, .pages = new_pages(&c, n) };
        struct jrl_device *dev = test_device("portable", 2);
        struct jrl_attention_rows seq = { 0, n - 5, 0, far.pages };
        struct jrl_attention p = attention_of(&c, &seq, 1, n - 5);
        struct jrl_error err = { 0 };
        void *q = test_elements(c.dtype, n * c.q_width);
        expect_finished(jrl_qkv_rope(dev, &p, q, c.qkv, NULL, &err), &err);
        jrl_device_close(dev);
        test_elements_free(c.dtype, q, n * c.q_width);
        on_every_device(check_far, &far);
        c.want.pages[0] = far.pages;
        for (int64_t head = 0; head < 3; head++)
            for (int64_t row = 0; row < 5; row++) {
                double query[32], max = -INFINITY, sum = 0, out[32] = { 0 };
                reference_rope(&c, query, n - 5 + row, n - 5 + row, head);
                for (int pass = 0; pass < 2; pass++)
                    for (int64_t t = 0; t <= n - 5 + row; t++) {
                        double s = 0;
                        for (int64_t i = 0; i < 32; i++)
                            s += query[i] * page_element(&c, 0, t, 0, i, false);
                        s /= sqrt(32);
                        max = pass ? max : fmax(max, s);
                        sum += pass ? exp(s - max) : 0;
                        for (int64_t i = 0; pass && i < 32; i++)
                            out[i] += exp(s - max) * page_element(&c, 0, t, 0, i, true);
                    }
                for (int64_t i = 0; i < 32; i++)
                    out[i] /= sum;
                expect_error_below("far rows", far.out + row * c.q_width + head * 32, out, 32, dtype == JRL_F32 ? 1e-4 : 3e-2);
            }
        free_pages(&c, far.pages);
        test_floats_free(far.out, 5 * c.q_width);
        test_floats_free(far.lse, 5 * c.n_heads);
        free_inputs(&c);
    }
}

/* A NaN in q reaches its own row alone, one in k later rows too; one in v also reaches earlier rows of its block of
 * 32, where it meets P = 0, when it is there already: the one way in which a chunk shows, and only for NaN. */
static void test_nan(void **state)
{
    const int64_t lengths[] = { 70 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (int part = 0; part < 3; part++) {
            struct attention_case c = new_attention_case((enum jrl_dtype)dtype, 1, 1, 32, lengths, 1, false);
            c.qkv[40 * c.width + part * 32 + 3] = NAN;
            on_every_device(check_same, &c);
            if (part < 2)
                on_every_device(check_chunked, &c);
            for (int64_t r = 0; r < 70; r++) {
                bool is_nan = isnan(c.want.out[r * 32 + 3]);
                if (part == 0)
                    assert_int_equal(is_nan, r == 40);
                else if (r < 32 || r >= 40)
                    assert_int_equal(is_nan, r >= 40);
            }
            free_attention_case(&c);
        }
}

static void test_refused(void **state)
{
    const int64_t lengths[] = { 8 };
    struct attention_case c = new_attention_case(JRL_F32, 2, 1, 4, lengths, 1, false);
    struct jrl_device *dev = test_device("portable", 1);
    struct jrl_attention_rows seq = { 4, 4, 0, NULL };
    struct jrl_attention p = attention_of(&c, &seq, 1, 8), wrong = p;
    struct jrl_error err = { 0 };
    (void)state;
    assert_int_equal(jrl_attention_backward(dev, &p, NULL, NULL, NULL, NULL, NULL, &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "multiple of 32"));
    wrong.head_dim = 3;
    assert_int_equal(jrl_attention_forward(dev, &wrong, NULL, NULL, NULL, &(struct jrl_error){ 0 }), JRL_ERR_RUN);
    wrong = p;
    wrong.n_kv_heads = 3;
    assert_int_equal(jrl_qkv_rope(dev, &wrong, NULL, NULL, NULL, &(struct jrl_error){ 0 }), JRL_ERR_RUN);
    wrong = p;
    wrong.n_rows = 7;
    assert_int_equal(jrl_attention_forward(dev, &wrong, NULL, NULL, NULL, &(struct jrl_error){ 0 }), JRL_ERR_RUN);
    wrong = p;
    wrong.dtype = JRL_F16;
    assert_int_equal(jrl_attention_forward(dev, &wrong, NULL, NULL, NULL, &(struct jrl_error){ 0 }), JRL_ERR_RUN);
    jrl_device_close(dev);
    on_every_device(check_same, &c);
    free_attention_case(&c);
}

static void check_bias(struct jrl_device *dev, bool first, void *ctx)
{
    struct test_random random = { 5 };
    float *want = ctx, *x = test_floats(33 * 130), *dbias = test_floats(130);
    struct jrl_error err = { 0 };
    fill_elements(&random, x, JRL_F32, 33 * 130, 1);
    for (int64_t j = 0; j < 130; j++) {
        dbias[j] = want[j] = 0.5f;
        for (int64_t r = 0; r < 33; r++)
            want[j] += x[r * 130 + j];
    }
    (void)first;
    expect_finished(jrl_bias_backward(dev, dbias, x, 33, 130, &err), &err);
    expect_same_bits("bias", dbias, want, 130);
    test_floats_free(x, 33 * 130);
    test_floats_free(dbias, 130);
}

static void test_bias(void **state)
{
    float want[130];
    (void)state;
    on_every_device(check_bias, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_dims), cmocka_unit_test(test_lengths), cmocka_unit_test(test_groups), cmocka_unit_test(test_long),
        cmocka_unit_test(test_shared_heads),
        cmocka_unit_test(test_finite_differences), cmocka_unit_test(test_far_positions), cmocka_unit_test(test_nan),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
