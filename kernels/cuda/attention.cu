/* attention.cu - causal attention over pages: rows and page tables brought to the GPU, the cut into tiles, the choice of the kernel. */
#include "kernels/cuda/attention_gpu.h"

void gpu_bound_free(struct gpu_bound *bound)
{
    if (bound)
        free(bound->image);
    free(bound);
}

static int check_sizes(struct jrl_device *dev, const struct jrl_attention *p, const char *name, struct jrl_error *err)
{
    if (p->head_dim < 2 || p->head_dim % 2 || p->head_dim > 256)
        return gpu_fail(dev, err, "%s: head size %lld is not even and at most 256", name, (long long)p->head_dim);
    if (p->n_kv_heads < 1 || p->n_heads < 1 || p->n_heads % p->n_kv_heads)
        return gpu_fail(dev, err, "%s: %lld heads cannot share %lld key-value heads", name, (long long)p->n_heads, (long long)p->n_kv_heads);
    return gpu_check_type(dev, name, p->dtype, err);
}

int gpu_check_attention(struct jrl_device *dev, const struct jrl_attention *p, const char *name, struct jrl_error *err)
{
    const struct gpu_bound *bound = gpu_of(dev)->bound;

    if (!bound || p->bound != bound || bound->n_rows != p->n_rows || bound->group * p->n_kv_heads != p->n_heads)
        return gpu_fail(dev, err, "%s: the rows are not those that were bound", name);
    return check_sizes(dev, p, name, err);
}

static int check_rows(struct jrl_device *dev, const struct jrl_attention *p, struct jrl_error *err)
{
    for (int64_t i = 0; i < p->n_seqs; i++) {
        const struct jrl_attention_rows *s = &p->seqs[i];

        if (s->n_rows < 0 || s->first_row < 0 || s->first_position < 0 || s->first_row > p->n_rows - s->n_rows)
            return gpu_fail(dev, err, "attention_bind: sequence %lld does not lie in %lld rows", (long long)i, (long long)p->n_rows);
        if (p->most_positions && (s->n_rows != 1 || s->first_position >= p->most_positions))
            return gpu_fail(dev, err, "attention_bind: sequence %lld has %lld rows from position %lld, where one below %lld is wanted", (long long)i,
                            (long long)s->n_rows, (long long)s->first_position, (long long)p->most_positions);
    }
    return JRL_OK;
}

/* What the image holds, part by part. */
struct counts {
    int64_t n_pages, n_wide, n_narrow, n_slots, n_back;
    bool split; /* sequences of several parts are cut into them */
    bool parts; /* no narrow tile has several */
};

static int64_t pages_of(const struct jrl_attention_rows *s) { return divide_up(s->first_position + s->n_rows, JRL_PAGE_TOKENS); }
static int64_t splits_of(const struct jrl_attention_rows *s) { return divide_up(pages_of(s), GPU_SPLIT_PAGES); }
static bool is_narrow(const struct jrl_attention_rows *s, int64_t group) { return s->n_rows * group <= GPU_TILE_ROWS; }

/* Only sequences from their first position have a gradient; decoding has none of them. */
static int64_t back_tiles_of(const struct jrl_attention_rows *s) { return s->first_position == 0 ? divide_up(s->n_rows, GPU_BACK_ROWS) : 0; }

/* Enough sequences keep the GPU busy without any being cut; the bits are the same. */
static bool may_split(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_slots)
{
    return n_slots * p->n_kv_heads <= gpu_most_slots(dev);
}

/* The most that any pass with so many rows and positions has. */
static struct counts count_most(const struct jrl_device *dev, const struct jrl_attention *p, int64_t group)
{
    const int64_t splits = divide_up(divide_up(p->most_positions, JRL_PAGE_TOKENS), GPU_SPLIT_PAGES);
    struct counts n = {};

