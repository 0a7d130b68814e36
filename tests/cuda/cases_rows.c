/* cases_rows.c - kernels that go over rows or elements: all bit-equal to the CPU. */
#include "cuda_test.h"

static const struct { int64_t rows, dim; } shapes[] = {
    { 0, 8 }, { 1, 1 }, { 3, 17 }, { 2, 128 }, { 5, 129 }, { 1, 1000 }, { 2, 2052 }, { 133, 3 }, { 1157, 9 },
};
#define FOR_SHAPES for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
#define FOR_FEW_ROWS for (size_t i = 0; i < sizeof shapes / sizeof *shapes && shapes[i].rows <= 5; i++)

/* Elements one by one and four at a time. */
static const int64_t lengths[] = { 0, 299, 1028 };
#define FOR_LENGTHS(n) for (size_t n_i = 0; n_i < 3; n_i++) for (int64_t n = lengths[n_i], once_##n = 1; once_##n; once_##n = 0)

void case_convert_from_f32(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) FOR_LENGTHS(n) {
        struct both x = new_numbers(f, JRL_F32, n, 3), y = new_both(f, (size_t)(n * jrl_dtype_bytes(dtype)));

        if (n > 2)
            ((float *)x.host)[1] = INFINITY, ((uint32_t *)x.host)[2] = 0x7f800001u; /* a NaN that rounding could make an infinity */
        upload_all(&x);
        MUST(jrl_convert_from_f32(f->cpu, y.host, dtype, (float *)x.host, n, err));
        MUST(jrl_convert_from_f32(f->gpu, y.gpu, dtype, x.gpu, n, err));
        expect_equal("convert_from_f32", &y, dtype, n, SAME_BITS);
        free_both(&x);
        free_both(&y);
    }
}

void case_convert_to_f32(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) FOR_LENGTHS(n) {
        struct both x = new_numbers(f, dtype, n, 3), y = new_both(f, (size_t)n * 4);

        MUST(jrl_convert_to_f32(f->cpu, (float *)y.host, x.host, dtype, n, err));
        MUST(jrl_convert_to_f32(f->gpu, y.gpu, x.gpu, dtype, n, err));
        expect_equal("convert_to_f32", &y, JRL_F32, n, SAME_BITS);
        free_both(&x);
        free_both(&y);
    }
}

void case_add(struct fixture *f)
{
    FOR_LENGTHS(n) {
        struct both x = new_numbers(f, JRL_F32, n, 3), y = new_numbers(f, JRL_F32, n, 3);

        MUST(jrl_add(f->cpu, (float *)y.host, (float *)x.host, n, err));
        MUST(jrl_add(f->gpu, y.gpu, x.gpu, n, err));
        expect_equal("add", &y, JRL_F32, n, SAME_BITS);
        free_both(&x);
        free_both(&y);
    }
}

void case_gather_rows(struct fixture *f)
{
    const int64_t rows[] = { 3, -1, 0, 3 };

    for (int64_t dim = 1; dim < 200; dim += 130) {
        struct both x = new_numbers(f, JRL_F32, 4 * dim, 1), y = new_both(f, (size_t)(4 * dim * 4)), r = copy_of(f, rows, sizeof rows);

        MUST(jrl_gather_rows(f->cpu, (float *)y.host, (float *)x.host, (int64_t *)r.host, 4, dim, err));
        MUST(jrl_gather_rows(f->gpu, y.gpu, x.gpu, r.gpu, 4, dim, err));
        expect_equal("gather_rows", &y, JRL_F32, 4 * dim, SAME_BITS);
        free_both(&x);
        free_both(&y);
        free_both(&r);
    }
}

void case_feed_tokens(struct fixture *f)
{
    enum { N = 300 };
    struct both ids = new_both(f, N * 4), tokens = new_both(f, N * 4), chosen = new_both(f, N * 4), sources = new_both(f, N * 8);

    for (int64_t i = 0; i < N; i++) {
        ((uint32_t *)tokens.host)[i] = (uint32_t)(1000 + i);
        ((uint32_t *)chosen.host)[i] = (uint32_t)(5000 + i);
        ((int64_t *)sources.host)[i] = i % 3 ? -1 : (i * 7) % N;
    }
    upload_all(&tokens);
    upload_all(&chosen);
    upload_all(&sources);
    MUST(jrl_feed_tokens(f->cpu, (uint32_t *)ids.host, (uint32_t *)tokens.host, (int64_t *)sources.host, (uint32_t *)chosen.host, N, err));
    MUST(jrl_feed_tokens(f->gpu, ids.gpu, tokens.gpu, sources.gpu, chosen.gpu, N, err));
    uint8_t *got = downloaded(&ids);
    assert_memory_equal(got, ids.host, N * 4);
    free(got);
    free_both(&ids);
    free_both(&tokens);
    free_both(&chosen);
    free_both(&sources);
}

