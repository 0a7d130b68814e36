/* safetensors.c - reads and writes one safetensors file. The header is text from outside: nothing in it is
 * used before it was compared with the size of the file. */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "model/internal.h"
#include "model/safetensors.h"

/* A header has about 100 bytes a tensor; even a model of 10^5 tensors stays below. */
#define MAX_HEADER_BYTES ((size_t)16 << 20)
#define MAX_NAME_BYTES 256
/* The data begins at a multiple of this in what we write, so that mapped weights are aligned. */
#define DATA_ALIGNMENT 64
#define PIECE_BYTES ((size_t)16 << 20) /* of a tensor that comes from the memory of a GPU */

const char *jrl_safetensors_dtype(enum jrl_dtype dtype)
{
    return dtype == JRL_BF16 ? "BF16" : dtype == JRL_F16 ? "F16" : "F32";
}

static bool is_plain_name(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)name[i]))
            return false;
    return len > 0 && len <= MAX_NAME_BYTES;
}

static int read_dtype(struct jrl_tensor *t, const json_t *entry, const char *path, struct jrl_error *err)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));

    for (t->dtype = JRL_F32; t->dtype <= JRL_F16; t->dtype++)
        if (name && strcmp(name, jrl_safetensors_dtype(t->dtype)) == 0)
            return JRL_OK;
    return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has type '%.40s': only F32, BF16 and F16 can be read", path, t->name, name ? name : "");
}

static int read_shape(struct jrl_tensor *t, const json_t *entry, const char *path, struct jrl_error *err)
{
    const json_t *shape = json_object_get(entry, "shape");

    if (!json_is_array(shape) || json_array_size(shape) > 4)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has no shape of at most 4 dimensions", path, t->name);
    t->n_dims = (int)json_array_size(shape);
    t->n_elements = 1;
    for (int i = 0; i < t->n_dims; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);

        t->shape[i] = json_is_integer(size) ? json_integer_value(size) : -1;
        if (t->shape[i] < 0 || __builtin_mul_overflow(t->n_elements, t->shape[i], &t->n_elements) || t->n_elements > INT64_MAX / 4)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has an impossible shape", path, t->name);
    }
    return JRL_OK;
}

/* data points behind the header, n_bytes of data follow. */
static int read_offsets(struct jrl_tensor *t, const json_t *entry, const uint8_t *data, int64_t n_bytes, const char *path, struct jrl_error *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    int64_t begin, end;

    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has no data_offsets", path, t->name);
    begin = json_integer_value(first);
    end = json_integer_value(last);
    if (begin < 0 || end < begin || end > n_bytes)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has its data at bytes %lld to %lld, outside the %lld bytes of the file", path,
                        t->name, (long long)begin, (long long)end, (long long)n_bytes);
    if (end - begin != t->n_elements * jrl_dtype_bytes(t->dtype))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has %lld bytes of data, its shape and type ask for %lld", path, t->name,
                        (long long)(end - begin), (long long)(t->n_elements * jrl_dtype_bytes(t->dtype)));
    t->data = data + begin;
    return JRL_OK;
}

static int read_tensor(struct jrl_tensor *t, const char *name, const json_t *entry, const uint8_t *data, int64_t n_bytes,
                       const char *path, struct jrl_error *err)
{
    if (!is_plain_name(name))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': a tensor's name is empty, longer than %d bytes or has control characters", path, MAX_NAME_BYTES);
    t->name = jrl_xstrdup(name);
    if (!json_is_object(entry))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': the entry of tensor '%s' is not an object", path, name);
    if (read_dtype(t, entry, path, err) < 0 || read_shape(t, entry, path, err) < 0)
        return JRL_ERR_INPUT;
    return read_offsets(t, entry, data, n_bytes, path, err);
}

static int read_metadata(struct jrl_safetensors *f, json_t *object, const char *path, struct jrl_error *err)
{
    const char *key;
    json_t *value;
    size_t n = 0;

    if (!json_is_object(object))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': __metadata__ is not an object", path);
    f->metadata = jrl_xcalloc(2 * json_object_size(object) + 1, sizeof(*f->metadata));
    json_object_foreach(object, key, value) {
        if (!json_is_string(value))
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': __metadata__ holds something else than strings", path);
        f->metadata[n++] = jrl_xstrdup(key);
        f->metadata[n++] = jrl_xstrdup(json_string_value(value));
    }
    return JRL_OK;
}

/* Empty tensors first among equals, so that neighbours are compared rightly. */
static int by_place(const void *a, const void *b)
{
    const struct jrl_tensor *x = a, *y = b;

    if (x->data != y->data)
        return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    return (x->n_elements > y->n_elements) - (x->n_elements < y->n_elements);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct jrl_tensor *)a)->name, ((const struct jrl_tensor *)b)->name);
}

