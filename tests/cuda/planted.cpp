/* planted.cpp - kernels with the mistakes that the emulator is there to find, one named on the command line. t0591 expects each
 * to end with a message; "none" is right and ends well. */
#include "kernels/cuda/bulk.cuh"
#include "kernels/cuda/wgmma.cuh"

#include <stdio.h>

struct room {
    float x[64];
    __align__(16) float copied[4];
};

struct rows {
    __align__(128) float x[32][32];
};

struct boxes {
    __align__(1024) uint16_t box[64][64];
    arrivals full;
};

/* Warps read what others wrote without waiting for them. */
static __global__ void no_barrier(float *out)
{
    SHARED(struct room, s);
    s.x[threadIdx.x] = (float)threadIdx.x;
    out[threadIdx.x] = s.x[63 - threadIdx.x];
}

static __global__ void none(float *out)
{
    SHARED(struct room, s);
    s.x[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = s.x[63 - threadIdx.x];
}

static __global__ void barrier_of_some(float *out)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncwarp();
    if (threadIdx.x >= 32)
        __syncthreads();
    out[threadIdx.x] = 0;
}

static __global__ void shuffle_of_some(float *out)
{
    out[threadIdx.x] = threadIdx.x % 2 ? __shfl_xor_sync(ALL_LANES, 1.0f, 1) : 0.0f;
}

static __global__ void no_wait(float *out)
{
    SHARED(struct room, s);
    if (threadIdx.x == 0)
        copy_16(s.copied, out, true);
    commit_copies();
    __syncthreads();
    out[threadIdx.x] = s.copied[threadIdx.x % 4];
    wait_copies<0>();
}

/* Filled again while others have not read what was there. */
static __global__ void refilled(float *out)
{
    SHARED(struct room, s);
    if (threadIdx.x < 4)
        s.copied[threadIdx.x] = 0;
    __syncthreads();
    if (threadIdx.x == 32) {
        out[63] = 1;
        copy_16(s.copied, out + 60, true);
    }
    commit_copies();
    out[threadIdx.x] = s.copied[threadIdx.x % 4];
    wait_copies<0>();
}

static __global__ void odd_copy(float *out)
{
    SHARED(struct room, s);
    copy_16(s.copied, out + 1, threadIdx.x == 0);
    commit_copies();
    wait_copies<0>();
    out[threadIdx.x] = 0;
}

/* Rows 128 bytes apart lie in the same banks. */
static __global__ void same_banks(float *out)
{
    SHARED(struct rows, s);
    uint32_t matrices[4];
    for (int i = 0; i < 32; i++)
        s.x[threadIdx.x % 32][i] = 0;
    __syncthreads();
    load_matrices<false>(matrices, s.x[threadIdx.x % 32]);
    out[threadIdx.x] = (float)matrices[0];
}

/* Reads a box that is still on its way, one of zeros. */
static __global__ void no_arrival(float *out)
{
    SHARED(struct boxes, s);
    if (threadIdx.x == 0) {
        box_map map;
        (void)map_boxes(&map, out, 1, 8, 8, 64);
        init_arrivals(&s.full, 1);
        arrive_before_bytes(&s.full, sizeof s.box);
        copy_box(s.box, &map, 0, 0, &s.full);
    }
    __syncthreads();
    out[threadIdx.x] = s.box[0][threadIdx.x];
    wait_arrivals(&s.full, 0);
}

/* Waits for an arrival that comes before what it reads. */
static __global__ void waits_too_early(float *out)
{
    SHARED(struct boxes, s);
    if (threadIdx.x == 0)
        init_arrivals(&s.full, 1);
    __syncthreads();
    if (threadIdx.x == 32) {
        arrive(&s.full);
        s.box[0][0] = 0;
    }
    if (threadIdx.x == 0)
        wait_arrivals(&s.full, 0);
    out[threadIdx.x] = threadIdx.x ? 0 : s.box[0][0];
}

/* More bytes are said to come than do. */
static __global__ void too_few_bytes(float *out)
{
    SHARED(struct boxes, s);
    if (threadIdx.x == 0) {
        init_arrivals(&s.full, 1);
        arrive_before_bytes(&s.full, 16);
    }
    __syncthreads();
    wait_arrivals(&s.full, 0);
    out[threadIdx.x] = 0;
}