    n.n_pages = p->n_rows * divide_up(p->most_positions, JRL_PAGE_TOKENS);
    n.n_back = p->n_rows;
    if (group > GPU_TILE_ROWS) {
        n.n_wide = p->n_rows * divide_up(group, GPU_WIDE_ROWS);
        return n;
    }
    n.split = splits > 1 && may_split(dev, p, p->n_rows * splits);
    n.parts = n.split || splits == 1;
    n.n_slots = n.split ? p->n_rows * splits : 0;
    n.n_narrow = n.split ? n.n_slots : p->n_rows;
    return n;
}

static struct counts count(const struct jrl_device *dev, const struct jrl_attention *p, int64_t group)
{
    struct counts n = {};
    int64_t n_whole = 0, n_cut = 0;

    for (int64_t i = 0; i < p->n_seqs; i++) {
        const struct jrl_attention_rows *s = &p->seqs[i];

        if (s->n_rows == 0)
            continue;
        n.n_pages += pages_of(s);
        n.n_back += back_tiles_of(s);
        if (!is_narrow(s, group)) {
            n.n_wide += divide_up(s->n_rows * group, GPU_WIDE_ROWS);
            continue;
        }
        if (splits_of(s) > 1) {
            n.n_slots += splits_of(s);
            n_cut++;
        } else
            n_whole++;
    }
    n.split = p->most_positions ? count_most(dev, p, group).split : may_split(dev, p, n.n_slots);
    n.parts = n.split || n_cut == 0;
    if (!n.split)
        n.n_slots = 0;
    n.n_narrow = n_whole + (n.split ? n.n_slots : n_cut);
    return n;
}

static size_t image_bytes(const struct jrl_attention *p, struct counts n)
{
    return sizeof(struct gpu_lists) + (size_t)(p->n_rows + 1) * sizeof(struct gpu_row) + (size_t)(n.n_pages + 2) * sizeof(uint8_t *) +
           (size_t)(n.n_wide + n.n_narrow + 2) * sizeof(struct gpu_tile) + (size_t)(p->n_rows * p->n_kv_heads + 1) * sizeof(unsigned) +
           (size_t)(2 * n.n_back) * sizeof(struct gpu_back_tile) + 8 * 16;
}

/* The next N elements of SIZE of the image. */
static char *part(char **at, int64_t n, size_t size)
{
    char *here = *at;

    *at += ((size_t)n * size + 15) / 16 * 16;
    return here;
}

static struct gpu_tile tile_of(const struct jrl_attention_rows *s, uint8_t *const *pages, int64_t first, int64_t end, int64_t split, int64_t slot)
{
    const struct gpu_tile t = { pages, s->first_row, s->first_position, first, end, split, slot };

    return t;
}

/* Tiles of one sequence. */
struct tile_lists {
    struct gpu_tile *wide, *narrow;
    int64_t n_wide, n_narrow, n_slots;
};
static void cut(struct tile_lists *l, const struct jrl_attention_rows *s, uint8_t *const *pages, int64_t group, bool split)
{
    const int64_t n = s->n_rows * group;

    if (!is_narrow(s, group)) {
        for (int64_t first = (n - 1) / GPU_WIDE_ROWS * GPU_WIDE_ROWS; first >= 0; first -= GPU_WIDE_ROWS) /* those with most positions first */
            l->wide[l->n_wide++] = tile_of(s, pages, first, smaller(first + GPU_WIDE_ROWS, n), -1, 0);
        return;
    }
    if (!split || splits_of(s) == 1) {
        l->narrow[l->n_narrow++] = tile_of(s, pages, 0, n, -1, 0);
        return;
    }
    for (int64_t i = 0; i < splits_of(s); i++)
        l->narrow[l->n_narrow++] = tile_of(s, pages, 0, n, i, l->n_slots++);
}

