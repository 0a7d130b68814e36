/* test_kernels.c - the kernel table: every kernel of the backend against the CPU, on tensor cores, in the exact order and by the library; that a row
 * does not depend on its batch; what a step of a tensor core is; that each CUDA kernel has run. With the emulated plug-in (make check) under several orders of
 * threads, with a real one (make check-gpu) on a GPU. A kernel of the table without a case does not link. */
#include "cuda_test.h"

#include <dlfcn.h>
#include <fnmatch.h>

#include "kernel_names.h"

#define ROW(name) { #name, case_##name },
static const struct { const char *name; void (*run)(struct fixture *f); } cases[] = { JRL_FORWARD_KERNELS(ROW) JRL_TRAINING_KERNELS(ROW) };
#undef ROW
#define N_CASES (sizeof cases / sizeof *cases)

static struct fixture fixture;

static struct jrl_device *open_gpu(const char *disable)
{
    struct jrl_device *dev;

    setenv("JRL_DISABLE", disable, 1);
    MUST(jrl_device_open(&dev, "cuda", 1, err));
    unsetenv("JRL_DISABLE");
    return dev;
}

/* A function of the plug-in that is loaded; NULL when it has none of that name. */
static void *plugin_symbol(const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    void *symbol = NULL;
    char line[8192];

    assert_non_null(maps);
    while (!symbol && fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/');

        if (path && strstr(path, "libjrl-cuda.so")) {
            path[strcspn(path, "\n")] = '\0';
            symbol = dlsym(dlopen(path, RTLD_NOW | RTLD_NOLOAD), name);
        }
    }
    fclose(maps);
    return symbol;
}

/* Emulated, the library is always there. */
static struct jrl_device *open_fast(void)
{
    struct jrl_device *dev = open_gpu("");
    bool warn = false;

    jrl_device_set_numerics(dev, "fast");
    if (strcmp(jrl_device_path(dev), "cuda-fast") == 0)
        return dev;
    if (plugin_symbol("emulator_launches"))
        fail_msg("%s", jrl_device_note(dev, &warn));
    print_message("# fast numerics: skipped: %s\n", jrl_device_note(dev, &warn));
    jrl_device_close(dev);
    return NULL;
}

static int open_devices(void **state)
{
    (void)state; /* each test has its own */
    MUST(jrl_device_open(&fixture.cpu, "cpu", 1, err));
    fixture.tensor = open_gpu("");
    fixture.no_wgmma = open_gpu("wgmma");
    fixture.exact = open_gpu("tensor");
    fixture.fast = open_fast();
    assert_string_equal(jrl_device_path(fixture.tensor), "cuda-tensor");
    assert_string_equal(jrl_device_path(fixture.exact), "cuda-exact");
    assert_false(jrl_device_is_host(fixture.tensor));
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    jrl_device_close(fixture.tensor);
    jrl_device_close(fixture.no_wgmma);
    jrl_device_close(fixture.exact);
    jrl_device_close(fixture.fast);
    jrl_device_close(fixture.cpu);
    return 0;
}

/* Orders of threads in the emulator; a GPU has its own. */
static const char *const schedules[] = { "greedy", "greedy-reverse", "forward", "reverse", "random" };
static size_t n_schedules = sizeof schedules / sizeof *schedules;

static void set_order(const char *schedule)
{
    setenv("JRL_EMULATOR_SCHEDULE", schedule, 1);
    setenv("JRL_EMULATOR_COPIES", strstr(schedule, "reverse") ? "early" : "late", 1);
}

static void run_case(void **state)
{
    void (*run)(struct fixture *f) = *(void (**)(struct fixture *))*state;

    for (size_t i = 0; i < n_schedules; i++) {
        set_order(schedules[i]);
        if (i == 1)
            setenv("JRL_EMULATOR_OPEN", "1", 1); /* what the host does is the same each time */
        struct jrl_device *const devices[] = { fixture.tensor, fixture.exact, fixture.fast }; /* most kernels are the same on all */

        for (int d = 0; d < (i == 0 ? 3 : 1) && devices[d]; d++) {
            fixture.gpu = devices[d];
            fixture.random.state = 1;
            run(&fixture);
            MUST(jrl_device_synchronise(fixture.gpu, err));
        }
    }
    unsetenv("JRL_EMULATOR_OPEN");
}

