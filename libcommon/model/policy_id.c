/* policy_id.c - the identity of a policy: one digest over tensors, config.json and tokenizer.json, and its
 * record in state.json that spares reading the weights again. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/json.h"
#include "model/internal.h"
#include "model/safetensors.h"

/* Tensors are hashed in pieces, so that one huge embedding table does not keep one thread busy alone. */
#define PIECE_BYTES ((int64_t)16 << 20)

struct piece {
    const struct jrl_tensor *tensor;
    size_t at, len;
    XXH128_canonical_t digest;
};

static void hash_piece(void *ctx, int64_t part, int thread)
{
    struct piece *piece = (struct piece *)ctx + part;

    (void)thread;
    XXH128_canonicalFromHash(&piece->digest, XXH3_128bits((const uint8_t *)piece->tensor->data + piece->at, piece->len));
}

/* From the memory of a GPU, one after the other. */
static int fetch_and_hash(struct piece *pieces, int64_t n, struct jrl_error *err)
{
    void *room = jrl_xmalloc(PIECE_BYTES);
    const void *bytes = NULL;
    int rc = JRL_OK;

    for (int64_t i = 0; i < n && rc == JRL_OK; i++)
        if ((rc = jrl_tensor_bytes(pieces[i].tensor, pieces[i].at, pieces[i].len, room, &bytes, err)) == JRL_OK)
            XXH128_canonicalFromHash(&pieces[i].digest, XXH3_128bits(bytes, pieces[i].len));
    free(room);
    return rc;
}

static int64_t tensor_bytes(const struct jrl_tensor *t)
{
    return t->n_elements * jrl_dtype_bytes(t->dtype);
}

static int64_t n_pieces_of(const struct jrl_tensor *t)
{
    return (tensor_bytes(t) + PIECE_BYTES - 1) / PIECE_BYTES;
}

/* *out: the pieces of all tensors, to be freed. */
static int hash_tensors(struct piece **out, const struct jrl_tensor *const *tensors, int64_t n_tensors, struct jrl_pool *pool, struct jrl_error *err)
{
    struct piece *pieces;
    int64_t n = 0;
    bool here = true;

    for (int64_t i = 0; i < n_tensors; i++)
        n += n_pieces_of(tensors[i]);
    *out = pieces = jrl_xcalloc((size_t)n + 1, sizeof(*pieces));
    n = 0;
    for (int64_t i = 0; i < n_tensors; i++) {
        here = here && jrl_tensor_is_here(tensors[i]);
        for (int64_t at = 0; at < tensor_bytes(tensors[i]); at += PIECE_BYTES) {
            const int64_t left = tensor_bytes(tensors[i]) - at;

            pieces[n++] = (struct piece){ .tensor = tensors[i], .at = (size_t)at, .len = (size_t)(left < PIECE_BYTES ? left : PIECE_BYTES) };
        }
    }
    if (!here)
        return fetch_and_hash(pieces, n, err);
    if (pool)
        jrl_pool_run(pool, n, hash_piece, pieces);
    else
        for (int64_t i = 0; i < n; i++)
            hash_piece(pieces, i, 0);
    return JRL_OK;
}

static int add_file(struct jrl_buffer *text, const char *dir, const char *name, struct jrl_error *err)
{
    char *path = jrl_path_join(dir, name);
    struct jrl_buffer content = { 0 };
    XXH128_canonical_t digest;
    int rc = JRL_OK;

    jrl_buffer_append(text, name, strlen(name) + 1);
    if (access(path, F_OK) == 0) {
        rc = jrl_file_read(&content, path, JRL_MAX_JSON_BYTES, err);
        XXH128_canonicalFromHash(&digest, XXH3_128bits(content.data, content.len));
        jrl_buffer_append(text, &digest, sizeof(digest));
    }
    jrl_buffer_release(&content);
    free(path);
    return rc;
}