/* Every byte behind the header belongs to one tensor: an overlap would let one weight be two, a gap would
 * let a file carry what no reader looks at. */
static int check_cover(struct jrl_safetensors *f, const uint8_t *data, const char *path, struct jrl_error *err)
{
    const uint8_t *at = data, *end = f->map.data + f->map.size;
    const char *previous = "the header";

    qsort(f->tensors, (size_t)f->n_tensors, sizeof(*f->tensors), by_place);
    for (int64_t i = 0; i < f->n_tensors; i++) {
        const struct jrl_tensor *t = &f->tensors[i];
        const uint8_t *first = t->data;

        if (first < at)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensors '%s' and '%s' overlap", path, previous, t->name);
        if (first > at)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': %lld bytes before tensor '%s' belong to no tensor", path, (long long)(first - at), t->name);
        at = first + t->n_elements * jrl_dtype_bytes(t->dtype);
        previous = t->name;
    }
    if (at != end)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': %lld bytes at the end belong to no tensor", path, (long long)(end - at));
    qsort(f->tensors, (size_t)f->n_tensors, sizeof(*f->tensors), by_name);
    return JRL_OK;
}

static int read_entries(struct jrl_safetensors *f, json_t *root, const uint8_t *data, const char *path, struct jrl_error *err)
{
    const int64_t n_bytes = (int64_t)(f->map.data + f->map.size - data);
    const char *name;
    json_t *entry;

    if (!json_is_object(root))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': the header is not a JSON object", path);
    f->tensors = jrl_xcalloc(json_object_size(root) + 1, sizeof(*f->tensors));
    json_object_foreach(root, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            if (read_metadata(f, entry, path, err) < 0)
                return JRL_ERR_INPUT;
            continue;
        }
        if (read_tensor(&f->tensors[f->n_tensors++], name, entry, data, n_bytes, path, err) < 0)
            return JRL_ERR_INPUT;
    }
    return check_cover(f, data, path, err);
}

static int read_header(struct jrl_safetensors *f, const char *path, struct jrl_error *err)
{
    uint64_t len = 0;
    json_t *root = NULL;
    char *where;
    int rc;

    if (f->map.size < 8)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': too short for a safetensors file", path);
    for (int i = 7; i >= 0; i--)
        len = len << 8 | f->map.data[i];
    if (len > MAX_HEADER_BYTES)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': not a safetensors file, or its header of %llu bytes is above the limit of %zu", path,
                        (unsigned long long)len, MAX_HEADER_BYTES);
    if (len > f->map.size - 8)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': the header of %llu bytes reaches beyond the end of the file", path, (unsigned long long)len);
    where = jrl_xasprintf("%s: header", path);
    rc = jrl_json_parse(&root, (const char *)f->map.data + 8, (size_t)len, where, err);
    free(where);
    if (rc == JRL_OK)
        rc = read_entries(f, root, f->map.data + 8 + len, path, err);
    json_decref(root);
    return rc;
}

int jrl_safetensors_open(struct jrl_safetensors *f, const char *path, struct jrl_error *err)
{
    int rc;

    *f = (struct jrl_safetensors){ .n_tensors = 0 };
    if ((rc = jrl_map_open(&f->map, path, err)) < 0)
        return rc;
    if ((rc = read_header(f, path, err)) < 0)
        jrl_safetensors_close(f);
    return rc;
}

void jrl_safetensors_close(struct jrl_safetensors *f)
{
    for (int64_t i = 0; i < f->n_tensors; i++)
        free((char *)f->tensors[i].name);
    for (char **m = f->metadata; m && *m; m++)
        free(*m);
    free(f->tensors);
    free(f->metadata);
    jrl_map_close(&f->map);
    *f = (struct jrl_safetensors){ .n_tensors = 0 };
}

static void append_json_string(struct jrl_buffer *b, const char *text)
{
    json_t *value = json_string(text);
    char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;

    jrl_buffer_append_str(b, quoted ? quoted : "\"\"");
    free(quoted);
    json_decref(value);
}

