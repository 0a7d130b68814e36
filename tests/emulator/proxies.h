/* proxies.h - what wgmma and bulk copies may not read yet: shared memory that a warp has written, by stores or cp.async, and not called fence.proxy.async
 * since. Stores are found by comparing with a copy before another warp goes on, so a warp must run until it waits (greedy); one that changes nothing is not
 * seen, nor that only some lanes call the fence. */
#ifndef JRL_EMULATOR_PROXIES_H
#define JRL_EMULATOR_PROXIES_H

#include <string.h>

#include <algorithm>
#include <vector>

namespace emulator {

class proxies {
    enum { PIECE = 16, LONG = 1024 };
    struct piece {
        unsigned writer, time; /* WRITER: 1 + the warp, 0 for a bulk copy */
    };
    const char *memory = nullptr;
    size_t n_bytes = 0;
    std::vector<char> copy;
    std::vector<piece> pieces;
    std::vector<unsigned> fenced; /* when each warp called the fence last */
    unsigned time = 0;

  public:
    /* Of the block that starts; N_BYTES 0: nothing is looked at. */
    void start(const char *shared, size_t bytes, unsigned n_threads)
    {
        memory = shared;
        n_bytes = bytes / PIECE * PIECE;
        copy.assign(shared, shared + n_bytes);
        pieces.assign(n_bytes / PIECE, { 0, 0 });
        fenced.assign(n_threads / 32, 0);
        time = 0;
    }
    /* What has changed was written by THREAD's warp. */
    void note(unsigned thread)
    {
        time++;
        for (size_t i = 0; i < n_bytes; i += LONG) {
            const size_t end = std::min(i + LONG, n_bytes);

            for (size_t k = i; memcmp(memory + i, &copy[i], end - i) && k < end; k += PIECE)
                if (memcmp(memory + k, &copy[k], PIECE)) {
                    pieces[k / PIECE] = { thread / 32 + 1, time };
                    memcpy(&copy[k], memory + k, PIECE);
                }
        }
    }
    void fence(unsigned thread)
    {
        note(thread);
        fenced[thread / 32] = ++time;
    }
    /* A bulk copy has written N bytes. note() was called before. */
    void arrived(const void *at, size_t n)
    {
        const size_t first = (size_t)(static_cast<const char *>(at) - memory);

        for (size_t k = first; k + PIECE <= std::min(first + n, n_bytes); k += PIECE) {
            pieces[k / PIECE] = { 0, 0 };
            memcpy(&copy[k], memory + k, PIECE);
        }
    }
    /* Whether some of N bytes at an offset have a writer that has not called the fence since. note() was called. */
    bool unfenced(size_t first, size_t n) const
    {
        for (size_t k = first / PIECE * PIECE; k < std::min(first + n, n_bytes); k += PIECE) {
            const piece &p = pieces[k / PIECE];
            if (p.writer && fenced[p.writer - 1] <= p.time)
                return true;
        }
        return false;
    }
};

} // namespace emulator

#endif