int jrl_policy_compute_id(const char *dir, const struct jrl_tensor *const *tensors, int64_t n_tensors, struct jrl_pool *pool,
                          char id[JRL_DIGEST_SIZE], struct jrl_error *err)
{
    struct piece *pieces = NULL;
    struct jrl_buffer text = { 0 };
    int64_t n = 0;
    int rc = hash_tensors(&pieces, tensors, n_tensors, pool, err);

    for (int64_t i = 0; i < n_tensors; i++) {
        const struct jrl_tensor *t = tensors[i];

        jrl_buffer_append(&text, t->name, strlen(t->name) + 1);
        jrl_buffer_append(&text, jrl_safetensors_dtype(t->dtype), strlen(jrl_safetensors_dtype(t->dtype)) + 1);
        for (int d = 0; d < t->n_dims; d++)
            jrl_buffer_printf(&text, "%s%lld", d ? "," : "", (long long)t->shape[d]);
        jrl_buffer_append_byte(&text, 0);
        for (int64_t end = n + n_pieces_of(t); n < end; n++)
            jrl_buffer_append(&text, &pieces[n].digest, sizeof(pieces[n].digest));
    }
    if (rc == JRL_OK && (rc = add_file(&text, dir, "config.json", err)) == JRL_OK)
        rc = add_file(&text, dir, "tokenizer.json", err);
    jrl_xxh128_hex(id, text.data, text.len);
    if (rc < 0)
        id[0] = '\0';
    jrl_buffer_release(&text);
    free(pieces);
    return rc;
}

/* The files an id depends on. */
static bool is_identity_file(const char *name)
{
    const size_t len = strlen(name);

    return strcmp(name, "config.json") == 0 || strcmp(name, "tokenizer.json") == 0 || strcmp(name, "model.safetensors.index.json") == 0 ||
           (len > 12 && strcmp(name + len - 12, ".safetensors") == 0);
}

/* {name: {"bytes": size, "mtime_ns": time}}, NULL when the folder cannot be read. */
static json_t *describe_files(const char *dir)
{
    struct dirent **entries = NULL;
    const int n = scandir(dir, &entries, NULL, alphasort);
    json_t *files = n < 0 ? NULL : json_object();

    for (int i = 0; i < n; i++) {
        char *path = jrl_path_join(dir, entries[i]->d_name);
        struct stat st;

        if (is_identity_file(entries[i]->d_name) && stat(path, &st) == 0)
            json_object_set_new(files, entries[i]->d_name,
                                json_pack("{s:I,s:I}", "bytes", (json_int_t)st.st_size, "mtime_ns",
                                          (json_int_t)st.st_mtim.tv_sec * 1000000000 + (json_int_t)st.st_mtim.tv_nsec));
        free(path);
        free(entries[i]);
    }
    free(entries);
    return files;
}

static bool is_digest(const char *text)
{
    return text && strlen(text) == JRL_DIGEST_SIZE - 1 && strspn(text, "0123456789abcdef") == JRL_DIGEST_SIZE - 1;
}

bool jrl_policy_recorded_id(const char *dir, char id[JRL_DIGEST_SIZE])
{
    char *path = jrl_path_join(dir, "state.json");
    json_t *state = NULL, *files = NULL;
    const json_t *policy;
    const char *text;
    bool found = false;

    /* A state.json that cannot be read is somebody else's message: here it only means to compute. */
    if (access(path, F_OK) == 0 && jrl_json_read_file(&state, path, JRL_MAX_JSON_BYTES, NULL) == JRL_OK) {
        policy = json_object_get(state, "policy");
        text = json_string_value(json_object_get(policy, "id"));
        files = describe_files(dir);
        if (is_digest(text) && files && json_equal(files, json_object_get(policy, "files"))) {
            memcpy(id, text, JRL_DIGEST_SIZE);
            found = true;
        }
    }
    json_decref(files);
    json_decref(state);
    free(path);
    return found;
}

int jrl_policy_record_id(const char *dir, const char *id, struct jrl_error *err)
{
    char *path = jrl_path_join(dir, "state.json");
    json_t *state = NULL, *files = describe_files(dir);
    char *text = NULL;
    int rc = JRL_OK;

    if (access(path, F_OK) == 0)
        rc = jrl_json_read_file(&state, path, JRL_MAX_JSON_BYTES, err);
    else
        state = json_object();
    if (rc == JRL_OK && !files)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot read the folder '%s'", dir);
    if (rc == JRL_OK && !json_is_object(state))
        rc = jrl_fail(err, JRL_ERR_RUN, "'%s' is not a JSON object", path);
    if (rc == JRL_OK) {
        json_object_set_new(state, "policy", json_pack("{s:s,s:O}", "id", id, "files", files));
        text = json_dumps(state, JSON_INDENT(2));
        if (text)
            rc = jrl_file_write(path, text, strlen(text), err);
        else
            rc = jrl_fail(err, JRL_ERR_RUN, "cannot write '%s'", path);
    }
    free(text);
    json_decref(files);
    json_decref(state);
    free(path);
    return rc;
}
