/* attention_bind.cu - what the kernels of attention know of a pass: its rows and page tables, and the tiles that they are cut into, as one image in the
 * device's memory. */
#include "kernels/cuda/attention_gpu.h"

void gpu_bound_free(struct gpu_bound *bound)
{
    if (bound)
        free(bound->image);
    free(bound);
}

/* ---- checks ---- */

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
    int64_t n_rows = 0;

    for (int64_t i = 0; i < p->n_seqs; i++) {
        const struct jrl_attention_rows *s = &p->seqs[i];

        if (s->n_rows < 0 || s->first_row < 0 || s->first_position < 0 || s->first_row > p->n_rows - s->n_rows)
            return gpu_fail(dev, err, "attention_bind: sequence %lld does not lie in %lld rows", (long long)i, (long long)p->n_rows);
        if (p->most_positions && (s->n_rows != 1 || s->first_position >= p->most_positions))
            return gpu_fail(dev, err, "attention_bind: sequence %lld has %lld rows from position %lld, where one below %lld is wanted", (long long)i,
                            (long long)s->n_rows, (long long)s->first_position, (long long)p->most_positions);
        n_rows += s->n_rows;
    }
    if (n_rows > p->n_rows)
        return gpu_fail(dev, err, "attention_bind: sequences share rows: they have %lld of %lld", (long long)n_rows, (long long)p->n_rows);
    return JRL_OK;
}

/* ---- how many tiles ---- */

/* What the image holds, part by part. */
struct counts {
    int64_t n_pages, n_wide, n_narrow, n_slots, n_back;
    int64_t tile_parts; /* parts that a narrow tile takes at most */
    bool blocks;        /* of one part, with a block each */
};

static int64_t pages_of(const struct jrl_attention_rows *s) { return divide_up(s->first_position + s->n_rows, JRL_PAGE_TOKENS); }
static int64_t splits_of(const struct jrl_attention_rows *s) { return divide_up(pages_of(s), GPU_SPLIT_PAGES); }
static bool is_narrow(const struct jrl_attention_rows *s, int64_t group) { return s->n_rows * group <= GPU_TILE_ROWS; }

/* Only sequences from their first position have a gradient; decoding has none of them. */
static int64_t back_tiles_of(const struct jrl_attention_rows *s) { return s->first_position == 0 ? divide_up(s->n_rows, GPU_BACK_ROWS) : 0; }

/* Each part has a block if all blocks run at a time, two a processor. Else warps take several parts of a sequence one after the other: so many that all warps
 * run at a time, four a processor. The bits are the same. */
static int64_t most_tiles(const struct jrl_device *dev, const struct jrl_attention *p) { return 4 * (gpu_of(dev)->n_processors / p->n_kv_heads); }
static bool in_blocks(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_parts)
{
    return n_parts * p->n_kv_heads <= 2 * gpu_of(dev)->n_processors;
}
static bool may_cut(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_parts) { return n_parts * p->n_kv_heads <= gpu_most_slots(dev); }

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
    n.blocks = in_blocks(dev, p, p->n_rows * splits);
    n.n_slots = may_cut(dev, p, p->n_rows * splits) ? p->n_rows * splits : 0;
    n.n_narrow = n.blocks ? n.n_slots : n.n_slots == 0 ? p->n_rows : larger_of(p->n_rows, smaller(n.n_slots, most_tiles(dev, p)));
    return n;
}

/* Narrow tiles of at most TILE_PARTS parts. */
static int64_t narrow_tiles(const struct jrl_attention *p, int64_t group, int64_t tile_parts)
{
    int64_t n = 0;

    for (int64_t i = 0; i < p->n_seqs; i++)
        if (p->seqs[i].n_rows && is_narrow(&p->seqs[i], group))
            n += divide_up(splits_of(&p->seqs[i]), tile_parts);
    return n;
}