/* Rows of a product from FIRST, added to those of BEFORE where there is one, on the GPU of the fixture; release with free(). */
static float *product_of(struct fixture *f, const struct both *a, const struct both *b, const struct both *before, enum jrl_dtype dtype, int64_t first, int64_t m,
                         int64_t n, int64_t k)
{
    struct both c = new_both(f, (size_t)(m * n * 4));
    const struct jrl_matmul p = { .dtype = dtype, .m = m, .n = n, .k = k, .a = (uint8_t *)a->gpu + first * k * jrl_dtype_bytes(dtype), .b = b->gpu, .c = c.gpu,
                                  .lda = k, .ldb = k, .ldc = n, .accumulate = before != NULL };
    float *got;

    if (before)
        MUST(jrl_device_copy(f->gpu, c.gpu, (float *)before->gpu + first * n, c.n, err));
    MUST(jrl_matmul_nt(f->gpu, &p, err));
    got = (float *)downloaded(&c);
    free_both(&c);
    return got;
}

/* The last rows of a product, as many as SIZES say and all, multiplied by themselves, with wgmma and without: the same bits. */
static void check_product_rows(struct fixture *f, enum jrl_dtype dtype, int64_t most, int64_t n, int64_t k, const int64_t *sizes, size_t n_sizes)
{
    struct both a = new_numbers(f, dtype, most * k, 1), b = new_numbers(f, dtype, n * k, 1);
    float *want = product_of(f, &a, &b, NULL, dtype, 0, most, n, k);

    for (size_t i = 0; i < 2 * (n_sizes + 1); i++) {
        const int64_t rows = i / 2 < n_sizes ? sizes[i / 2] : most;
        float *got;

        f->gpu = i % 2 ? f->no_wgmma : f->tensor; /* the same memory: one GPU */
        got = product_of(f, &a, &b, NULL, dtype, most - rows, rows, n, k);
        expect_same_bits(i % 2 ? "rows of a product, without wgmma" : "rows of a product", got, want + (most - rows) * n, rows * n);
        free(got);
    }
    f->gpu = f->tensor;
    free(want);
    free_both(&a);
    free_both(&b);
}

long launches_of(const char *name)
{
    void *symbol = plugin_symbol("emulator_launches");
    long (*launches)(const char *name);

    memcpy(&launches, &symbol, sizeof launches);
    return symbol ? launches(name) : -1;
}

/* Activations of many rows, and of the last of them alone, with wgmma and without: the same bits. */
static void check_gated_rows(struct fixture *f, int64_t most, int64_t dim, int64_t mlp_dim, const int64_t *sizes, size_t n_sizes)
{
    struct both x = new_numbers(f, JRL_BF16, most * dim, 1), gate = new_numbers(f, JRL_BF16, mlp_dim * dim, 0.5f), up = new_numbers(f, JRL_BF16, mlp_dim * dim, 0.5f);
    struct both all = new_both(f, (size_t)(most * mlp_dim * 2));
    struct jrl_gated p = { JRL_BF16, most, dim, mlp_dim, x.gpu, gate.gpu, up.gpu, { NULL, 0, 0 } };
    uint8_t *want, *got;

    MUST(jrl_gated(f->gpu, &p, all.gpu, err));
    want = downloaded(&all);
    for (size_t i = 0; i < 2 * n_sizes; i++) {
        const int64_t rows = sizes[i / 2];
        struct both act;

        f->gpu = i % 2 ? f->no_wgmma : f->tensor;
        act = new_both(f, (size_t)(rows * mlp_dim * 2));
        p.rows = rows;
        p.x = (uint8_t *)x.gpu + (most - rows) * dim * 2;
        MUST(jrl_device_synchronise(f->gpu, err));
        MUST(jrl_gated(act.dev, &p, act.gpu, err));
        got = downloaded(&act);
        assert_memory_equal(got, want + (most - rows) * mlp_dim * 2, act.n);
        free(got);
        free_both(&act);
    }
    f->gpu = f->tensor;
    free(want);
    free_both(&x);
    free_both(&gate);
    free_both(&up);
    free_both(&all);
}