void case_embedding(struct fixture *f)
{
    const uint32_t ids[] = { 4, UINT32_MAX, 0, 4, 9 };

    FOR_BOTH_TYPES(dtype) FOR_FEW_ROWS {
        const int64_t rows = shapes[i].rows, dim = shapes[i].dim;
        struct both table = new_numbers(f, dtype, 10 * dim, 1), x = new_both(f, (size_t)(rows * dim * 4)), id = copy_of(f, ids, sizeof ids);

        MUST(jrl_embedding(f->cpu, (float *)x.host, table.host, dtype, (uint32_t *)id.host, rows, dim, err));
        MUST(jrl_embedding(f->gpu, x.gpu, table.gpu, dtype, id.gpu, rows, dim, err));
        expect_equal("embedding", &x, JRL_F32, rows * dim, SAME_BITS);
        free_both(&table);
        free_both(&x);
        free_both(&id);
    }
}

static void check_embedding_backward(struct fixture *f, const uint32_t *ids, int64_t rows, int64_t dim)
{
    struct both table = new_numbers(f, JRL_F32, 5 * dim, 1), dx = new_numbers(f, JRL_F32, rows * dim, 1), id = copy_of(f, ids, (size_t)rows * sizeof *ids);

    MUST(jrl_embedding_backward(f->cpu, (float *)table.host, (float *)dx.host, (uint32_t *)id.host, rows, dim, err));
    MUST(jrl_embedding_backward(f->gpu, table.gpu, dx.gpu, id.gpu, rows, dim, err));
    expect_equal("embedding_backward", &table, JRL_F32, 5 * dim, SAME_BITS);
    free_both(&table);
    free_both(&dx);
    free_both(&id);
}

void case_embedding_backward(struct fixture *f)
{
    const uint32_t few[] = { 4, UINT32_MAX, 0, 4, 4 };
    uint32_t many[290];

    for (uint32_t i = 0; i < 290; i++)
        many[i] = i % 11 == 0 ? UINT32_MAX : i % 100 == 99 ? 1 : i % 3 + 2;
    FOR_FEW_ROWS
        check_embedding_backward(f, few, shapes[i].rows, shapes[i].dim);
    check_embedding_backward(f, many, 290, 5);
}

void case_rmsnorm(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) FOR_SHAPES {
        const int64_t rows = shapes[i].rows, dim = shapes[i].dim, n = rows * dim;
        struct both x = new_numbers(f, JRL_F32, n, 2), w = new_numbers(f, dtype, dim, 1), y = new_both(f, (size_t)(n * jrl_dtype_bytes(dtype)));

        if (rows == 3)
            ((float *)x.host)[dim] = 3e38f; /* its square is beyond f32: the row is NaN */
        upload_all(&x);
        MUST(jrl_rmsnorm(f->cpu, y.host, (float *)x.host, w.host, dtype, 1e-6f, rows, dim, err));
        MUST(jrl_rmsnorm(f->gpu, y.gpu, x.gpu, w.gpu, dtype, 1e-6f, rows, dim, err));
        expect_equal("rmsnorm", &y, dtype, n, SAME_BITS);
        free_both(&x);
        free_both(&w);
        free_both(&y);
    }
}

void case_rmsnorm_backward(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) FOR_SHAPES {
        const int64_t rows = shapes[i].rows, dim = shapes[i].dim, n = rows * dim;
        struct both x = new_numbers(f, JRL_F32, n, 2), w = new_numbers(f, dtype, dim, 1), dy = new_numbers(f, JRL_F32, n, 1);
        struct both dx = new_numbers(f, JRL_F32, n, 1), dw = new_numbers(f, JRL_F32, dim, 1);

        MUST(jrl_rmsnorm_backward(f->cpu, (float *)dx.host, (float *)dw.host, (float *)dy.host, (float *)x.host, w.host, dtype, 1e-6f, rows, dim, err));
        MUST(jrl_rmsnorm_backward(f->gpu, dx.gpu, dw.gpu, dy.gpu, x.gpu, w.gpu, dtype, 1e-6f, rows, dim, err));
        expect_equal("rmsnorm_backward, dx", &dx, JRL_F32, n, SAME_BITS);
        expect_equal("rmsnorm_backward, dweight", &dw, JRL_F32, dim, SAME_BITS);
        free_both(&x);
        free_both(&w);
        free_both(&dy);
        free_both(&dx);
        free_both(&dw);
    }
}