static void make_header(struct jrl_buffer *b, const struct jrl_tensor *const *tensors, int64_t n, const char *const *metadata)
{
    int64_t at = 0;

    jrl_buffer_append_byte(b, '{');
    for (; metadata && *metadata; metadata += 2) {
        jrl_buffer_append_str(b, at == 0 ? "\"__metadata__\":{" : ",");
        append_json_string(b, metadata[0]);
        jrl_buffer_append_byte(b, ':');
        append_json_string(b, metadata[1]);
        at = 1;
    }
    if (at)
        jrl_buffer_append_str(b, n ? "}," : "}");
    at = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct jrl_tensor *t = tensors[i];
        const int64_t end = at + t->n_elements * jrl_dtype_bytes(t->dtype);

        if (i)
            jrl_buffer_append_byte(b, ',');
        append_json_string(b, t->name);
        jrl_buffer_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", jrl_safetensors_dtype(t->dtype));
        for (int d = 0; d < t->n_dims; d++)
            jrl_buffer_printf(b, "%s%lld", d ? "," : "", (long long)t->shape[d]);
        jrl_buffer_printf(b, "],\"data_offsets\":[%lld,%lld]}", (long long)at, (long long)end);
        at = end;
    }
    jrl_buffer_append_byte(b, '}');
    while ((b->len + 8) % DATA_ALIGNMENT != 0)
        jrl_buffer_append_byte(b, ' ');
}

static int by_name_indirect(const void *a, const void *b)
{
    return by_name(*(const struct jrl_tensor *const *)a, *(const struct jrl_tensor *const *)b);
}

static int gather_tensor(struct jrl_buffer *gather, const struct jrl_tensor *t, size_t len, struct jrl_error *err)
{
    const void *bytes = NULL;
    int rc;

    jrl_buffer_reserve(gather, len);
    if ((rc = jrl_tensor_bytes(t, 0, len, gather->data + gather->len, &bytes, err)) < 0)
        return rc;
    if (bytes != gather->data + gather->len && len)
        memcpy(gather->data + gather->len, bytes, len);
    gather->len += len;
    return JRL_OK;
}

/* In one go or, from the memory of a GPU, in pieces. */
static int write_tensor(int fd, const struct jrl_tensor *t, size_t len, const char *path, struct jrl_error *err)
{
    const size_t piece = jrl_tensor_is_here(t) ? len : PIECE_BYTES;
    void *room = jrl_tensor_is_here(t) ? NULL : jrl_xmalloc(PIECE_BYTES);
    const void *bytes = NULL;
    int rc = JRL_OK;

    for (size_t at = 0; at < len && rc == JRL_OK; at += piece) {
        const size_t n = len - at < piece ? len - at : piece;

        if ((rc = jrl_tensor_bytes(t, at, n, room, &bytes, err)) == JRL_OK)
            rc = jrl_write_all(fd, bytes, n, path, err);
    }
    free(room);
    return rc;
}

/* Small tensors (norms, biases) are gathered, so that a file costs few writes. */
static int write_tensors(int fd, struct jrl_buffer *gather, const struct jrl_tensor *const *tensors, int64_t n, const char *path, struct jrl_error *err)
{
    const size_t enough = (size_t)1 << 20;
    int rc;

    for (int64_t i = 0; i < n; i++) {
        const size_t len = (size_t)(tensors[i]->n_elements * jrl_dtype_bytes(tensors[i]->dtype));

        if (len < enough && (rc = gather_tensor(gather, tensors[i], len, err)) < 0)
            return rc;
        if (gather->len >= enough || len >= enough || i == n - 1) {
            if ((rc = jrl_write_all(fd, gather->data, gather->len, path, err)) < 0)
                return rc;
            gather->len = 0;
        }
        if (len >= enough && (rc = write_tensor(fd, tensors[i], len, path, err)) < 0)
            return rc;
    }
    return JRL_OK;
}

int jrl_safetensors_write(const char *path, const struct jrl_tensor *tensors, int64_t n_tensors, const char *const *metadata, struct jrl_error *err)
{
    const struct jrl_tensor **sorted = jrl_xcalloc((size_t)n_tensors + 1, sizeof(*sorted));
    struct jrl_buffer header = { 0 }, out = { 0 };
    int rc, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    for (int64_t i = 0; i < n_tensors; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, (size_t)n_tensors, sizeof(*sorted), by_name_indirect);
    make_header(&header, sorted, n_tensors, metadata);
    for (int i = 0; i < 8; i++)
        jrl_buffer_append_byte(&out, (uint8_t)((uint64_t)header.len >> 8 * i));
    jrl_buffer_append(&out, header.data, header.len);
    if (fd < 0)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot create '%s'", path);
    else if (n_tensors == 0)
        rc = jrl_write_all(fd, out.data, out.len, path, err);
    else
        rc = write_tensors(fd, &out, sorted, n_tensors, path, err);
    if (rc == JRL_OK && fsync(fd) != 0)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", path);
    if (fd >= 0 && close(fd) != 0 && rc == JRL_OK)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", path);
    jrl_buffer_release(&header);
    jrl_buffer_release(&out);
    free(sorted);
    return rc;
}