/* Rows alone and among others: the same bits from every class of tiles, and where the contracted index has several parts, side by side
 * or not. The emulator's GPU has 4 processors; sizes are such that on it, and with SCALE on one of 132, each class is the cheapest once. */
static void test_product_rows(void **state)
{
    static const char *const classes[] = { "few_product<SIXTEEN, false>", "few_product<SIXTEEN_WIDE, false>",
                                           "few_product<THIRTY, false>", "few_product<THIRTY_WIDE, false>", "few_product<SIXTY, false>", "few_product<SIXTY_WIDE, false>",
                                           "few_product<SIXTEEN_WIDE, true>", "few_product<THIRTY_WIDE, true>", "few_product<SIXTY_WIDE, true>",
                                           "tensor_product<64, 64>", "tensor_product<128, 128>", "tensor_product<128, 256>",
                                           "slim_product<16>", "slim_product<24>", "slim_product<32>", "slim_product<48>", "slim_product<64>", "slim_product<96>", "slim_product<128>",
                                           "slim_product<1, 96, gated>", "slim_product<1, 144, gated>", "slim_product<2, 96, gated>", "slim_product<2, 144, gated>",
                                           "slim_product<2, 288, gated>", "wgmma_product", "wgmma_gated" };
    enum { N_CLASSES = sizeof classes / sizeof *classes };
    static const int64_t sizes[] = { 1, 16, 17, 64, 65, 128, 200 }, few[] = { 1, 5, 16, 17, 33, 64 }, slim[] = { 64, 128, 200 };
    const bool emulated = launches_of("tensor_product") >= 0;
    const int64_t scale = emulated ? 1 : 33;
    long before[N_CLASSES];

    (void)state;
    set_order("greedy");
    fixture.gpu = fixture.tensor;
    check_product_rows(&fixture, JRL_F32, 200, 40, 104, sizes, 7);
    for (int i = 0; i < N_CLASSES; i++)
        before[i] = launches_of(classes[i]);
    check_product_rows(&fixture, JRL_BF16, 264, 300 * scale, 104, sizes, 7);
    check_product_rows(&fixture, JRL_BF16, 70, 400 * scale, 72, few, 6);
    check_product_rows(&fixture, JRL_BF16, 70, 28, 104, few, 6);
    check_product_rows(&fixture, JRL_BF16, 70, 128 * scale, 72, few, 6);
    check_product_rows(&fixture, JRL_BF16, 70, 36 * scale, 4600, few, 6);
    check_gated_rows(&fixture, 264, 104, 72, few, 6);
    check_gated_rows(&fixture, 264, 136, 190 * scale, slim, 3);
    check_gated_rows(&fixture, 264, 136, 286 * scale, slim, 3);
    check_gated_rows(&fixture, 70, 4600, 24, few, 3);
    for (int i = 0; i < N_CLASSES && emulated; i++)
        if (launches_of(classes[i]) == before[i])
            fail_msg("%s has not run", classes[i]);
    check_product_rows(&fixture, JRL_BF16, 300 * scale, 24, 4600, sizes, 1);
    set_order("greedy-reverse"); /* some of each kind */
    check_product_rows(&fixture, JRL_BF16, 264, 300 * scale, 104, slim, 3);
    check_product_rows(&fixture, JRL_BF16, 70, 400 * scale, 72, few, 6);
    check_gated_rows(&fixture, 264, 104, 72, few, 6);
    check_gated_rows(&fixture, 264, 136, 190 * scale, slim, 3);
}

/* A product, added to what is there, of so many tiles that each adds its parts one after the other, as the way back of an MLP does in training; its last rows,
 * multiplied alone, have the parts side by side: the same bits. */
