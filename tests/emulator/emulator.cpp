/* emulator.cpp - runs the threads of a block as fibres, one block after the other, and stands in for the device: its memory,
 * streams and copies. What a GPU does at the same time happens here in an order that JRL_EMULATOR_SCHEDULE names:
 *   greedy (default), greedy-reverse: a warp runs until it waits for the block, so that a missing barrier is seen;
 *   forward, reverse, random: the threads take turns at every point where one waits.
 *   With the first two, shared memory that wgmma or a bulk copy reads must have been fenced by the warps that wrote it.
 * Shared memory is NaN when a block starts; asynchronous copies arrive as late as they may, so that a missing wait is seen, or with
 * JRL_EMULATOR_COPIES=early at once, so that it is seen when they overwrite what others still read. Threads that wait for each other
 * for ever, barriers and warp operations that only some threads reach, and addresses of the host in a kernel end the program
 * with the kernel and the line, as do products without their fences, more registers than there are, a block that ends with copies on
 * their way or a turn half taken, and a kernel that may begin early and does not wait for the one before it.
 * What a stream is asked for happens when somebody waits for it, as late as it may: results that are read too early, and memory
 * that is sent and changed before it has left, are found. A graph holds kernels with the arguments they were recorded with.
 * Other variables: JRL_EMULATOR_DEVICES (number of GPUs, 1), JRL_EMULATOR_CAPABILITY (90),
 * JRL_EMULATOR_MEMORY (bytes of each), JRL_EMULATOR_SHARED (bytes of shared memory that a block can have, 227 KiB),
 * JRL_EMULATOR_DRIVER=none|old|broken, JRL_EMULATOR_FAIL=KERNEL[:N[:late]] (its launches
 * from the N-th on, 1 by default, fail at once or, as a fault inside a kernel would, where the host next waits),
 * JRL_EMULATOR_OPEN (device memory stays open to the host, which is faster), JRL_EMULATOR_BANKS=strict (an ldmatrix that meets the
 * same banks of shared memory twice ends the program), JRL_EMULATOR_COUNTS=FILE (what the stream was asked for is written there at
 * the end: kernels, graphs, copies up, down and inside, and waits that found something to do), JRL_EMULATOR_CUBLASLT=broken (the
 * library cannot be started). */
#include "emulator.h"
#include "proxies.h"

#include <malloc.h>
#include <dlfcn.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)0)
#endif