/* Keys have all later queries to do, queries all earlier keys. */
static int longer_keys_first(const void *a, const void *b)
{
    const struct gpu_back_tile *x = static_cast<const struct gpu_back_tile *>(a), *y = static_cast<const struct gpu_back_tile *>(b);
    const int64_t of_x = x->n - x->first, of_y = y->n - y->first;

    return of_x != of_y ? (of_x < of_y ? 1 : -1) : x->row < y->row ? -1 : x->row > y->row;
}
static int longer_queries_first(const void *a, const void *b)
{
    const struct gpu_back_tile *x = static_cast<const struct gpu_back_tile *>(a), *y = static_cast<const struct gpu_back_tile *>(b);

    return x->first != y->first ? (x->first < y->first ? 1 : -1) : x->row < y->row ? -1 : x->row > y->row;
}

static int reserve_image(struct jrl_device *dev, struct gpu_bound *b, size_t bytes, struct jrl_error *err)
{
    if (b->image_bytes < bytes) {
        free(b->image);
        b->image = static_cast<char *>(malloc(bytes + bytes / 4));
        b->image_bytes = b->image ? bytes + bytes / 4 : 0;
    }
    return b->image ? JRL_OK : gpu_fail(dev, err, "no memory for the rows of attention: %zu bytes", bytes);
}

/* What is launched for. */
static void set_sizes(struct gpu_bound *b, const struct jrl_attention *p, struct counts n)
{
    b->n_rows = p->n_rows;
    b->n_wide = n.n_wide;
    b->n_narrow = n.n_narrow;
    b->n_slots = n.n_slots;
    b->parts = n.parts;
    if (p->most_positions) {
        b->n_positions = p->most_positions;
        b->padded = true;
    }
}

int jrl_cuda_attention_bind(struct jrl_device *dev, struct jrl_attention *p, struct jrl_error *err)
{
    struct gpu *g = gpu_of(dev);
    int64_t n_used = 0, at_page = 0, n_back = 0, group;
    struct counts n, most;
    void *memory;
    char *at, *base;
    int rc = check_sizes(dev, p, "attention_bind", err);

    if (rc < 0 || (rc = check_rows(dev, p, err)) < 0)
        return rc;
    group = p->n_heads / p->n_kv_heads;
    if (!g->bound && !(g->bound = static_cast<struct gpu_bound *>(calloc(1, sizeof *g->bound))))
        return gpu_fail(dev, err, "no memory for the rows of attention");
    struct gpu_bound *b = g->bound;
    n = count(dev, p, group);
    most = p->most_positions ? count_most(dev, p, group) : n;
    if ((rc = reserve_image(dev, b, image_bytes(p, n), err)) < 0 || (rc = gpu_scratch(dev, &memory, GPU_BOUND, image_bytes(p, most), err)) < 0)
        return rc;
    base = at = b->image;
    struct gpu_lists *lists = reinterpret_cast<struct gpu_lists *>(part(&at, 1, sizeof *lists));
    struct gpu_row *rows = reinterpret_cast<struct gpu_row *>(part(&at, p->n_rows, sizeof *rows));
    uint8_t **pages = reinterpret_cast<uint8_t **>(part(&at, n.n_pages, sizeof *pages));
    struct tile_lists l = {};
    l.wide = reinterpret_cast<struct gpu_tile *>(part(&at, n.n_wide, sizeof *l.wide));
    l.narrow = reinterpret_cast<struct gpu_tile *>(part(&at, n.n_narrow, sizeof *l.narrow));
    unsigned *arrived = reinterpret_cast<unsigned *>(part(&at, p->n_rows * p->n_kv_heads, sizeof *arrived));
    struct gpu_back_tile *keys_back = reinterpret_cast<struct gpu_back_tile *>(part(&at, n.n_back, sizeof *keys_back));
    struct gpu_back_tile *queries_back = reinterpret_cast<struct gpu_back_tile *>(part(&at, n.n_back, sizeof *queries_back));
    const auto there = [&](const void *q) { return static_cast<char *>(memory) + (static_cast<const char *>(q) - base); };
    memset(rows, 0, (size_t)p->n_rows * sizeof *rows);
    memset(arrived, 0, (size_t)(p->n_rows * p->n_kv_heads) * sizeof *arrived);
    b->n_positions = 0;
    for (int64_t i = 0; i < p->n_seqs; i++) {
        const struct jrl_attention_rows *s = &p->seqs[i];
        uint8_t *const *table = reinterpret_cast<uint8_t *const *>(there(pages + at_page));

        if (s->n_rows == 0)
            continue;
        memcpy(pages + at_page, s->pages, (size_t)pages_of(s) * sizeof *pages);
        at_page += pages_of(s);
        for (int64_t r = 0; r < s->n_rows; r++)
            rows[s->first_row + r] = { table, s->first_position + r, s->n_rows - r };
        cut(&l, s, table, group, n.split);
        for (int64_t first = 0; first < back_tiles_of(s) * GPU_BACK_ROWS; first += GPU_BACK_ROWS)
            keys_back[n_back++] = { table, s->first_row, s->n_rows, first };
        n_used += s->n_rows;
        b->n_positions = s->first_position + s->n_rows > b->n_positions ? s->first_position + s->n_rows : b->n_positions;
    }
    memcpy(queries_back, keys_back, (size_t)n_back * sizeof *queries_back);
    qsort(keys_back, (size_t)n_back, sizeof *keys_back, longer_keys_first);
    qsort(queries_back, (size_t)n_back, sizeof *queries_back, longer_queries_first);
    lists->wide = reinterpret_cast<const struct gpu_tile *>(there(l.wide));
    lists->narrow = reinterpret_cast<const struct gpu_tile *>(there(l.narrow));
    lists->arrived = reinterpret_cast<unsigned *>(there(arrived));
    lists->n_wide = l.n_wide;
    lists->n_narrow = l.n_narrow;
    b->lists = reinterpret_cast<const struct gpu_lists *>(there(lists));
    b->rows = reinterpret_cast<const struct gpu_row *>(there(rows));
    b->keys_back = reinterpret_cast<const struct gpu_back_tile *>(there(keys_back));
    b->queries_back = reinterpret_cast<const struct gpu_back_tile *>(there(queries_back));
    b->n_back = n_back;
    b->group = group;
    b->padded = n_used < p->n_rows;
    set_sizes(b, p, most);
    p->bound = b;
    return dev->backend->upload(dev, memory, base, (size_t)(at - base), err);
}