static void check_parts_in_turn(struct fixture *f, struct jrl_device *dev, const char *class, int64_t m, int64_t n, int64_t k)
{
    struct both a = new_numbers(f, JRL_BF16, m * k, 1), b = new_numbers(f, JRL_BF16, n * k, 1), x = new_numbers(f, JRL_F32, m * n, 8);
    const long joins = launches_of("product_joins"), runs = launches_of(class);
    float *want, *got;

    f->gpu = dev; /* the same memory: one GPU */
    want = product_of(f, &a, &b, &x, JRL_BF16, 0, m, n, k);
    assert_int_equal(launches_of("product_joins"), joins);
    if (joins >= 0 && launches_of(class) == runs)
        fail_msg("%s has not run", class);
    f->gpu = f->tensor;
    got = product_of(f, &a, &b, &x, JRL_BF16, m - 5, 5, n, k);
    expect_same_bits("parts one after the other", want + (m - 5) * n, got, 5 * n);
    free(want);
    free(got);
    free_both(&a);
    free_both(&b);
    free_both(&x);
}

static void test_parts_in_turn(void **state)
{
    const bool emulated = launches_of("tensor_product") >= 0;
    struct jrl_device *devices[2];

    (void)state;
    set_order("greedy");
    setenv("JRL_EMULATOR_PROCESSORS", "1", 1); /* for which two tiles are enough */
    devices[0] = open_gpu("");
    devices[1] = open_gpu("wgmma");
    unsetenv("JRL_EMULATOR_PROCESSORS");
    fixture.gpu = fixture.tensor;
    check_parts_in_turn(&fixture, devices[0], "wgmma_product", emulated ? 136 : 9900, emulated ? 8 : 1024, 4496);
    check_parts_in_turn(&fixture, devices[1], "tensor_product", emulated ? 65 : 9900, emulated ? 8 : 1024, 9000);
    for (int i = 0; i < 2; i++)
        jrl_device_close(devices[i]);
}

#define POSITIONS 530
#define HEADS 3
#define KV_HEADS 1

/* Attention of rows [first, first + n) of one sequence on the GPU, after what the pages hold; out: of these rows. */
static void attend_rows(struct fixture *f, enum jrl_dtype dtype, int64_t dim, struct both *qkv, struct both *tables, uint8_t **pages, int64_t first, int64_t n, uint8_t *out)
{
    const int64_t q_bytes = HEADS * dim * jrl_dtype_bytes(dtype), width = (HEADS + 2 * KV_HEADS) * dim;
    struct both q = new_both(f, (size_t)(n * q_bytes)), o = new_both(f, (size_t)(n * q_bytes));
    const struct jrl_attention_rows rows = { 0, n, first, pages };
    struct jrl_attention p = { .dtype = dtype, .n_heads = HEADS, .n_kv_heads = KV_HEADS, .head_dim = dim, .n_rows = n, .n_seqs = 1, .seqs = &rows,
                               .rope_cos = tables[0].gpu, .rope_sin = tables[1].gpu };
    uint8_t *got;

    MUST(jrl_attention_bind(f->gpu, &p, err));
    MUST(jrl_qkv_rope(f->gpu, &p, q.gpu, (float *)qkv->gpu + first * width, NULL, err));
    MUST(jrl_attention_forward(f->gpu, &p, o.gpu, NULL, q.gpu, err));
    got = downloaded(&o);
    memcpy(out + first * q_bytes, got, (size_t)(n * q_bytes));
    free(got);
    free_both(&q);
    free_both(&o);
}

/* A whole sequence at once, in two pieces, and its last rows one by one, as decoding takes them: the same bits, at and around the
 * ends of pages and of the parts of 256 positions. */
#define MANY 45 /* sequences of three parts, and a row of nobody: more than the emulator's four processors have cut */
#define SOME 8  /* with 7 of them at 3 parts warps take one part or two: 14 tiles, 16 places */

