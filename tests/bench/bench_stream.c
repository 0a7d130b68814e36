/* bench_stream.c - reading and writing streams beside libzstd alone on the same bytes: processor time, best of
 * several runs. Usage: bench_stream [--quick]. Exit 1 below 60 % of libzstd. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/random.h"
#include "stream/reader.h"
#include "stream/writer.h"
#include "tests/bench/bench.h"

#define LEVEL 1 /* the tools' default */
#define SHARE_WANTED 0.6

/* Text of words that repeat as words do: a few are frequent. */
static size_t make_text(char *text, size_t len, struct jrl_rng *rng)
{
    static const char *const words[] = { "so ", "the ", "sum ", "of ", "both ", "sides ", "is ", "therefore ", "we ", "have ", "$x", "^2",
                                         " + ", "34", "7", " = ", "\\frac{", "}{", "} ", "but ", "wait, ", "let ", "me ", "check ", "again.\n" };
    size_t n = 0;

    while (n + 12 < len) {
        double u = jrl_rng_uniform(rng);
        const char *word = words[(size_t)(u * u * 25)];

        memcpy(text + n, word, strlen(word));
        n += strlen(word);
    }
    return n;
}

static void make_rollout(struct jrl_record *rec, struct jrl_rng *rng, int64_t i)
{
    static uint32_t tokens[4096];
    static float logprobs[4096];
    static char text[16384];
    size_t n = 500 + jrl_rng_below(rng, 3500);

    jrl_record_clear(rec);
    jrl_record_set_u64(rec, "uid", 0x9e3779b97f4a7c15u * (uint64_t)(i / 8));
    jrl_record_set_str(rec, "prompt", text, make_text(text, 400, rng));
    jrl_record_set_i64(rec, "draw", i / 8);
    jrl_record_set_i64(rec, "sample", i % 8);
    for (size_t j = 0; j < n; j++) {
        double u = jrl_rng_uniform(rng);

        tokens[j] = (uint32_t)(u * u * u * 150000);
        logprobs[j] = (float)-(u * u * 3);
    }
    jrl_record_set_array(rec, "tokens", JRL_ARRAY_U32, tokens, n);
    jrl_record_set_array(rec, "logprobs", JRL_ARRAY_F32, logprobs, n);
    jrl_record_set_str(rec, "text", text, make_text(text, 4 * n, rng));
    jrl_record_set_str(rec, "policy", "5e2d50f6c8a7c2cd90e6c5a2574c1e6f", 32);
    jrl_record_set_f64(rec, "temperature", 1);
}

static void make_problem(struct jrl_record *rec, struct jrl_rng *rng, int64_t i)
{
    char text[700], answer[16];

    jrl_record_clear(rec);
    jrl_record_set_u64(rec, "uid", 0x9e3779b97f4a7c15u * (uint64_t)i);
    jrl_record_set_str(rec, "source", "dapo-math-17k", 13);
    jrl_record_set_str(rec, "problem", text, make_text(text, 100 + jrl_rng_below(rng, 500), rng));
    jrl_record_set_str(rec, "prompt", text, make_text(text, 100 + jrl_rng_below(rng, 500), rng));
    snprintf(answer, sizeof answer, "%u", jrl_rng_u32(rng) % 1000);
    jrl_record_set_str(rec, "answer", answer, strlen(answer));
    jrl_record_set_i64(rec, "step", i / 256 + 1);
    jrl_record_set_i64(rec, "draw", i);
}

/* Write the records of an open reader to fd, as a filter does that changes one field. */
static double write_records(int from, int fd, int level)
{
    struct jrl_record rec = { 0 };
    struct jrl_reader *r;
    struct jrl_writer *w;
    double seconds = 0, start;
    int rc;

    lseek(from, 0, SEEK_SET);
    must(jrl_reader_new(&r, from, "bench", NULL, &error));
    must(jrl_writer_new(&w, fd, "bench", level, &error));
    must(jrl_writer_header(w, jrl_reader_header(r), &error));
    while ((rc = jrl_reader_next(r, &rec, &error)) == JRL_OK) {
        start = now_seconds(); /* some 0.2 us a record, counted against us */
        jrl_record_set_f64(&rec, "reward", 1);
        must(jrl_writer_record(w, &rec, &error));
        seconds += now_seconds() - start;
    }
    must(rc);
    start = now_seconds();
    must(jrl_writer_end(w, &error));
    seconds += now_seconds() - start;
    jrl_reader_free(r);
    jrl_writer_free(w);
    jrl_record_release(&rec);
    return seconds;
}

static double read_records(int fd)
{
    struct jrl_record rec = { 0 };
    struct jrl_reader *r;
    double start = now_seconds();
    int rc;

    lseek(fd, 0, SEEK_SET);
    must(jrl_reader_new(&r, fd, "bench", NULL, &error));
    while ((rc = jrl_reader_next(r, &rec, &error)) == JRL_OK)
        ;
    must(rc);
    jrl_reader_free(r);
    jrl_record_release(&rec);
    return now_seconds() - start;
}