int jrl_cuda_attention_forward(struct jrl_device *dev, const struct jrl_attention *p, void *out, float *lse, const void *q, struct jrl_error *err)
{
    struct gpu_attention_call c = {};
    int rc = gpu_check_attention(dev, p, "attention_forward", err);

    if (rc < 0 || p->n_rows == 0)
        return rc;
    c.rows = gpu_of(dev)->bound->rows;
    c.q = q;
    c.out = out;
    c.lse = lse;
    c.n_rows = p->n_rows;
    c.n_heads = p->n_heads;
    c.n_kv_heads = p->n_kv_heads;
    c.dim = p->head_dim;
    c.page_offset = p->page_offset;
    c.scale = 1.0f / sqrtf((float)p->head_dim);
    if (gpu_attention_on_tensor(dev, p))
        return gpu_attention_tensor(dev, &c, err);
    return gpu_attention_exact(dev, p->dtype, &c, err);
}

int64_t jrl_cuda_attention_memory(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_positions, bool backward)
{
    const bool tensor = gpu_attention_on_tensor(dev, p);
    const int64_t bound = p->n_rows * ((int64_t)(sizeof(struct gpu_row) + 2 * sizeof(struct gpu_tile)) + p->n_kv_heads * 4) + p->n_rows * divide_up(n_positions, JRL_PAGE_TOKENS) * 8;
    const int64_t forth = tensor ? gpu_most_slots(dev) * gpu_slot_floats(p->head_dim) * (int64_t)sizeof(float)
                                 : gpu_attention_exact_bytes(dev, p->n_rows, p->n_heads, n_positions);
    const int64_t back = !backward ? 0 : tensor ? gpu_attention_backward_tensor_bytes(p->n_rows, p->n_heads, p->head_dim)
                                                : gpu_attention_backward_exact_bytes(p->n_rows, p->n_heads);

    return bound + (forth > back ? forth : back);
}