/* What a warp must take of N_PARTS for all tiles to run at a time; all of its sequence where that is not enough either. */
static int64_t parts_of_tile(const struct jrl_device *dev, const struct jrl_attention *p, int64_t group, int64_t n_parts, int64_t longest)
{
    const int64_t most = most_tiles(dev, p);
    int64_t n;

    if (narrow_tiles(p, group, longest) >= most)
        return longest;
    for (n = larger_of(1, divide_up(n_parts, most)); narrow_tiles(p, group, n) > most;)
        n++;
    return n;
}

static struct counts count(const struct jrl_device *dev, const struct jrl_attention *p, int64_t group)
{
    struct counts n = {};
    int64_t n_parts = 0, longest = 1;

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
        n_parts += splits_of(s);
        longest = larger_of(longest, splits_of(s));
    }
    const struct counts most = p->most_positions ? count_most(dev, p, group) : n;
    n.blocks = p->most_positions ? most.blocks : in_blocks(dev, p, n_parts);
    n.n_slots = !p->most_positions && may_cut(dev, p, n_parts) ? n_parts : most.n_slots;
    n.tile_parts = n.blocks ? 1 : n.n_slots ? parts_of_tile(dev, p, group, n_parts, longest) : longest;
    n.n_narrow = narrow_tiles(p, group, n.tile_parts);
    return n;
}

/* ---- the tiles of a sequence ---- */

/* Queries FIRST to END, and all positions they see. */
static struct gpu_tile tile_of(const struct jrl_attention_rows *s, uint8_t *const *pages, int64_t group, int64_t first, int64_t end)
{
    const int32_t n_pages = (int32_t)((s->first_position + (end - 1) / group) / JRL_PAGE_TOKENS + 1);
    const struct gpu_tile t = { pages, s->first_row, s->first_position, first, end, 0, 0, n_pages, (int32_t)divide_up(n_pages, GPU_SPLIT_PAGES), 1, {} };

    return t;
}

/* Tiles of one sequence. */
struct tile_lists {
    struct gpu_tile *wide, *narrow;
    int64_t n_wide, n_narrow, n_slots;
};
static void cut(struct tile_lists *l, const struct jrl_attention_rows *s, uint8_t *const *pages, int64_t group, int64_t tile_parts)
{
    const int64_t n = s->n_rows * group, n_parts = splits_of(s), n_tiles = divide_up(n_parts, tile_parts);

    if (!is_narrow(s, group)) {
        for (int64_t first = 0; first < n; first += GPU_WIDE_ROWS)
            l->wide[l->n_wide++] = tile_of(s, pages, group, first, smaller(first + GPU_WIDE_ROWS, n));
        return;
    }
    for (int64_t i = 0; i < n_tiles; i++) {
        struct gpu_tile *t = &l->narrow[l->n_narrow++];

        *t = tile_of(s, pages, group, 0, n);
        t->n_tiles = (int32_t)n_tiles;
        t->slot = l->n_slots;
        t->first_page = (int32_t)(i * n_parts / n_tiles * GPU_SPLIT_PAGES);
        t->end_page = (int32_t)smaller((i + 1) * n_parts / n_tiles * GPU_SPLIT_PAGES, t->end_page);
        memcpy(t->of_part, s->pages + t->first_page, (size_t)smaller(t->end_page - t->first_page, GPU_SPLIT_PAGES) * sizeof *t->of_part);
    }
    l->n_slots += n_tiles > 1 ? n_parts : 0;
}

