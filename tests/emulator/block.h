/* block.h - the block that runs, and its threads: for the files of the emulator alone. */
#ifndef JRL_EMULATOR_BLOCK_H
#define JRL_EMULATOR_BLOCK_H

#include <cuda_runtime.h>

#include <functional>
#include <vector>

#include "proxies.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)0)
#endif

namespace emulator {

struct late_copy {
    void *to;
    const void *from;
    int n_bytes, n_zeros;
    int group;
    bool has_arrived;
};

struct late_send {
    float *to;
    const float *from;
    int n_floats;
    bool add, committed, has_arrived;
    std::vector<float> read; /* when it has been */
};

struct late_product {
    std::function<void()> work; /* empty: it is there */
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
    size_t waited_products; /* those before the first of PRODUCTS */
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

/* The four warps that multiply together. */
struct four_warps {
    std::vector<unsigned> threads; /* that have begun a product, by its number */
    unsigned begun;                /* products that all have */
};

struct turn_state {
    unsigned arrived, waiting, generation;
    int n_threads, line;
};

struct block_state {
    const char *kernel;
    const std::function<void()> *body;
    turn_state turns[16];
    std::vector<fibre> fibres;
    std::vector<warp> warps;
    std::vector<unsigned> order, place_in_order;
    unsigned n, alive, arrived, generation;
    int barrier_line;
    bool greedy, early_copies;
    std::vector<four_warps> products;
    bool chance;         /* the schedule of that name */
    unsigned chances;    /* drawn so far */
    unsigned haste[3];   /* of four copies in, copies out, or products, so many are there at once */
    bool hopper; /* the GPU is a 9.0, and has its own instructions */
    bool early, waited; /* the kernel may begin before the one before it has ended; a thread has waited for that */
    fibre *current;
    void *main_stack_pointer;
    char *shared;
    proxies unfenced;
#if defined(__SANITIZE_ADDRESS__)
    void *main_fake_stack;
    const void *main_stack;
    size_t main_stack_bytes;
#endif
};
extern block_state block;

/* fibres.cpp: sees to it that there are N_THREADS fibres; runs one block, at the place in the grid that HERE names, of BLOCK's kernel, its threads in the order
 * of the schedule. */
void take_fibres(unsigned n_threads);
void run_block(unsigned n_threads, size_t shared_bytes);
/* By the schedule "chance": a number below N; others may run now, and a bulk copy may arrive. */
unsigned drawn(unsigned n);
void pause();
/* An instruction of Hopper: no other GPU has it. */
void needs_hopper(int line);
/* Until *COUNTER changes, others run. */
void wait_for(const unsigned *counter, int line);

/* copies.cpp: before a block starts, and after its last thread. */
void forget_arrivals();
void check_arrived();
/* Bulk copies that somebody waits for arrive when nothing else can go on, as late as they may. False: there were none. */
bool bring_boxes();
void bring_some_box(); /* drawn: one of them, or none */

} // namespace emulator

#endif