static double read_zstd(int fd, int64_t *n_bytes)
{
    size_t in_size = ZSTD_DStreamInSize(), out_size = ZSTD_DStreamOutSize();
    char *in = jrl_xmalloc(in_size), *out = jrl_xmalloc(out_size);
    double start = now_seconds();
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ssize_t n;

    *n_bytes = 0;
    lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, in, in_size)) > 0) {
        ZSTD_inBuffer input = { in, (size_t)n, 0 };

        while (input.pos < input.size) {
            ZSTD_outBuffer output = { out, out_size, 0 };

            if (ZSTD_isError(ZSTD_decompressStream(d, &output, &input)))
                abort();
            *n_bytes += (int64_t)output.pos;
        }
    }
    ZSTD_freeDCtx(d);
    free(in);
    free(out);
    return now_seconds() - start;
}

/* Compress the bytes of a plain stream, one frame with a checksum, as the zstd program does. */
static double write_zstd(int plain, int fd)
{
    size_t in_size = ZSTD_CStreamInSize(), out_size = ZSTD_CStreamOutSize();
    char *in = jrl_xmalloc(in_size), *out = jrl_xmalloc(out_size);
    ZSTD_CCtx *c = ZSTD_createCCtx();
    double start, seconds = 0;
    size_t left;
    ssize_t n;

    ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    lseek(plain, 0, SEEK_SET);
    do {
        n = read(plain, in, in_size);
        start = now_seconds();
        ZSTD_inBuffer input = { in, n > 0 ? (size_t)n : 0, 0 };

        do {
            ZSTD_outBuffer output = { out, out_size, 0 };

            left = ZSTD_compressStream2(c, &output, &input, n > 0 ? ZSTD_e_continue : ZSTD_e_end);
            if (ZSTD_isError(left) || write(fd, out, output.pos) != (ssize_t)output.pos)
                abort();
        } while (n > 0 ? input.pos < input.size : left != 0);
        seconds += now_seconds() - start;
    } while (n > 0);
    ZSTD_freeCCtx(c);
    free(in);
    free(out);
    return seconds;
}

static void make(int fd, int64_t target_bytes, void (*make_one)(struct jrl_record *, struct jrl_rng *, int64_t))
{
    struct jrl_record rec = { 0 };
    struct jrl_writer *w;
    struct jrl_rng rng;
    int64_t n_bytes = 0;

    jrl_rng_init(&rng, 1, 0);
    must(jrl_writer_new(&w, fd, "bench", 0, &error));
    jrl_header_init(&rec, "rollout");
    must(jrl_writer_header(w, &rec, &error));
    for (int64_t i = 0; n_bytes < target_bytes; i++) {
        make_one(&rec, &rng, i);
        for (size_t k = 0; k < rec.n_fields; k++)
            n_bytes += (int64_t)(rec.fields[k].value.len_bytes + rec.fields[k].key_len + 1);
        must(jrl_writer_record(w, &rec, &error));
    }
    must(jrl_writer_end(w, &error));
    jrl_writer_free(w);
    jrl_record_release(&rec);
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static int bench(const char *name, int64_t target_bytes, int runs, void (*make_one)(struct jrl_record *, struct jrl_rng *, int64_t))
{
    int plain = memfd_create("plain", 0), packed = memfd_create("packed", 0), null_fd = memfd_create("sink", 0);
    double read_us = 1e9, read_them = 1e9, write_us = 1e9, write_them = 1e9, mib;
    int64_t n_bytes = 0;

    make(plain, target_bytes, make_one);
    write_records(plain, packed, LEVEL);
    for (int i = 0; i < runs; i++) {
        read_them = smaller(read_them, read_zstd(packed, &n_bytes));
        read_us = smaller(read_us, read_records(packed));
        if (ftruncate(null_fd, 0) < 0 || lseek(null_fd, 0, SEEK_SET) < 0)
            abort();
        write_them = smaller(write_them, write_zstd(plain, null_fd));
        if (ftruncate(null_fd, 0) < 0 || lseek(null_fd, 0, SEEK_SET) < 0)
            abort();
        write_us = smaller(write_us, write_records(plain, null_fd, LEVEL));
    }
    mib = (double)n_bytes / 1048576;
    printf("%-9s %4.0f MiB, %2.0f %% compressed: read %5.0f MiB/s, libzstd %5.0f, share %3.0f %%; write %5.0f MiB/s, libzstd %5.0f, share %3.0f %%\n",
           name, mib, 100.0 * (double)lseek(packed, 0, SEEK_END) / (double)n_bytes, mib / read_us, mib / read_them,
           100 * read_them / read_us, mib / write_us, mib / write_them, 100 * write_them / write_us);
    close(plain);
    close(packed);
    close(null_fd);
    return read_them / read_us >= SHARE_WANTED && write_them / write_us >= SHARE_WANTED ? 0 : 1;
}

int main(int argc, char **argv)
{
    int quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    int64_t size = quick ? 16 << 20 : 128 << 20;
    int bad;

    bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    bad = bench("rollouts", size, quick ? 2 : 5, make_rollout);
    return bench("problems", size, quick ? 2 : 5, make_problem) | bad;
}