/* A block takes every so many of the wide tiles (attention_wgmma.cu): sorted, each has the same work. */
static int longer_tiles_first(const void *a, const void *b)
{
    const struct gpu_tile *x = static_cast<const struct gpu_tile *>(a), *y = static_cast<const struct gpu_tile *>(b);

    if (x->end_page != y->end_page)
        return x->end_page < y->end_page ? 1 : -1;
    return x->row != y->row ? (x->row > y->row) - (x->row < y->row) : (x->first > y->first) - (x->first < y->first);
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

/* ---- the image ---- */

/* Where its parts are, in bytes from its start. Up to the narrow tiles all lies where any pass of the class has it. */
struct layout {
    size_t lists, rows, arrived, narrow, wide, pages, keys_back, queries_back, n_bytes;
};

/* A part of N elements of SIZE behind all others. */
static size_t append(struct layout *l, int64_t n, size_t size)
{
    const size_t here = l->n_bytes;

    l->n_bytes += ((size_t)n * size + 15) / 16 * 16;
    return here;
}

static struct layout layout_of(const struct jrl_attention *p, const struct counts &n)
{
    struct layout l = {};

    l.lists = append(&l, 1, sizeof(struct gpu_lists));
    l.rows = append(&l, p->n_rows, sizeof(struct gpu_row));
    l.arrived = append(&l, p->n_rows * p->n_kv_heads, sizeof(unsigned));
    l.narrow = append(&l, n.n_narrow, sizeof(struct gpu_tile));
    l.wide = append(&l, n.n_wide, sizeof(struct gpu_tile));
    l.pages = append(&l, n.n_pages, sizeof(uint8_t *));
    l.keys_back = append(&l, n.n_back, sizeof(struct gpu_back_tile));
    l.queries_back = append(&l, n.n_back, sizeof(struct gpu_back_tile));
    return l;
}

int64_t gpu_bound_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    struct jrl_attention a = {};
    struct counts n = {};

    a.n_rows = p->n_rows;
    a.n_kv_heads = p->n_kv_heads;
    n.n_narrow = larger_of(p->n_seqs, most_tiles(dev, &a));
    n.n_wide = p->n_rows * (p->n_heads / p->n_kv_heads) / GPU_WIDE_ROWS + p->n_seqs;
    n.n_pages = p->whole ? divide_up(p->n_rows, JRL_PAGE_TOKENS) : p->n_seqs * divide_up(p->n_positions, JRL_PAGE_TOKENS);
    n.n_back = p->n_rows / GPU_BACK_ROWS + p->n_seqs;
    return (int64_t)layout_of(&a, n).n_bytes;
}

template <class T> static T *part_of(void *image, size_t offset) { return reinterpret_cast<T *>(static_cast<char *>(image) + offset); }

static int reserve_image(struct jrl_device *dev, struct gpu_bound *b, size_t bytes, struct jrl_error *err)
{
    if (b->image_bytes < bytes) {
        free(b->image);
        b->image = static_cast<char *>(malloc(bytes + bytes / 4));
        b->image_bytes = b->image ? bytes + bytes / 4 : 0;
    }
    return b->image ? JRL_OK : gpu_fail(dev, err, "no memory for the rows of attention: %zu bytes", bytes);
}