namespace emulator {

place here;
bool strict_banks;

/* ---- fibres ---- */

static const size_t stack_bytes = 256 << 10;

struct late_copy {
    void *to;
    const void *from;
    int n_bytes, n_zeros;
    int group;
};

struct late_send {
    float *to;
    const float *from;
    int n_floats;
    bool add, committed, has_arrived;
    std::vector<float> read; /* when it has been */
};

struct late_product {
    std::function<void()> work;
    int group;
};

struct fibre {
    void *stack_pointer;
    char *stack;
    uint3 thread;
    unsigned number;
    bool done;
    const unsigned *waits_for; /* runs again when this has another value than SEEN */
    unsigned seen;
    int line;
    std::vector<late_copy> copies;
    int groups; /* of copies, committed */
    bool unfenced;  /* copies have arrived since the last fence */
    std::vector<late_send> sends;
    int looks; /* at turns, since the last fence_sends */
    std::vector<late_product> products;
    int product_groups;
    bool sums_fenced; /* since the last group of products was closed */
    int registers;    /* asked for; 0: none */
#if defined(__SANITIZE_ADDRESS__)
    void *fake_stack;
#endif
};

struct warp {
    unsigned arrived, generation;
    int line;
    unsigned char slots[2][32][32]; /* of alternating generations: a late lane still reads the last */
};

struct turn_state {
    unsigned arrived, waiting, generation;
    int n_threads, line;
};

static struct {
    const char *kernel;
    const std::function<void()> *body;
    turn_state turns[16];
    std::vector<fibre> fibres;
    std::vector<warp> warps;
    std::vector<unsigned> order, place_in_order;
    unsigned n, alive, arrived, generation;
    int barrier_line;
    bool greedy, early_copies;
    bool early, waited; /* the kernel may begin before the one before it has ended; a thread has waited for that */
    fibre *current;
    void *main_stack_pointer;
    char *shared;
    std::map<std::string, long> launches;
    proxies unfenced;
#if defined(__SANITIZE_ADDRESS__)
    void *main_fake_stack;
    const void *main_stack;
    size_t main_stack_bytes;
#endif
} block;

extern "C" void emulator_switch(void **save, void *to);
__asm__(".text\n.globl emulator_switch\n.hidden emulator_switch\n.type emulator_switch,@function\nemulator_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n.size emulator_switch,.-emulator_switch\n");

void stop(const char *what, int line)
{
    fprintf(stderr, "emulator: kernel %s, line %d, block (%u, %u, %u), thread %u: %s\n", block.kernel, line, here.block.x, here.block.y,
            here.block.z, block.current ? block.current->number : 0, what);
    for (const fibre &f : block.fibres)
        if (block.current && !f.done && f.waits_for && f.number % 32 == 0)
            fprintf(stderr, "emulator: thread %u waits in line %d\n", f.number, f.line);
    abort();
}

static void switch_to(fibre *to)
{
    fibre *from = block.current;
    if (!to || to->number / 32 != from->number / 32)
        block.unfenced.note(from->number);
    block.current = to;
    if (to)
        here.thread = to->thread;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(from->done ? nullptr : &from->fake_stack, to ? to->stack : block.main_stack, to ? stack_bytes : block.main_stack_bytes);
#endif
    emulator_switch(&from->stack_pointer, to ? to->stack_pointer : block.main_stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#endif
}

static bool can_run(const fibre &f)
{
    return !f.done && (!f.waits_for || *f.waits_for != f.seen);
}

static fibre *next_fibre(void)
{
    const unsigned me = block.current->number;

    for (unsigned i = 1; block.greedy && i <= 32; i++) {
        fibre &f = block.fibres[me / 32 * 32 + (me + i) % 32];
        if (can_run(f))
            return &f;
    }
    for (unsigned i = 1; i <= block.n; i++) {
        fibre &f = block.fibres[block.order[(block.place_in_order[me] + i) % block.n]];
        if (can_run(f))
            return &f;
    }
    return nullptr;
}

/* Bulk copies that somebody waits for arrive when nothing else can go on, as late as they may. */
static bool bring_boxes();

/* Until *counter changes, others run. */
static void wait_for(const unsigned *counter, int line)
{
    fibre *me = block.current;

    me->waits_for = counter;
    me->seen = *counter;
    me->line = line;
    while (*counter == me->seen) {
        fibre *next = next_fibre();
        if (!next && bring_boxes())
            continue;
        if (!next)
            stop("threads wait for each other for ever: a barrier or a warp operation is not reached by all", line);
        switch_to(next);
    }
    me->waits_for = nullptr;
}

void barrier(int line)
{
    if (block.arrived && block.barrier_line != line)
        stop("another barrier than the one where other threads wait", line);
    block.barrier_line = line;
    if (++block.arrived < block.alive) {
        wait_for(&block.generation, line);
        return;
    }
    block.arrived = 0;
    block.generation++;
}

/* A named barrier: bar.sync, or, where the thread does not wait, bar.arrive. */
void turn(int id, int n_threads, bool waits, int line)
{
    struct turn_state &t = block.turns[id];

    if (id < 1 || id > 15)
        stop("a turn that is none of 1 to 15", line);
    if (t.arrived && t.n_threads != n_threads)
        stop("a turn of another number of threads than those that wait for it", line);
    t.n_threads = n_threads;
    t.line = line;
    t.waiting += waits;
    if ((int)++t.arrived == n_threads) {
        if (t.waiting == 0)
            stop("a turn that is passed on while nobody waits for it", line);
        t.arrived = t.waiting = 0;
        t.generation++;
    } else if (waits)
        wait_for(&t.generation, line);
}

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
    if (block.early_copies) {
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

unsigned lane()
{
    return block.current->number % 32;
}

const unsigned char *exchange(const void *mine, size_t n_bytes, int line)
{
    warp &w = block.warps[block.current->number / 32];
    const unsigned generation = w.generation;

    if (w.arrived && w.line != line)
        stop("another warp operation than the one where other lanes wait", line);
    w.line = line;
    memcpy(w.slots[generation % 2][lane()], mine, n_bytes);
    w.arrived |= 1u << lane();
    if (w.arrived == 0xffffffffu) {
        w.arrived = 0;
        w.generation++;
    } else
        wait_for(&w.generation, line);
    return w.slots[generation % 2][0];
}

static void arrive(const late_copy &c)
{
    if (c.n_bytes)
        memcpy(c.to, c.from, (size_t)c.n_bytes);
    memset(static_cast<char *>(c.to) + c.n_bytes, 0, (size_t)c.n_zeros);
}

void copy_later(void *to, const void *from, int n_bytes, int n_zeros, int line)
{
    const late_copy copy = { to, from, n_bytes, n_zeros, block.current->groups };

    if (((uintptr_t)to | (uintptr_t)from) % 16)
        stop("an asynchronous copy from or to an address that is not aligned to 16 bytes", line);
    if (block.early_copies)
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

    for (; n < me->copies.size() && me->copies[n].group < me->groups - groups_left; n++)
        if (!block.early_copies)
            arrive(me->copies[n]);
    me->unfenced = me->unfenced || n > 0;
    me->copies.erase(me->copies.begin(), me->copies.begin() + (long)n);
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

void init_arrivals(uint64_t *a, int count)
{
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
    if (block.early_copies)
        bring(s, b);
    else
        s.boxes.push_back(b);
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

static bool bring_boxes()
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

void wait_arrivals(uint64_t *a, int parity, int line)
{
    const arrival_state &s = state_of(a, line);

    while ((int)(s.phases & 1) == parity)
        wait_for(&s.phases, line);
}

void fence_copies()
{
    block.current->unfenced = false;
    block.unfenced.fence(block.current->number);
}

void multiply_later(std::function<void()> work, int line)
{
    if (block.current->unfenced)
        stop("copies that were waited for are multiplied without a fence", line);
    if (!block.current->sums_fenced)
        stop("a group of products begins without a fence for its registers", line);
    if (lane() == 0)
        block.unfenced.note(block.current->number);
    block.current->products.push_back({ work, block.current->product_groups });
}

void fence_sums()
{
    block.current->sums_fenced = true;
}

void commit_products()
{
    block.current->product_groups++;
    block.current->sums_fenced = false;
}

void wait_products(int groups_left)
{
    fibre *me = block.current;
    size_t n = 0;

    for (; n < me->products.size() && me->products[n].group < me->product_groups - groups_left; n++)
        me->products[n].work();
    me->products.erase(me->products.begin(), me->products.begin() + (long)n);
}

/* ---- registers: as ptxas gives them to a kernel of which a processor has one block ---- */

static unsigned registers_at_start()
{
    return std::min(65536 / block.n, 255u) / 8 * 8;
}

void set_registers(int n, bool more, int line)
{
    if (n < 24 || n > 256 || n % 8 || (more ? n < (int)registers_at_start() : n > (int)registers_at_start()))
        stop("a number of registers that is none, or no more or no fewer than at the start", line);
    if (block.current->registers)
        stop("a thread asks for registers twice", line);
    block.current->registers = n;
}

/* Warps that ask for more than others give wait for ever. */
static void check_registers()
{
    unsigned sum = 0;

    for (unsigned i = 0; i < block.n; i++) {
        if (block.fibres[i].registers != block.fibres[i / 128 * 128].registers)
            stop("four warps that do not ask for the same number of registers", 0);
        sum += block.fibres[i].registers ? (unsigned)block.fibres[i].registers : registers_at_start();
    }
    if (sum > block.n * registers_at_start())
        stop("warps ask for more registers than others give", 0);
}

void *shared_memory()
{
    return block.shared;
}

void wait_for_kernel_before()
{
    block.waited = true;
}

/* After its last thread. */
static void end_block()
{
    for (const auto &[a, s] : arrival_states)
        if (!s.boxes.empty())
            stop("a block ends before its bulk copies have arrived", 0);
    for (const turn_state &t : block.turns)
        if (t.arrived)
            stop("a block ends with a turn that nobody took", t.line);
    if (block.early && !block.waited)
        stop("a kernel that may begin early does not wait for the one before it", 0);
    check_registers();
}

static void fibre_main()
{
#if defined(__SANITIZE_ADDRESS__)
    if (!block.main_stack)
        __sanitizer_finish_switch_fiber(nullptr, &block.main_stack, &block.main_stack_bytes);
    else
        __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    (*block.body)();
    fibre *me = block.current, *next;
    if (block.warps[me->number / 32].arrived)
        stop("a thread ends where other lanes of its warp wait for it", 0);
    if (!me->copies.empty())
        stop("a thread ends before its asynchronous copies have arrived", 0);
    if (!me->sends.empty())
        stop("a thread ends before what it sent has left", 0);
    if (!me->products.empty())
        stop("a thread ends before its products are there", 0);
    me->done = true;
    block.alive--;
    if (block.arrived && block.arrived == block.alive) {
        block.arrived = 0;
        block.generation++;
    }
    if (block.alive == 0)
        end_block();
    next = block.alive ? next_fibre() : nullptr;
    if (block.alive && !next && bring_boxes())
        next = next_fibre();
    if (block.alive && !next)
        stop("threads wait for each other for ever: a barrier or a warp operation is not reached by all", 0);
    switch_to(next);
    __builtin_trap();
}

/* ---- blocks ---- */

static void take_fibres(unsigned n)
{
    while (block.fibres.size() < n) {
        fibre f = {};
        char *memory = static_cast<char *>(mmap(nullptr, stack_bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (memory == MAP_FAILED || mprotect(memory, 4096, PROT_NONE) != 0)
            stop("no memory for a stack", 0);
        f.stack = memory + 4096;
        f.number = (unsigned)block.fibres.size();
        block.fibres.push_back(f);
    }
}

static void choose_order(unsigned n, unsigned seed)
{
    const char *schedule = getenv("JRL_EMULATOR_SCHEDULE");
    const std::string name = schedule ? schedule : "greedy";

    block.order.resize(n);
    block.place_in_order.resize(n);
    block.greedy = name.rfind("greedy", 0) == 0;
    for (unsigned i = 0; i < n; i++)
        block.order[i] = name == "reverse" || name == "greedy-reverse" ? n - 1 - i : i;
    for (unsigned i = n - 1; name == "random" && i > 0; i--) {
        seed = seed * 1664525u + 1013904223u;
        std::swap(block.order[i], block.order[(seed >> 8) % (i + 1)]);
    }
    for (unsigned i = 0; i < n; i++)
        block.place_in_order[block.order[i]] = i;
}

static void run_block(unsigned n, size_t shared_bytes)
{
    const size_t padded = (shared_bytes + 127) / 128 * 128 + 128;

    arrival_states.clear();
    memset(block.turns, 0, sizeof block.turns);
    block.alive = block.n = n;
    block.waited = false;
    block.arrived = 0;
    block.warps.assign(n / 32, warp());
    block.shared = static_cast<char *>(memalign(1024, padded));
    memset(block.shared, 0xff, padded);
    ASAN_POISON_MEMORY_REGION(block.shared + shared_bytes, padded - shared_bytes);
    block.unfenced.start(block.shared, block.greedy ? shared_bytes : 0, n);
    for (unsigned i = 0; i < n; i++) {
        fibre &f = block.fibres[i];
        ASAN_UNPOISON_MEMORY_REGION(f.stack, stack_bytes); /* its last thread never returned */
        void **top = reinterpret_cast<void **>(f.stack + stack_bytes - 64);
        f.thread = { i % here.block_size.x, i / here.block_size.x % here.block_size.y, i / here.block_size.x / here.block_size.y };
        f.done = false;
        f.waits_for = nullptr;
        f.copies.clear();
        f.sends.clear();
        f.looks = 0;
        f.products.clear();
        f.groups = f.product_groups = 0;
        f.unfenced = f.sums_fenced = false;
        f.registers = 0;
        *--top = nullptr;
        *--top = reinterpret_cast<void *>(fibre_main);
        for (int k = 0; k < 6; k++)
            *--top = nullptr;
        f.stack_pointer = top;
    }
    fibre *first = &block.fibres[block.order[0]];
    block.current = first;
    here.thread = first->thread;
#if defined(__SANITIZE_ADDRESS__)
    block.main_stack = nullptr;
    __sanitizer_start_switch_fiber(&block.main_fake_stack, first->stack, stack_bytes);
#endif
    emulator_switch(&block.main_stack_pointer, first->stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(block.main_fake_stack, nullptr, nullptr);
#endif
    block.current = nullptr;
    ASAN_UNPOISON_MEMORY_REGION(block.shared + shared_bytes, padded - shared_bytes);
    free(block.shared);
}

/* ---- device memory: one range of addresses, closed to the host ---- */

static char *const arena = reinterpret_cast<char *>(0x200000000000);
static const size_t arena_bytes = (size_t)1 << 40, red_zone = 512;
static struct {
    bool mapped;
    size_t used, taken;
    std::map<char *, size_t> pieces;
    std::multimap<size_t, char *> free; /* by size; opening and closing takes time by what was ever touched */
    cudaError_t last, for_ever; /* what cudaGetLastError tells next; what every call tells after a fault in a kernel */
} memory;

static cudaError_t fail(cudaError_t error)
{
    return memory.last = memory.for_ever ? memory.for_ever : error;
}

static bool on_device(const void *p)
{
    return p >= arena && p < arena + arena_bytes;
}

struct open_memory { /* while it lives, device memory can be touched */
    open_memory() { mprotect(arena, (memory.used + 4095) & ~(size_t)4095, PROT_READ | PROT_WRITE); }
    ~open_memory()
    {
        if (!getenv("JRL_EMULATOR_OPEN"))
            mprotect(arena, (memory.used + 4095) & ~(size_t)4095, PROT_NONE);
    }
};

void check_argument(const char *kernel, const void *argument, size_t n_bytes)
{
    for (size_t i = 0; i + 8 <= n_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, static_cast<const char *>(argument) + i, 8);
        if (word >= 0x500000000000u && word < 0x800000000000u) {
            fprintf(stderr, "emulator: kernel %s: an argument holds %p, an address of the host\n", kernel, reinterpret_cast<void *>(word));
            abort();
        }
    }
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

/* What JRL_EMULATOR_FAIL says about this launch of a kernel. */
static bool fails(const std::string &kernel, long launch, bool *late)
{
    const char *text = getenv("JRL_EMULATOR_FAIL");
    const size_t n = kernel.size();
    char *end;

    if (!text || strncmp(text, kernel.c_str(), n) != 0 || (text[n] && text[n] != ':'))
        return false;
    const long first = text[n] ? strtol(text + n + 1, &end, 10) : 1;
    *late = text[n] && !strcmp(end, ":late");
    return launch >= first;
}

/* Runs a grid. */
static void run(const char *name, dim3 grid, dim3 block_size, size_t shared_bytes, const std::function<void()> &body, bool early)
{
    const unsigned n = block_size.x * block_size.y * block_size.z, mode = _mm_getcsr();
    const char *banks = getenv("JRL_EMULATOR_BANKS"), *copies = getenv("JRL_EMULATOR_COPIES");

    block.kernel = name;
    block.body = &body;
    block.early = early;
    block.early_copies = copies && !strcmp(copies, "early");
    strict_banks = banks && !strcmp(banks, "strict");
    here.block_size = block_size;
    here.grid_size = grid;
    take_fibres(n);
    open_memory open;
    _mm_setcsr(mode | 0x8040); /* denormals are flushed, as the kernels are compiled for a GPU */
    for (unsigned z = 0, seed = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                here.block = { x, y, z };
                choose_order(n, 7919 * seed++ + 1);
                run_block(n, shared_bytes);
            }
    _mm_setcsr(mode);
}

/* ---- the stream: what it was asked for and has not done ---- */

static struct {
    std::deque<std::function<void()>> waiting;
    long asked, done; /* since the beginning */
    emulated_graph *recording;
    bool spoilt; /* the recording, by a call that is not allowed meanwhile */
    struct {
        long kernels, graphs, up, down, inside, waits;
    } counts;
} stream;

static void write_counts()
{
    FILE *f = fopen(getenv("JRL_EMULATOR_COUNTS"), "w");

    if (!f)
        return;
    fprintf(f, "kernels %ld\ngraphs %ld\nup %ld\ndown %ld\ninside %ld\nwaits %ld\n", stream.counts.kernels, stream.counts.graphs, stream.counts.up,
            stream.counts.down, stream.counts.inside, stream.counts.waits);
    fclose(f);
}

/* Until so much has been done. */
static void wait_until(long asked)
{
    if (stream.done < asked)
        stream.counts.waits++;
    for (; stream.done < asked; stream.done++) {
        const std::function<void()> work = std::move(stream.waiting.front());

        stream.waiting.pop_front();
        work();
    }
}

static void ask(std::function<void()> work)
{
    stream.waiting.push_back(std::move(work));
    stream.asked++;
}

} // namespace emulator

struct emulated_event {
    long asked; /* when it was recorded */
};
struct emulated_graph {
    std::vector<std::function<void()>> work;
};

namespace emulator {

/* Work that a graph may hold; counted by COUNT when it goes to the stream by itself. */
static void ask_or_record(std::function<void()> work, long *count)
{
    if (stream.recording) {
        stream.recording->work.push_back(std::move(work));
        return;
    }
    ++*count;
    ask(std::move(work));
}

cudaError_t launch(const char *name, dim3 grid, dim3 block_size, size_t shared_bytes, std::function<void()> body, bool early)
{
    const unsigned n = block_size.x * block_size.y * block_size.z;
    const std::string base = std::string(name).substr(name[0] == '(', std::string(name).find('<') - (name[0] == '('));
    bool late = false;

    if (n == 0 || n > 1024 || n % 32 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        shared_bytes > (size_t)setting("JRL_EMULATOR_SHARED", 227 << 10)) {
        fprintf(stderr, "emulator: kernel %s: a grid of %u x %u x %u blocks of %u threads with %zu bytes cannot be launched\n", name, grid.x,
                grid.y, grid.z, n, shared_bytes);
        abort();
    }
    if (base != name)
        block.launches[name]++;
    if (fails(base, ++block.launches[base], &late)) {
        if (!late)
            return memory.for_ever = cudaErrorLaunchFailure;
        ask_or_record([] { memory.for_ever = cudaErrorLaunchFailure; }, &stream.counts.kernels); /* not even cudaGetLastError knows yet */
        return cudaSuccess;
    }
    ask_or_record([=] { run(name, grid, block_size, shared_bytes, body, early); }, &stream.counts.kernels);
    return cudaSuccess;
}

const char *library_path(const char *name)
{
    static std::string path;
    Dl_info info;

    path = dladdr(reinterpret_cast<void *>(&library_path), &info) ? info.dli_fname : "";
    path = path.substr(0, path.rfind('/') + 1) + name;
    return path.c_str();
}

cudaError_t library_call(const char *name, std::function<void()> work)
{
    const char *fail = getenv("JRL_EMULATOR_FAIL");

    block.launches[name]++;
    if (fail && strcmp(name, fail) == 0)
        return memory.for_ever = cudaErrorLaunchFailure;
    ask_or_record([=] {
        open_memory open;
        work();
    }, &stream.counts.kernels);
    return cudaSuccess;
}

} // namespace emulator

using namespace emulator;

/* How often the kernel of this name has run in this process, with or without what its template was given. */
extern "C" __attribute__((visibility("default"))) long emulator_launches(const char *name)
{
    const auto found = emulator::block.launches.find(name);
    return found == emulator::block.launches.end() ? 0 : found->second;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    const char *driver = getenv("JRL_EMULATOR_DRIVER");

    *version = !driver ? CUDART_VERSION : strcmp(driver, "old") == 0 ? 12040 : 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *driver = getenv("JRL_EMULATOR_DRIVER");
    const long devices = setting("JRL_EMULATOR_DEVICES", 1);

    if (driver && (!strcmp(driver, "none") || !strcmp(driver, "old")))
        return cudaErrorInsufficientDriver; /* and n stays as it was, as in the library */
    if (driver)
        return cudaErrorSystemDriverMismatch;
    if (devices == 0)
        return cudaErrorNoDevice;
    *n = (int)devices;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index)
{
    return index < setting("JRL_EMULATOR_DEVICES", 1) ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    const long capability = setting("JRL_EMULATOR_CAPABILITY", 90);

    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 4; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)setting("JRL_EMULATOR_SHARED", 227 << 10); break;
    case cudaDevAttrComputeCapabilityMajor: *value = (int)capability / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = (int)capability % 10; break;
    }
    return cudaSuccess;
}

static size_t memory_bytes()
{
    return (size_t)setting("JRL_EMULATOR_MEMORY", 1L << 30);
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    *total = memory_bytes();
    *available = *total > memory.taken ? *total - memory.taken : 0;
    return cudaSuccess;
}

/* A call that a recording does not allow: CUDA refuses it, and the recording is of no use any more. */
static bool is_recording()
{
    stream.spoilt = stream.spoilt || stream.recording;
    return stream.recording;
}

cudaError_t cudaMalloc(void **out, size_t n_bytes)
{
    const size_t padded = (n_bytes + 255) / 256 * 256;
    char *p;

    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    if (memory.taken + padded > memory_bytes())
        return fail(cudaErrorMemoryAllocation);
    if (!memory.mapped && mmap(arena, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != arena)
        return fail(cudaErrorMemoryAllocation);
    memory.mapped = true;
    const auto again = memory.free.find(padded);
    if (again != memory.free.end()) {
        p = again->second;
        memory.free.erase(again);
    } else {
        p = arena + memory.used + red_zone;
        memory.used += padded + red_zone;
    }
    memory.taken += padded;
    memory.pieces[p] = padded;
    open_memory open;
    ASAN_UNPOISON_MEMORY_REGION(p, padded);
    memset(p, 0xff, padded);
    ASAN_POISON_MEMORY_REGION(p - red_zone, red_zone);
    ASAN_POISON_MEMORY_REGION(p + n_bytes, padded - n_bytes + red_zone);
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    const auto found = memory.pieces.find(static_cast<char *>(p));

    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    if (found == memory.pieces.end())
        return p ? fail(cudaErrorInvalidValue) : cudaSuccess;
    wait_until(stream.asked);
    {
        open_memory open;
        ASAN_UNPOISON_MEMORY_REGION(p, found->second);
        memset(p, 0xff, found->second); /* who still uses it finds NaN */
    }
    ASAN_POISON_MEMORY_REGION(p, found->second);
    memory.taken -= found->second;
    memory.free.insert({ found->second, found->first });
    memory.pieces.erase(found);
    return cudaSuccess;
}

static std::set<const char *> pinned; /* first bytes */
static const size_t pinned_bytes = 64 << 20; /* more than any of it */

static bool is_pinned(const void *p)
{
    const char *at = static_cast<const char *>(p);
    auto next = pinned.upper_bound(at);

    return next != pinned.begin() && at < *--next + pinned_bytes;
}

cudaError_t cudaMallocHost(void **out, size_t n_bytes)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    if (n_bytes > pinned_bytes)
        return fail(cudaErrorMemoryAllocation);
    *out = mmap(nullptr, pinned_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (*out == MAP_FAILED)
        return fail(cudaErrorMemoryAllocation);
    pinned.insert(static_cast<char *>(*out));
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    wait_until(stream.asked);
    pinned.erase(static_cast<char *>(p));
    munmap(p, pinned_bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t)
{
    const auto copy = [=] {
        open_memory open;
        memcpy(to, from, n_bytes);
    };

    if (on_device(to) != (kind != cudaMemcpyDeviceToHost) || on_device(from) != (kind != cudaMemcpyHostToDevice)) {
        fprintf(stderr, "emulator: a copy of %zu bytes from %p to %p is none of kind %d\n", n_bytes, from, to, (int)kind);
        abort();
    }
    if (kind == cudaMemcpyDeviceToDevice) {
        ask_or_record(copy, &stream.counts.inside);
        return cudaSuccess;
    }
    if (stream.recording) { /* CUDA would repeat it with the host's memory as it is then: nobody here wants that */
        fprintf(stderr, "emulator: a copy of %zu bytes between device and host is recorded\n", n_bytes);
        abort();
    }
    ++*(kind == cudaMemcpyHostToDevice ? &stream.counts.up : &stream.counts.down);
    ask(copy);
    if (!is_pinned(kind == cudaMemcpyHostToDevice ? from : to))
        wait_until(stream.asked); /* as the library does with memory that can move */
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int byte, size_t n_bytes, cudaStream_t)
{
    if (!on_device(to)) {
        fprintf(stderr, "emulator: %p is set, an address of the host\n", to);
        abort();
    }
    ask_or_record([=] {
        open_memory open;
        memset(to, byte, n_bytes);
    }, &stream.counts.inside);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = nullptr;
    if (getenv("JRL_EMULATOR_COUNTS"))
        atexit(write_counts);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    wait_until(stream.asked);
    return memory.for_ever;
}
cudaError_t cudaStreamDestroy(cudaStream_t)
{
    wait_until(stream.asked);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new emulated_event();
    return cudaSuccess;
}
/* CUDA would make an event of a recording part of it, which nobody could wait for. */
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    event->asked = stream.asked;
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    wait_until(event->asked);
    return memory.for_ever;
}
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
    stream.recording = new emulated_graph();
    stream.spoilt = false;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *out)
{
    *out = stream.spoilt ? nullptr : stream.recording;
    if (stream.spoilt)
        delete stream.recording;
    stream.recording = nullptr;
    return stream.spoilt ? fail(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new emulated_graph(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t)
{
    stream.counts.graphs++;
    for (const std::function<void()> &work : graph->work)
        ask(work);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = memory.for_ever ? memory.for_ever : memory.last;

    memory.last = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorSystemDriverMismatch: return "system has unsupported display driver / cuda driver combination";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "invalid argument";
    }
}