/* Nobody takes the turn that is passed on. */
static __global__ void no_taker(float *out)
{
    pass_turn<64>(1);
    out[threadIdx.x] = 0;
}

/* A piece of memory that is still on its way. */
static __global__ void no_bytes_yet(float *out)
{
    SHARED(struct boxes, s);
    if (threadIdx.x == 0) {
        init_arrivals(&s.full, 1);
        arrive_before_bytes(&s.full, 64);
        copy_bytes(s.box, out, 64, &s.full);
    }
    __syncthreads();
    out[threadIdx.x] = s.box[0][threadIdx.x % 32];
    wait_arrivals(&s.full, 0);
}

/* As it should be done, but for what was written to the box. */
static __device__ void multiply_box(struct boxes &s, float *out)
{
    float sums[4][4] = {};
    fence_sums();
    wgmma_64<false, false>(sums, operand_at(shared_address(s.box), 0), operand_at(shared_address(s.box), 0), true);
    commit_products();
    wait_products<0>();
    out[threadIdx.x] = sums[0][0];
}

/* Copies are multiplied that were waited for, but not fenced. */
static __global__ void no_fence(float *out)
{
    SHARED(struct boxes, s);
    copy_16(s.box[threadIdx.x], out, true);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    multiply_box(s, out);
}

/* Products begin while their sums may still be on the way to registers. */
static __global__ void no_sums_fence(float *out)
{
    SHARED(struct boxes, s);
    float sums[4][4] = {};
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            fence_sums();
        wgmma_64<false, false>(sums, operand_at(shared_address(s.box), 0), operand_at(shared_address(s.box), 0), true);
        commit_products();
        wait_products<0>();
        sums[0][0] = 0;
    }
    out[threadIdx.x] = 0;
}

/* The block ends, and a copy to its shared memory arrives. */
static __global__ void copy_outlives(float *out)
{
    SHARED(struct boxes, s);
    if (threadIdx.x == 0) {
        init_arrivals(&s.full, 1);
        arrive_before_bytes(&s.full, 64);
        copy_bytes(s.box, out, 64, &s.full);
    }
    out[threadIdx.x] = 0;
}

/* Half of the threads of a turn, and the block ends. */
static __global__ void turn_left(float *out)
{
    if (threadIdx.x < 32)
        pass_turn<64>(1);
    out[threadIdx.x] = 0;
}

/* Nobody has given the registers that are asked for. */
static __global__ void too_many_registers(float *out)
{
    take_registers<256>();
    out[threadIdx.x] = 0;
}

/* Stores are multiplied that were not fenced. */
static __global__ void no_fence_of_stores(float *out)
{
    SHARED(struct boxes, s);
    s.box[threadIdx.x][0] = 0;
    __syncthreads();
    multiply_box(s, out);
}

/* The fence comes too early. */
static __global__ void sent_unfenced(float *out)
{
    SHARED(struct room, s);
    fence_operands();
    if (threadIdx.x >= 60)
        s.copied[threadIdx.x - 60] = 0;
    __syncthreads();
    if (threadIdx.x == 32) {
        send_bytes(out, s.copied, 16);
        commit_sends();
        wait_sends();
    }
}

/* Another block is told before what was sent has arrived. */
static __global__ void told_too_early(float *out)
{
    SHARED(struct room, s);
    if (threadIdx.x == 0) {
        send_bytes(out + 4, s.copied, 16);
        commit_sends();
        wait_sends_read();
        pass_on(reinterpret_cast<int *>(out), 1);
        wait_sends();
    }
}

/* It is sent behind a turn, without a fence between. */
static __global__ void no_fence_of_turn(float *out)
{
    SHARED(struct room, s);
    if (threadIdx.x == 0 && seen(reinterpret_cast<int *>(out)) == 0)
        send_bytes(out + 4, s.copied, 16);
}

/* The turn of another, and one that never comes. */
static __global__ void wrong_turn(float *out)
{
    if (threadIdx.x == 0)
        pass_on(reinterpret_cast<int *>(out), 2);
}
static __global__ void no_turn(float *out)
{
    while (seen(reinterpret_cast<int *>(out)) < 1)
        ;
}