/* The lists of the pass into the image, which MEMORY of the device will hold. What is longer than others comes first. */
static void fill_image(struct gpu_bound *b, const struct jrl_attention *p, const struct layout &at, int64_t tile_parts, void *memory)
{
    const int64_t group = p->n_heads / p->n_kv_heads;
    struct gpu_row *rows = part_of<struct gpu_row>(b->image, at.rows);
    uint8_t **pages = part_of<uint8_t *>(b->image, at.pages), **on_device = part_of<uint8_t *>(memory, at.pages);
    struct gpu_back_tile *keys_back = part_of<struct gpu_back_tile>(b->image, at.keys_back);
    struct gpu_back_tile *queries_back = part_of<struct gpu_back_tile>(b->image, at.queries_back);
    struct tile_lists l = { part_of<struct gpu_tile>(b->image, at.wide), part_of<struct gpu_tile>(b->image, at.narrow), 0, 0, 0 };
    int64_t n_used = 0, at_page = 0;

    memset(rows, 0, (size_t)p->n_rows * sizeof *rows);
    memset(part_of<unsigned>(b->image, at.arrived), 0, (size_t)(p->n_rows * p->n_kv_heads) * sizeof(unsigned));
    b->n_positions = b->n_back = 0;
    for (int64_t i = 0; i < p->n_seqs; i++) {
        const struct jrl_attention_rows *s = &p->seqs[i];
        uint8_t *const *table = on_device + at_page;

        if (s->n_rows == 0)
            continue;
        memcpy(pages + at_page, s->pages, (size_t)pages_of(s) * sizeof *pages);
        at_page += pages_of(s);
        for (int64_t r = 0; r < s->n_rows; r++)
            rows[s->first_row + r] = { table, s->first_position + r, s->n_rows - r };
        cut(&l, s, table, group, tile_parts);
        for (int64_t first = 0; first < back_tiles_of(s) * GPU_BACK_ROWS; first += GPU_BACK_ROWS)
            keys_back[b->n_back++] = { table, s->first_row, s->n_rows, first };
        n_used += s->n_rows;
        b->n_positions = larger_of(b->n_positions, s->first_position + s->n_rows);
    }
    b->padded = n_used < p->n_rows;
    qsort(l.wide, (size_t)l.n_wide, sizeof *l.wide, longer_tiles_first);
    memcpy(queries_back, keys_back, (size_t)b->n_back * sizeof *queries_back);
    qsort(keys_back, (size_t)b->n_back, sizeof *keys_back, longer_keys_first);
    qsort(queries_back, (size_t)b->n_back, sizeof *queries_back, longer_queries_first);
    *part_of<struct gpu_lists>(b->image, at.lists) = { part_of<struct gpu_tile>(memory, at.wide), l.n_wide, l.n_narrow };
}

/* Where the lists are on the device, and what is launched for: N, the most that a pass of the class has. */
static void set_bound(struct gpu_bound *b, const struct jrl_attention *p, const struct layout &at, const struct counts &n, void *memory)
{
    b->lists = part_of<struct gpu_lists>(memory, at.lists);
    b->rows = part_of<struct gpu_row>(memory, at.rows);
    b->narrow = part_of<struct gpu_tile>(memory, at.narrow);
    b->arrived = part_of<unsigned>(memory, at.arrived);
    b->keys_back = part_of<struct gpu_back_tile>(memory, at.keys_back);
    b->queries_back = part_of<struct gpu_back_tile>(memory, at.queries_back);
    b->group = p->n_heads / p->n_kv_heads;
    b->n_rows = p->n_rows;
    b->n_wide = n.n_wide;
    b->n_narrow = n.n_narrow;
    b->n_slots = n.n_slots;
    b->blocks = n.blocks;
    if (p->most_positions) {
        b->n_positions = p->most_positions;
        b->padded = true;
    }
}

int jrl_cuda_attention_bind(struct jrl_device *dev, struct jrl_attention *p, struct jrl_error *err)
{
    struct gpu *g = gpu_of(dev);
    void *memory;
    int rc = check_sizes(dev, p, "attention_bind", err);

    if (rc < 0 || (rc = check_rows(dev, p, err)) < 0)
        return rc;
    if (!g->bound && !(g->bound = static_cast<struct gpu_bound *>(calloc(1, sizeof *g->bound))))
        return gpu_fail(dev, err, "no memory for the rows of attention");
    const int64_t group = p->n_heads / p->n_kv_heads;
    const struct counts n = count(dev, p, group), most = p->most_positions ? count_most(dev, p, group) : n;
    const struct layout at = layout_of(p, n);
    if ((rc = reserve_image(dev, g->bound, at.n_bytes, err)) < 0 || (rc = gpu_scratch(dev, &memory, GPU_BOUND, layout_of(p, most).n_bytes, err)) < 0)
        return rc;
    fill_image(g->bound, p, at, n.tile_parts, memory);
    set_bound(g->bound, p, at, most, memory);
    p->bound = g->bound;
    return dev->backend->upload(dev, memory, g->bound->image, at.n_bytes, err);
}
