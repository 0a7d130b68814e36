/* stream_target.h - what must hold for any bytes given to the stream reader or the JSON parser. Used by the
 * fuzz programs and, with fixed mutations, by tests/unit/test_stream_faults.c. A broken promise aborts. */
#ifndef JRL_FUZZ_STREAM_TARGET_H
#define JRL_FUZZ_STREAM_TARGET_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stream/json.h"
#include "stream/reader.h"
#include "stream/writer.h"

#define PROMISE(condition)                                                                  \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

/* A nameless file with these bytes, at its start. */
static inline int target_file(const uint8_t *data, size_t size)
{
    int fd = memfd_create("target", 0);

    PROMISE(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* A record as JSON, back, and as JSON again: the same text. */
static inline void target_round_trip(const struct jrl_record *rec)
{
    static struct jrl_buffer text, packed, again;
    struct jrl_record parsed = { 0 };
    struct jrl_error err = { 0 };

    text.len = packed.len = again.len = 0;
    jrl_record_to_json(rec, false, &text);
    PROMISE(memchr(text.data, '\n', text.len) == NULL);
    if (jrl_json_to_value((const char *)text.data, text.len, true, &packed, &err) < 0) {
        /* Only maps inside a value may repeat a key: the reader does not look for that. */
        PROMISE(strstr(err.text, "stands twice") != NULL);
        return;
    }
    PROMISE(jrl_value_walk(packed.data, packed.len, &err) == (int64_t)packed.len);
    PROMISE(jrl_record_parse(&parsed, packed.data, packed.len, &err) == JRL_OK);
    jrl_record_to_json(&parsed, false, &again);
    PROMISE(text.len == again.len && memcmp(text.data, again.data, text.len) == 0);
    jrl_record_release(&parsed);
}

/* Read to the end or to the first error; the result, and all records' bytes behind one another in *seen
 * (may be NULL). */
static inline int target_read(const uint8_t *data, size_t size, bool round_trip, struct jrl_buffer *seen, struct jrl_error *err,
                              int64_t *n_good)
{
    const struct jrl_reader_options options = { .max_record_bytes = 1 << 20 };
    struct jrl_record rec = { 0 };
    struct jrl_reader *in = NULL;
    int fd = target_file(data, size), rc;
    int64_t n = 0;

    rc = jrl_reader_new(&in, fd, "target", &options, err);
    PROMISE((rc == JRL_OK) == (in != NULL));
    *n_good = 0;
    while (rc >= 0 && rc != JRL_EOF) {
        rc = jrl_reader_next(in, &rec, err);
        if (rc != JRL_OK)
            continue;
        n++;
        if (round_trip)
            target_round_trip(&rec);
        if (seen)
            jrl_record_encode(&rec, seen);
    }
    if (in) {
        PROMISE(jrl_reader_record(in) == n && jrl_reader_good(in) <= n);
        *n_good = rc < 0 ? jrl_reader_good(in) : n;
    }
    PROMISE(rc == JRL_EOF || (rc == JRL_ERR_INPUT && err->status == rc && err->text[0]));
    jrl_reader_free(in);
    jrl_record_release(&rec);
    close(fd);
    return rc;
}

static inline void target_reader(const uint8_t *data, size_t size)
{
    struct jrl_error err = { 0 };
    int64_t n_good;

    target_read(data, size, true, NULL, &err, &n_good);
}

/* Any text: refused, or a value whose own JSON form gives the same value. */
static inline void target_json(const uint8_t *data, size_t size)
{
    struct jrl_buffer value = { 0 }, text = { 0 }, again = { 0 };
    struct jrl_error err = { 0 };
    struct jrl_value v;

    if (jrl_json_to_value((const char *)data, size, true, &value, &err) == JRL_OK) {
        PROMISE(jrl_value_walk(value.data, value.len, &err) == (int64_t)value.len);
        v = (struct jrl_value){ value.data, value.len };
        jrl_value_to_json(v, false, &text);
        PROMISE(jrl_json_to_value((const char *)text.data, text.len, true, &again, &err) == JRL_OK);
        PROMISE(value.len == again.len && memcmp(value.data, again.data, value.len) == 0);
    } else {
        PROMISE(err.text[0]);
    }
    jrl_buffer_release(&value);
    jrl_buffer_release(&text);
    jrl_buffer_release(&again);
}

#endif