/* As many sequences of the same pages and row, which is then behind row FIRST in all of them. */
static void attend_many(struct fixture *f, enum jrl_dtype dtype, int64_t dim, struct both *qkv, struct both *tables, uint8_t **pages, int64_t many, int64_t first, const uint8_t *want)
{
    const int64_t q_bytes = HEADS * dim * jrl_dtype_bytes(dtype), width = (HEADS + 2 * KV_HEADS) * dim;
    struct both x = new_both(f, (size_t)(many * width * 4)), q = new_both(f, (size_t)(many * q_bytes)), o = new_both(f, (size_t)(many * q_bytes));
    struct jrl_attention_rows rows[MANY - 1]; /* and a row of nobody */
    struct jrl_attention p = { .dtype = dtype, .n_heads = HEADS, .n_kv_heads = KV_HEADS, .head_dim = dim, .n_rows = many, .n_seqs = many - 1, .seqs = rows,
                               .rope_cos = tables[0].gpu, .rope_sin = tables[1].gpu, .most_positions = 768 };
    uint8_t *got;

    for (int64_t i = 0; i < many - 1; i++) {
        rows[i] = (struct jrl_attention_rows){ i, 1, first, pages };
        MUST(jrl_device_copy(f->gpu, (float *)x.gpu + i * width, (float *)qkv->gpu + first * width, (size_t)width * 4, err));
    }
    MUST(jrl_attention_bind(f->gpu, &p, err));
    MUST(jrl_qkv_rope(f->gpu, &p, q.gpu, x.gpu, NULL, err));
    MUST(jrl_attention_forward(f->gpu, &p, o.gpu, NULL, q.gpu, err));
    got = downloaded(&o);
    for (int64_t i = 0; i < many - 1; i++)
        assert_memory_equal(got + i * q_bytes, want + first * q_bytes, (size_t)q_bytes);
    for (int64_t j = (many - 1) * q_bytes; j < many * q_bytes; j++)
        assert_int_equal(got[j], 0);
    free(got);
    free_both(&x);
    free_both(&q);
    free_both(&o);
}

/* One row of one sequence and a row of nobody, recorded at the first of these positions and launched again at the others. */
static void attend_recorded(struct fixture *f, enum jrl_dtype dtype, int64_t dim, struct both *qkv, struct both *tables, uint8_t **pages, const int64_t *positions, int n, uint8_t *out)
{
    const int64_t q_bytes = HEADS * dim * jrl_dtype_bytes(dtype), width = (HEADS + 2 * KV_HEADS) * dim;
    struct both x = new_both(f, (size_t)(2 * width * 4)), q = new_both(f, (size_t)(2 * q_bytes)), o = new_both(f, (size_t)(2 * q_bytes));
    struct jrl_recording *recording = NULL;
    struct jrl_error stale;
    uint8_t *got;

    for (int i = 0; i < n; i++) {
        const struct jrl_attention_rows rows = { 0, 1, positions[i], pages };
        struct jrl_attention p = { .dtype = dtype, .n_heads = HEADS, .n_kv_heads = KV_HEADS, .head_dim = dim, .n_rows = 2, .n_seqs = 1, .seqs = &rows,
                                   .rope_cos = tables[0].gpu, .rope_sin = tables[1].gpu, .most_positions = 768 };

        MUST(jrl_attention_bind(f->gpu, &p, err));
        MUST(jrl_device_copy(f->gpu, x.gpu, (float *)qkv->gpu + positions[i] * width, (size_t)width * 4, err));
        for (int pass = recording ? 2 : 0; pass < 2; pass++) { /* as it is, then noted */
            if (pass)
                MUST(jrl_device_record_begin(f->gpu, err));
            MUST(jrl_qkv_rope(f->gpu, &p, q.gpu, x.gpu, NULL, err));
            MUST(jrl_attention_forward(f->gpu, &p, o.gpu, NULL, q.gpu, err));
            if (pass)
                MUST(jrl_device_record_end(f->gpu, &recording, err));
        }
        if (i)
            MUST(jrl_device_replay(f->gpu, recording, err));
        got = downloaded(&o);
        memcpy(out + positions[i] * q_bytes, got, (size_t)q_bytes);
        for (int64_t j = q_bytes; j < 2 * q_bytes; j++)
            assert_int_equal(got[j], 0);
        free(got);
    }
    free_both(&x);
    free_both(&q);
    free_both(&o);
    assert_int_equal(jrl_device_replay(f->gpu, recording, &stale), JRL_EOF); /* what it would write to is gone */
    jrl_device_recording_free(f->gpu, recording);
}