/* Nobody waits for a product. */
static __global__ void no_product_wait(float *out)
{
    SHARED(struct boxes, s);
    float sums[4][4] = {};
    fence_sums();
    wgmma_64<false, false>(sums, operand_at(shared_address(s.box), 0), operand_at(shared_address(s.box), 0), true);
    commit_products();
    out[threadIdx.x] = sums[0][0];
}

static __global__ void beyond_shared(float *out)
{
    SHARED(struct room, s);
    s.copied[threadIdx.x] = 0;
    out[threadIdx.x] = 0;
}

static __global__ void beyond_memory(float *out)
{
    out[threadIdx.x + 1] = 0;
}

static __global__ void uses(float *out)
{
    out[threadIdx.x] = 0;
}

#define IN(room, name) { #name, name, sizeof(struct room) }
static const struct {
    const char *name;
    void (*kernel)(float *out);
    size_t shared_bytes;
} kernels[] = {
    IN(room, none), IN(room, no_barrier), IN(room, barrier_of_some), IN(room, shuffle_of_some), IN(room, no_wait),
    IN(room, refilled), IN(room, odd_copy), IN(rows, same_banks), IN(boxes, no_arrival), IN(boxes, waits_too_early), IN(boxes, too_few_bytes),
    IN(room, no_taker), IN(boxes, no_bytes_yet), IN(boxes, no_fence), IN(boxes, no_fence_of_stores), IN(room, sent_unfenced),
    IN(room, told_too_early), IN(room, no_fence_of_turn), IN(room, wrong_turn), IN(room, no_turn), IN(boxes, no_product_wait),
    IN(boxes, no_sums_fence), IN(boxes, copy_outlives), IN(room, turn_left), IN(room, too_many_registers),
    { "begins_early", uses, sizeof(struct room) }, IN(room, beyond_shared), IN(room, beyond_memory),
    { "host_pointer", uses, sizeof(struct room) }, { "host_access", uses, sizeof(struct room) },
};

/* Waiting while kernels are recorded: refused, and the recording is of no use. */
static int wait_recorded()
{
    cudaGraph_t graph;

    (void)cudaStreamBeginCapture(NULL, cudaStreamCaptureModeThreadLocal);
    (void)cudaStreamSynchronize(NULL);
    printf("planted: recording: %s\n", cudaGetErrorString(cudaStreamEndCapture(NULL, &graph)));
    printf("planted: afterwards: %s\n", cudaGetErrorString(cudaGetLastError()));
    return cudaGetLastError() == cudaSuccess;
}

int main(int argc, char **argv)
{
    float *there, *argument, out[64], zeros[64] = {};
    void *memory;

    if (argc > 1 && strcmp(argv[1], "wait_recorded") == 0)
        return wait_recorded();

    for (const auto &k : kernels) {
        if (argc < 2 || strcmp(k.name, argv[1]) != 0)
            continue;
        if (cudaMalloc(&memory, sizeof out) != cudaSuccess || cudaMemcpyAsync(memory, zeros, sizeof out, cudaMemcpyHostToDevice, NULL) != cudaSuccess)
            return 2;
        there = static_cast<float *>(memory);
        argument = strcmp(k.name, "host_pointer") == 0 ? out : there;
        emulator::check_argument(k.name, &argument, sizeof argument);
        const bool early = strcmp(k.name, "begins_early") == 0;
        (void)emulator::launch(k.name, 1, 64, k.shared_bytes, [&] { k.kernel(argument); }, early);
        if (strcmp(k.name, "host_access") == 0)
            return there[0] != 0;
        (void)cudaMemcpyAsync(out, memory, sizeof out, cudaMemcpyDeviceToHost, NULL);
        for (int i = 0; i < 64; i++)
            if (out[i] != (strcmp(k.name, "none") == 0 || strcmp(k.name, "no_barrier") == 0 ? (float)(63 - i) : 0.0f)) {
                printf("planted: kernel %s: element %d is %g\n", k.name, i, out[i]);
                return 1;
            }
        return 0;
    }
    fprintf(stderr, "usage: planted NAME\n");
    return 2;
}