void case_swiglu(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) FOR_SHAPES {
        const int64_t rows = shapes[i].rows, dim = shapes[i].dim, n = rows * dim;
        struct both gate = new_numbers(f, JRL_F32, n, 100), up = new_numbers(f, JRL_F32, n, 2), y = new_both(f, (size_t)(n * jrl_dtype_bytes(dtype)));

        MUST(jrl_swiglu(f->cpu, y.host, dtype, (float *)gate.host, (float *)up.host, rows, dim, err));
        MUST(jrl_swiglu(f->gpu, y.gpu, dtype, gate.gpu, up.gpu, rows, dim, err));
        expect_equal("swiglu", &y, dtype, n, SAME_BITS);
        free_both(&gate);
        free_both(&up);
        free_both(&y);
    }
}

void case_swiglu_backward(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) FOR_SHAPES {
        const int64_t rows = shapes[i].rows, dim = shapes[i].dim, n = rows * dim;
        const size_t bytes = (size_t)(n * jrl_dtype_bytes(dtype));
        struct both gate = new_numbers(f, JRL_F32, n, 5), up = new_numbers(f, JRL_F32, n, 2), dy = new_numbers(f, JRL_F32, n, 1);
        struct both dgate = new_both(f, bytes), dup = new_both(f, bytes);

        MUST(jrl_swiglu_backward(f->cpu, dgate.host, dup.host, dtype, (float *)dy.host, (float *)gate.host, (float *)up.host, rows, dim, err));
        MUST(jrl_swiglu_backward(f->gpu, dgate.gpu, dup.gpu, dtype, dy.gpu, gate.gpu, up.gpu, rows, dim, err));
        expect_equal("swiglu_backward, dgate", &dgate, dtype, n, SAME_BITS);
        expect_equal("swiglu_backward, dup", &dup, dtype, n, SAME_BITS);
        free_both(&gate);
        free_both(&up);
        free_both(&dy);
        free_both(&dgate);
        free_both(&dup);
    }
}

void case_bias_backward(struct fixture *f)
{
    FOR_SHAPES {
        const int64_t rows = shapes[i].rows, dim = shapes[i].dim;
        struct both x = new_numbers(f, JRL_F32, rows * dim, 1), db = new_numbers(f, JRL_F32, dim, 1);

        MUST(jrl_bias_backward(f->cpu, (float *)db.host, (float *)x.host, rows, dim, err));
        MUST(jrl_bias_backward(f->gpu, db.gpu, x.gpu, rows, dim, err));
        expect_equal("bias_backward", &db, JRL_F32, dim, SAME_BITS);
        free_both(&x);
        free_both(&db);
    }
}

void case_adamw_step(struct fixture *f)
{
    const struct jrl_adamw p = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .grad_scale = 0.7, .step = 3 };

    FOR_BOTH_TYPES(dtype) FOR_LENGTHS(n) {
        struct both master = new_numbers(f, JRL_F32, n, 1), m = new_numbers(f, JRL_F32, n, 0.1f), v = new_numbers(f, JRL_F32, n, 1);
        struct both grad = new_numbers(f, JRL_F32, n, 1), w = new_both(f, (size_t)(n * jrl_dtype_bytes(dtype)));

        for (int64_t i = 0; i < n; i++)
            ((float *)v.host)[i] = fabsf(((float *)v.host)[i]);
        upload_all(&v);
        MUST(jrl_adamw_step(f->cpu, &p, (float *)master.host, (float *)m.host, (float *)v.host, (float *)grad.host, w.host, dtype, n, err));
        MUST(jrl_adamw_step(f->gpu, &p, master.gpu, m.gpu, v.gpu, grad.gpu, w.gpu, dtype, n, err));
        expect_equal("adamw, master", &master, JRL_F32, n, SAME_BITS);
        expect_equal("adamw, m", &m, JRL_F32, n, SAME_BITS);
        expect_equal("adamw, v", &v, JRL_F32, n, SAME_BITS);
        expect_equal("adamw, weights", &w, dtype, n, SAME_BITS);
        free_both(&master);
        free_both(&m);
        free_both(&v);
        free_both(&grad);
        free_both(&w);
    }
}

void case_sum_squares(struct fixture *f)
{
    for (int64_t n = 0; n < 13000; n += 4097) {
        struct both x = new_numbers(f, JRL_F32, n, 1);
        double want, got;

        MUST(jrl_sum_squares(f->cpu, &want, (float *)x.host, n, err));
        MUST(jrl_sum_squares(f->gpu, &got, x.gpu, n, err));
        assert_memory_equal(&want, &got, sizeof want);
        free_both(&x);
    }
}