static void check_attention_rows(struct fixture *f, enum jrl_dtype dtype, int64_t dim)
{
    const int64_t bytes = jrl_page_bytes(dtype, KV_HEADS, dim), n_pages = (POSITIONS + 31) / 32, row_bytes = HEADS * dim * jrl_dtype_bytes(dtype);
    struct both qkv = new_numbers(f, JRL_F32, POSITIONS * (HEADS + 2 * KV_HEADS) * dim, 2), memory = new_both(f, (size_t)(n_pages * bytes));
    struct both tables[2] = { new_both(f, (size_t)(POSITIONS * dim / 2 * 4)), new_both(f, (size_t)(POSITIONS * dim / 2 * 4)) };
    uint8_t *pages[(POSITIONS + 31) / 32], *whole = malloc((size_t)(POSITIONS * row_bytes)), *pieces = malloc((size_t)(POSITIONS * row_bytes));
    /* descending: the first position of a page clears what was behind it */
    const int64_t singles[] = { 529, 512, 511, 288, 287, 257, 256, 255 };
    static const int64_t recorded[] = { 40, 529, 300, 255 };

    jrl_rope_table((float *)tables[0].host, (float *)tables[1].host, POSITIONS, dim, 10000);
    upload_all(&tables[0]);
    upload_all(&tables[1]);
    for (int64_t i = 0; i < n_pages; i++)
        pages[i] = (uint8_t *)memory.gpu + i * bytes;
    attend_rows(f, dtype, dim, &qkv, tables, pages, 0, POSITIONS, whole);
    memcpy(pieces, whole, (size_t)(POSITIONS * row_bytes));
    attend_rows(f, dtype, dim, &qkv, tables, pages, 200, 88, pieces);
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++)
        memset(pieces + recorded[i] * row_bytes, 0, (size_t)row_bytes);
    attend_recorded(f, dtype, dim, &qkv, tables, pages, recorded, sizeof recorded / sizeof *recorded, pieces);
    attend_many(f, dtype, dim, &qkv, tables, pages, MANY, 300, whole);
    attend_many(f, dtype, dim, &qkv, tables, pages, SOME, 513, whole);
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        memset(pieces + singles[i] * row_bytes, 0, (size_t)row_bytes);
        attend_rows(f, dtype, dim, &qkv, tables, pages, singles[i], 1, pieces);
    }
    assert_memory_equal(whole, pieces, (size_t)(POSITIONS * row_bytes));
    f->gpu = f->no_wgmma; /* the same memory: one GPU */
    attend_rows(f, dtype, dim, &qkv, tables, pages, 0, POSITIONS, pieces);
    f->gpu = f->tensor;
    assert_memory_equal(whole, pieces, (size_t)(POSITIONS * row_bytes));
    free(whole);
    free(pieces);
    free_both(&qkv);
    free_both(&memory);
    free_both(&tables[0]);
    free_both(&tables[1]);
}

static void test_attention_rows(void **state)
{
    const long parts = launches_of("attention_parts"), whole = launches_of("(attention_tiles<D, 1>)");

    (void)state;
    set_order("greedy");
    setenv("JRL_EMULATOR_OPEN", "1", 1);
    fixture.gpu = fixture.tensor;
    check_attention_rows(&fixture, JRL_BF16, 64);
    check_attention_rows(&fixture, JRL_BF16, 128);
    check_attention_rows(&fixture, JRL_F32, 32);
    if (parts >= 0) {
        assert_true(launches_of("attention_parts") > parts);
        assert_true(launches_of("(attention_tiles<D, 1>)") > whole);
    }
    unsetenv("JRL_EMULATOR_OPEN");
}

