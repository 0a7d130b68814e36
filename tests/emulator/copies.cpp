/* copies.cpp - what a thread begins and waits for later: copies by cp.async, bulk copies both ways and the barriers that count them, turns of blocks, products
 * of wgmma. Copies arrive as late as they may, so that a missing wait is seen, or with JRL_EMULATOR_COPIES=early at once, so that it is seen when they
 * overwrite what others still read; by the schedule "chance" now so, now so. A missing fence ends the program with the kernel and the line. */
#include "block.h"

#include <string.h>

#include <algorithm>
#include <map>

namespace emulator {

enum kind { IN, OUT, PRODUCT };
static bool at_once(enum kind kind)
{
    return block.chance ? drawn(4) < block.haste[kind] : block.early_copies;
}

/* ---- cp.async ---- */

static void arrive(late_copy &c)
{
    if (c.n_bytes && !c.has_arrived)
        memcpy(c.to, c.from, (size_t)c.n_bytes);
    if (!c.has_arrived)
        memset(static_cast<char *>(c.to) + c.n_bytes, 0, (size_t)c.n_zeros);
    c.has_arrived = true;
}

void copy_later(void *to, const void *from, int n_bytes, int n_zeros, int line)
{
    late_copy copy = { to, from, n_bytes, n_zeros, block.current->groups, false };

    if (((uintptr_t)to | (uintptr_t)from) % 16)
        stop("an asynchronous copy from or to an address that is not aligned to 16 bytes", line);
    if (at_once(IN))
        arrive(copy);
    block.current->copies.push_back(copy);
}

void commit_copies()
{
    block.current->groups++;
}

void wait_copies(int groups_left)
{
    fibre *me = block.current;
    size_t n = 0;

    pause();
    for (; n < me->copies.size() && me->copies[n].group < me->groups - groups_left; n++)
        arrive(me->copies[n]);
    me->unfenced = me->unfenced || n > 0;
    me->copies.erase(me->copies.begin(), me->copies.begin() + (long)n);
}

/* ---- bulk copies from shared memory, and turns of blocks ---- */

static void arrive(late_send &s)
{
    for (int i = 0; i < s.n_floats && !s.has_arrived; i++)
        s.to[i] = s.add ? s.to[i] + s.read[(size_t)i] : s.read[(size_t)i];
    s.has_arrived = true;
}

/* wgmma or a bulk copy reads what shared memory has at an offset. note() was called. */
void reads_operand(size_t first, size_t n_bytes, int line)
{
    if (block.unfenced.unfenced(first, n_bytes))
        stop("shared memory is multiplied or sent that a warp has written without a fence", line);
}

/* A bulk copy from shared memory. */
void send(void *to, const void *from, int n_bytes, bool add, int line)
{
    late_send s = { static_cast<float *>(to), static_cast<const float *>(from), n_bytes / 4, add, false, false, {} };

    if (((uintptr_t)to | (uintptr_t)from | (uintptr_t)n_bytes) % 16)
        stop("a bulk copy that is not aligned to 16 bytes", line);
    if (block.current->looks)
        stop("a bulk copy behind a turn, without a fence between", line);
    block.unfenced.note(block.current->number);
    reads_operand((size_t)(static_cast<const char *>(from) - block.shared), (size_t)n_bytes, line);
    if (at_once(OUT)) {
        s.read.assign(s.from, s.from + s.n_floats);
        arrive(s);
    }
    block.current->sends.push_back(std::move(s));
}

void commit_sends()
{
    for (late_send &s : block.current->sends)
        s.committed = true;
}

void wait_sends_read()
{
    for (late_send &s : block.current->sends)
        if (s.committed && s.read.empty())
            s.read.assign(s.from, s.from + s.n_floats);
}

void wait_sends()
{
    std::vector<late_send> &sends = block.current->sends;

    wait_sends_read();
    for (late_send &s : sends)
        if (s.committed)
            arrive(s);
    sends.erase(std::remove_if(sends.begin(), sends.end(), [](const late_send &s) { return s.committed; }), sends.end());
}

/* Blocks run one after the other, in the order of their turns: what is not there now never comes. */
int seen(const int *turn, int line)
{
    if (++block.current->looks > 1000)
        stop("a turn that nobody passes on", line);
    return *turn;
}

void fence_sends()
{
    block.current->looks = 0;
}

void pass_on(int *turn, int n, int line)
{
    if (!block.current->sends.empty())
        stop("a turn is passed on before what was sent has arrived", line);
    if (*turn != n - 1)
        stop("a turn is passed on that is another's", line);
    *turn = n;
}

/* ---- barriers in shared memory, and the copies they count ---- */

struct late_box { /* of a matrix, or N_BYTES from FROM */
    box_map map;
    char *to;
    int64_t row, column;
    const void *from;
    int n_bytes;
};
struct arrival_state {
    int count, left;
    long bytes; /* to come; below 0 where they were announced too late */
    unsigned phases;
    std::vector<late_box> boxes;
};
static std::map<const uint64_t *, arrival_state> arrival_states; /* of the running block */

static arrival_state &state_of(const uint64_t *a, int line)
{
    const auto found = arrival_states.find(a);

    if (found == arrival_states.end())
        stop("a barrier in shared memory that nobody has set up", line);
    return found->second;
}

void forget_arrivals()
{
    arrival_states.clear();
}

void check_arrived()
{
    for (const auto &[a, s] : arrival_states)
        if (!s.boxes.empty())
            stop("a block ends before its bulk copies have arrived", 0);
}

void init_arrivals(uint64_t *a, int count)
{
    needs_hopper(0);
    arrival_states[a] = { count, count, 0, 0, {} };
}

static void end_phase(arrival_state &s)
{
    if (s.left > 0 || s.bytes != 0)
        return;
    s.left = s.count;
    s.phases++;
}

void arrive(uint64_t *a, int bytes, int line)
{
    arrival_state &s = state_of(a, line);

    if (s.left == 0)
        stop("more threads arrive at a barrier in shared memory than it counts", line);
    s.left--;
    s.bytes += bytes;
    end_phase(s);
    pause();
}

static void bring(arrival_state &s, const late_box &b)
{
    block.unfenced.note(block.current->number);
    if (b.from) {
        memcpy(b.to, b.from, (size_t)b.n_bytes);
        block.unfenced.arrived(b.to, (size_t)b.n_bytes);
        s.bytes -= b.n_bytes;
        end_phase(s);
        return;
    }
    for (int64_t r = 0; r < b.map.box_rows; r++)
        for (int64_t c = 0; c < 64; c++) {
            const int64_t y = b.row + r, x = b.column + c, at = r * 128 + c * 2;
            const bool inside = y < b.map.rows && x < b.map.columns;
            const uint16_t value = inside ? static_cast<const uint16_t *>(b.map.matrix)[y * b.map.ld + x] : 0;
            memcpy(b.to + (at ^ (at >> 7 & 7) << 4), &value, sizeof value);
        }
    block.unfenced.arrived(b.to, (size_t)(128 * b.map.box_rows));
    s.bytes -= 128 * b.map.box_rows;
    end_phase(s);
}

static void bring_later(arrival_state &s, const late_box &b)
{
    if (at_once(IN))
        bring(s, b);
    else
        s.boxes.push_back(b);
    pause();
}

void copy_box(void *to, const box_map &map, int row, int column, uint64_t *a, int line)
{
    arrival_state &s = state_of(a, line);

    if ((static_cast<char *>(to) - static_cast<char *>(shared_memory())) % 1024 || (uintptr_t)map.matrix % 16 || map.ld % 8 || map.box_rows > 256)
        stop("a box that is not aligned as bulk copies want it", line);
    bring_later(s, { map, static_cast<char *>(to), row, column, nullptr, 0 });
}

void copy_bytes(void *to, const void *from, int n_bytes, uint64_t *a, int line)
{
    arrival_state &s = state_of(a, line);

    if (((uintptr_t)to | (uintptr_t)from | (uintptr_t)n_bytes) % 16)
        stop("a bulk copy that is not aligned to 16 bytes", line);
    bring_later(s, { {}, static_cast<char *>(to), 0, 0, from, n_bytes });
}

bool bring_boxes()
{
    bool any = false;

    for (auto &[a, s] : arrival_states) {
        const std::vector<late_box> boxes = std::move(s.boxes);

        s.boxes.clear();
        for (const late_box &b : boxes)
            bring(s, b);
        any = any || !boxes.empty();
    }
    return any;
}

void bring_some_box()
{
    std::vector<arrival_state *> waiting;

    for (auto &[a, s] : arrival_states)
        if (!s.boxes.empty())
            waiting.push_back(&s);
    if (waiting.empty() || !at_once(IN))
        return;
    arrival_state &s = *waiting[drawn((unsigned)waiting.size())];
    const auto box = s.boxes.begin() + drawn((unsigned)s.boxes.size());
    const late_box b = *box;
    s.boxes.erase(box);
    bring(s, b);
}

void wait_arrivals(uint64_t *a, int parity, int line)
{
    const arrival_state &s = state_of(a, line);

    pause();
    while ((int)(s.phases & 1) == parity)
        wait_for(&s.phases, line);
}

void fence_copies()
{
    block.current->unfenced = false;
    block.unfenced.fence(block.current->number);
}

/* ---- products of wgmma: of four warps together, so none is there before all have begun it ---- */

static four_warps &mine()
{
    return block.products[block.current->number / 128];
}

static void begin()
{
    four_warps &w = mine();
    const fibre *me = block.current;
    const size_t number = me->waited_products + me->products.size();

    w.threads.resize(std::max(w.threads.size(), number + 1));
    if (++w.threads[number] == std::min(128u, block.n - me->number / 128 * 128))
        w.begun = (unsigned)number + 1;
}

/* The first N products of these warps. */
static void multiply(size_t n)
{
    const unsigned first = block.current->number / 128 * 128;

    for (unsigned i = first; i < first + 128 && i < block.n; i++)
        for (size_t k = block.fibres[i].waited_products; k < n; k++) {
            std::function<void()> &work = block.fibres[i].products[k - block.fibres[i].waited_products].work;

            if (work)
                work();
            work = nullptr;
        }
}

void multiply_later(std::function<void()> work, int line)
{
    needs_hopper(line);
    if (block.current->unfenced)
        stop("copies that were waited for are multiplied without a fence", line);
    if (!block.current->sums_fenced)
        stop("a group of products begins without a fence for its registers", line);
    if (lane() == 0)
        block.unfenced.note(block.current->number);
    begin();
    block.current->products.push_back({ work, block.current->product_groups });
    if (block.chance && at_once(PRODUCT))
        multiply(mine().begun);
}

void fence_sums()
{
    block.current->sums_fenced = true;
}

void commit_products()
{
    block.current->product_groups++;
    block.current->sums_fenced = false;
    pause();
}

void wait_products(int groups_left, int line)
{
    fibre *me = block.current;
    size_t n = 0;

    pause();
    while (n < me->products.size() && me->products[n].group < me->product_groups - groups_left)
        n++;
    while (mine().begun < me->waited_products + n)
        wait_for(&mine().begun, line);
    multiply(me->waited_products + n);
    me->products.erase(me->products.begin(), me->products.begin() + (long)n);
    me->waited_products += n;
}

} // namespace emulator
