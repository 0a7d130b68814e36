/* fibres.cpp - the threads of a block as fibres. What a GPU does at the same time happens here in an order that JRL_EMULATOR_SCHEDULE names:
 *   greedy (default), greedy-reverse: a warp runs until it waits for the block, so that a missing barrier is seen;
 *   forward, reverse: the threads take turns at every point where one waits;
 *   chance[:SEED]: which warp goes before which is drawn, and the first that can runs; where it arrives, copies, multiplies or comes to a barrier, it may be
 *   made the last, rarely (Burckhardt et al. 2010, "probabilistic concurrency testing"). Whether a copy or a product is there at once, late, or between is
 *   drawn, too, in some blocks more of them at once than in others.
 *   With the first two, shared memory that wgmma or a bulk copy reads must have been fenced by the warps that wrote it (proxies.h).
 * Shared memory is NaN when a block starts. Threads that wait for each other for ever, and barriers and warp operations that only some threads reach, end the
 * program with the kernel and the line, as do more registers than there are, a block that ends with copies on their way or a turn half taken, and a kernel
 * that may begin early and does not wait for the one before it. */
#include "block.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>

namespace emulator {

place here;
block_state block;

static const size_t stack_bytes = 256 << 10;

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

unsigned drawn(unsigned n)
{
    block.chances = block.chances * 1664525u + 1013904223u;
    return (block.chances >> 8) % n;
}

/* Drawn orders begin with the warp that comes first, others behind the running thread. */
static fibre *next_in_order()
{
    const unsigned first = block.chance ? 0 : block.place_in_order[block.current->number] + 1;

    for (unsigned i = 0; i < block.n; i++) {
        fibre &f = block.fibres[block.order[(first + i) % block.n]];
        if (can_run(f))
            return &f;
    }
    return nullptr;
}

static fibre *next_fibre(void)
{
    const unsigned me = block.current->number;

    for (unsigned i = 1; block.greedy && i <= 32; i++) {
        fibre &f = block.fibres[me / 32 * 32 + (me + i) % 32];
        if (can_run(f))
            return &f;
    }
    return next_in_order();
}

void pause()
{
    const unsigned warp = block.current->number / 32;

    if (!block.chance)
        return;
    bring_some_box();
    if (lane() == 0 && drawn(256) == 0)
        std::stable_partition(block.order.begin(), block.order.end(), [=](unsigned thread) { return thread / 32 != warp; });
    fibre *first = next_in_order();
    if (first && first->number / 32 != warp)
        switch_to(first);
}

void wait_for(const unsigned *counter, int line)
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
    pause();
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

    pause();
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

/* ---- registers: as ptxas gives them to a kernel of which a processor has one block ---- */

static unsigned registers_at_start()
{
    return std::min(65536 / block.n, 255u) / 8 * 8;
}

void needs_hopper(int line)
{
    if (!block.hopper)
        stop("an instruction that only a GPU of 9.0 has", line);
}

void set_registers(int n, bool more, int line)
{
    needs_hopper(line);
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
    check_arrived();
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

void take_fibres(unsigned n)
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

static void choose_order(unsigned n)
{
    const char *schedule = getenv("JRL_EMULATOR_SCHEDULE");
    const std::string name = schedule ? schedule : "greedy";
    static unsigned n_blocks;

    block.order.resize(n);
    block.place_in_order.resize(n);
    block.chance = name.rfind("chance", 0) == 0;
    block.greedy = block.chance || name.rfind("greedy", 0) == 0;
    if (block.chance) {
        block.chances = 7919 * ++n_blocks + 104729 * (unsigned)atoi(name.c_str() + std::min(name.size(), sizeof "chance"));
        for (unsigned &haste : block.haste)
            haste = drawn(5);
    }
    for (unsigned i = 0; i < n; i++)
        block.order[i] = name == "reverse" || name == "greedy-reverse" ? n - 1 - i : i;
    for (unsigned i = n / 32 - 1; block.chance && i > 0; i--) {
        const unsigned other = drawn(i + 1);
        std::swap_ranges(&block.order[32 * i], &block.order[32 * i] + 32 * (other != i), &block.order[32 * other]);
    }
    for (unsigned i = 0; i < n; i++)
        block.place_in_order[block.order[i]] = i;
}

void run_block(unsigned n, size_t shared_bytes)
{
    const size_t padded = (shared_bytes + 127) / 128 * 128 + 128;

    choose_order(n);
    forget_arrivals();
    memset(block.turns, 0, sizeof block.turns);
    block.alive = block.n = n;
    block.waited = false;
    block.arrived = 0;
    block.warps.assign(n / 32, warp());
    block.products.assign((n + 127) / 128, four_warps());
    block.shared = static_cast<char *>(memalign(1024, padded));
    memset(block.shared, 0xff, padded);
    ASAN_POISON_MEMORY_REGION(block.shared + shared_bytes, padded - shared_bytes);
    block.unfenced.start(block.shared, block.greedy && !block.chance ? shared_bytes : 0, n);
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
        f.waited_products = 0;
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

} // namespace emulator