static void test_backward_turns(void **state)
{
    (void)state;
    set_order("greedy");
    setenv("JRL_EMULATOR_OPEN", "1", 1);
    fixture.gpu = fixture.tensor;
    check_long_packs(&fixture);
    unsetenv("JRL_EMULATOR_OPEN");
}

static void test_tensor_steps(void **state)
{
    (void)state;
    check_tensor_steps(&fixture);
}

/* Every kernel of kernels/cuda has run in this process. */
static void test_every_kernel_ran(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kernel_names / sizeof *kernel_names; i++)
        if (launches_of(kernel_names[i]) == 0)
            fail_msg("kernel %s has not run", kernel_names[i]);
    if (launches_of("") < 0)
        skip(); /* a real GPU */
    assert_true(launches_of("cublasLtMatmul") > 0);
}

/* Whether a GPU can be opened: 0, 77 when there is none, 1 when one does not work. */
static int probe(void)
{
    struct jrl_device *dev;
    struct jrl_error err = { 0 };
    bool warn = false;
    int rc = 0;

    if (jrl_device_open(&dev, "auto", 1, &err) < 0) {
        printf("check-gpu: %s\n", err.text);
        return 1;
    }
    if (jrl_device_is_host(dev)) {
        printf("check-gpu: skipped: %s\n", jrl_device_note(dev, &warn));
        rc = warn ? 1 : 77;
    }
    jrl_device_close(dev);
    return rc;
}

/* Whether one of the patterns is NAME's; without any, whether there is none. */
static bool is_wanted(const char *name, char **patterns)
{
    for (char **p = patterns; *p; p++)
        if (fnmatch(*p, name, 0) == 0)
            return true;
    return !*patterns;
}

static void print_names(const struct CMUnitTest *tests, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tests[i].test_func != test_every_kernel_ran) /* which is of the whole table */
            puts(tests[i].name);
}

/* test_kernels [--probe | --kernels | --list | --once] [PATTERN...]: the tests whose names fit a pattern ('attention*' test_product_rows), or all.
 * --once: a case once a device, not for each order of threads, which a GPU does not have and a sanitizer makes long. */
int main(int argc, char **argv)
{
    static const struct CMUnitTest others[] = { cmocka_unit_test(test_tensor_steps), cmocka_unit_test(test_product_rows), cmocka_unit_test(test_parts_in_turn),
                                                cmocka_unit_test(test_attention_rows), cmocka_unit_test(test_backward_turns), cmocka_unit_test(test_every_kernel_ran) };
    enum { N_TESTS = N_CASES + sizeof others / sizeof *others };
    const char *option = argc > 1 && strncmp(argv[1], "--", 2) == 0 ? argv[1] : "";
    struct CMUnitTest tests[N_TESTS];
    size_t n = 0;

    for (size_t i = 0; i < N_TESTS; i++) {
        const struct CMUnitTest test = i >= N_CASES ? others[i - N_CASES]
                                       : (struct CMUnitTest){ cases[i].name, run_case, NULL, NULL, (void *)(uintptr_t)&cases[i].run };

        if (is_wanted(test.name, argv + (*option ? 2 : 1)))
            tests[n++] = test;
    }
    if (strcmp(option, "--probe") == 0)
        return probe();
    if (strcmp(option, "--list") == 0) {
        print_names(tests, n);
        return 0;
    }
    for (size_t i = 0; i < sizeof kernel_names / sizeof *kernel_names && strcmp(option, "--kernels") == 0; i++)
        puts(kernel_names[i]);
    if (strcmp(option, "--kernels") == 0)
        return 0;
    if (n == 0 || (*option && strcmp(option, "--once"))) {
        fprintf(stderr, "test_kernels: error: %s\n", n ? "unknown option" : "no test has such a name");
        return 2;
    }
    if (*option)
        n_schedules = 1;
    setenv("JRL_EMULATOR_BANKS", "strict", 1);
    return _cmocka_run_group_tests("kernels on a GPU", tests, n, open_devices, close_devices);
}
