/* policy_write.c - writes a policy folder so that its final name is always whole: temporary name, everything
 * fsynced, rename, fsync of the parent. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/signals.h"
#include "model/internal.h"
#include "model/safetensors.h"

static bool ends_with(const char *name, const char *suffix)
{
    const size_t len = strlen(name), n = strlen(suffix);

    return len >= n && strcmp(name + len - n, suffix) == 0;
}

/* Small text files that belong to a Hugging Face policy; state.json and the index of shards describe
 * weights that are not copied. */
static bool is_companion(const char *name)
{
    if (strcmp(name, "state.json") == 0 || ends_with(name, ".safetensors.index.json") || ends_with(name, ".bin.index.json"))
        return false;
    return name[0] != '.' && (ends_with(name, ".json") || ends_with(name, ".jinja") || ends_with(name, ".txt") || ends_with(name, ".model"));
}

static bool is_tokenizer_file(const char *name)
{
    return is_companion(name) && strcmp(name, "config.json") != 0 && strcmp(name, "generation_config.json") != 0;
}

static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

/* The value of the top-level key in the text of a JSON object that is known to be valid: from *first up to the
 * result, NULL when absent or no string. Textual, so that everything else in the file stays as it is. */
static const char *find_string_value(const char *text, const char *end, const char *key, const char **first)
{
    const size_t n = strlen(key);
    int depth = 0;

    for (const char *p = text; p < end;) {
        const char *begin = p;

        if (*p != '"') {
            depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
            p++;
            continue;
        }
        p = skip_string(p, end);
        if (depth != 1 || (size_t)(p - begin) != n + 2 || memcmp(begin + 1, key, n) != 0)
            continue;
        while (p < end && isspace((unsigned char)*p))
            p++;
        if (p >= end || *p != ':')
            continue;
        for (p++; p < end && isspace((unsigned char)*p);)
            p++;
        if (p < end && *p == '"') {
            *first = p;
            return skip_string(p, end);
        }
        return NULL;
    }
    return NULL;
}

void jrl_config_set_dtype(struct jrl_buffer *out, const char *text, size_t len_bytes, enum jrl_dtype dtype)
{
    const char *end = text + len_bytes;
    const char *first = NULL, *last = find_string_value(text, end, "dtype", &first);

    if (!last)
        last = find_string_value(text, end, "torch_dtype", &first);
    if (last) {
        jrl_buffer_append(out, text, (size_t)(first - text));
        jrl_buffer_printf(out, "\"%s\"", jrl_dtype_name(dtype));
    } else { /* valid JSON objects begin with a brace, and a model's config has other keys */
        last = memchr(text, '{', len_bytes);
        last = last ? last + 1 : end;
        jrl_buffer_append(out, text, (size_t)(last - text));
        jrl_buffer_printf(out, "\n  \"torch_dtype\": \"%s\",", jrl_dtype_name(dtype));
    }
    jrl_buffer_append(out, last, (size_t)(end - last));
}

static int copy_config(const char *from, const char *to, enum jrl_dtype dtype, struct jrl_error *err)
{
    struct jrl_buffer config = { 0 }, changed = { 0 };
    struct jrl_model_config parsed;
    int rc;

    if ((rc = jrl_file_read(&config, from, JRL_MAX_JSON_BYTES, err)) < 0)
        goto out;
    if ((rc = jrl_config_parse(&parsed, (const char *)config.data, config.len, from, err)) < 0)
        goto out;
    if (parsed.dtype_given && parsed.dtype == dtype) {
        rc = jrl_file_write(to, config.data, config.len, err);
    } else {
        jrl_config_set_dtype(&changed, (const char *)config.data, config.len, dtype);
        rc = jrl_file_write(to, changed.data, changed.len, err);
    }
out:
    jrl_buffer_release(&config);
    jrl_buffer_release(&changed);
    return rc;
}

static int copy_file(const char *from, const char *to, struct jrl_error *err)
{
    struct jrl_buffer content = { 0 };
    int rc = jrl_file_read(&content, from, JRL_MAX_JSON_BYTES, err);

    if (rc == JRL_OK)
        rc = jrl_file_write(to, content.data, content.len, err);
    jrl_buffer_release(&content);
    return rc;
}

/* Copies in name order, so that two runs make the same sequence of system calls. */
static int copy_matching(const char *from_dir, const char *to_dir, bool (*matches)(const char *), enum jrl_dtype dtype, struct jrl_error *err)
{
    struct dirent **entries = NULL;
    int n = scandir(from_dir, &entries, NULL, alphasort);
    int rc = n < 0 ? jrl_fail_errno(err, JRL_ERR_INPUT, "cannot read the folder '%s'", from_dir) : JRL_OK;

    for (int i = 0; i < n; i++) {
        char *from = jrl_path_join(from_dir, entries[i]->d_name), *to = jrl_path_join(to_dir, entries[i]->d_name);
        struct stat st;

        if (rc == JRL_OK && matches(entries[i]->d_name) && stat(from, &st) == 0 && S_ISREG(st.st_mode))
            rc = strcmp(entries[i]->d_name, "config.json") == 0 ? copy_config(from, to, dtype, err) : copy_file(from, to, err);
        free(from);
        free(to);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int jrl_policy_copy_tokenizer(const char *from_dir, const char *to_dir, struct jrl_error *err)
{
    return copy_matching(from_dir, to_dir, is_tokenizer_file, JRL_F32, err);
}

struct copy {
    const char *from_dir;
    enum jrl_dtype dtype;
};

static int prepare_copy(void *ctx, const char *temp_dir, struct jrl_error *err)
{
    const struct copy *copy = ctx;

    return copy_matching(copy->from_dir, temp_dir, is_companion, copy->dtype, err);
}

/* The parent folder and the last name of a path, trailing slashes aside. */
static void split_path(const char *dir, char **parent, char **name)
{
    size_t len = strlen(dir);
    const char *slash;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    *name = jrl_xstrndup(dir, len);
    slash = strrchr(*name, '/');
    if (!slash) {
        *parent = jrl_xstrdup(".");
        return;
    }
    *parent = jrl_xstrndup(*name, slash == *name ? 1 : (size_t)(slash - *name));
    memmove(*name, slash + 1, strlen(slash + 1) + 1);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct jrl_tensor *const *)a)->name, (*(const struct jrl_tensor *const *)b)->name);
}

static int compute_id(const char *dir, const struct jrl_tensor *tensors, int64_t n, struct jrl_pool *pool, char *id, struct jrl_error *err)
{
    const struct jrl_tensor **sorted = jrl_xcalloc((size_t)n + 1, sizeof(*sorted));
    int rc;

    for (int64_t i = 0; i < n; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, (size_t)n, sizeof(*sorted), by_name);
    rc = jrl_policy_compute_id(dir, sorted, n, pool, id, err);
    free(sorted);
    return rc;
}

int jrl_policy_write_prepared(const char *dir, jrl_policy_prepare_fn *prepare, void *prepare_ctx, const struct jrl_tensor *tensors,
                              int64_t n_tensors, jrl_policy_extra_fn *extra, void *extra_ctx, struct jrl_pool *pool,
                              char id[JRL_DIGEST_SIZE], struct jrl_error *err)
{
    char *parent, *name, *temp, *weights = NULL;
    struct stat st;
    int rc, slot = -1;

    split_path(dir, &parent, &name);
    temp = jrl_xasprintf("%s/.%s.%ld.tmp", parent, name, (long)getpid());
    if (lstat(dir, &st) == 0) {
        rc = jrl_fail(err, JRL_ERR_RUN, "cannot write the policy '%s': it exists", dir);
        goto out;
    }
    if ((rc = jrl_make_folder(parent, err)) < 0)
        goto out;
    /* A process of the same number that was killed may have left its folder: in a container that is likely. */
    if ((rc = jrl_remove_tree(temp, err)) < 0)
        goto out;
    if (mkdir(temp, 0777) != 0) {
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot create the folder '%s'", temp);
        goto out;
    }
    weights = jrl_path_join(temp, "model.safetensors");
    slot = jrl_signals_register(weights); /* the one large file: a signal shall not leave it behind */
    if ((rc = prepare(prepare_ctx, temp, err)) < 0 || (rc = jrl_safetensors_write(weights, tensors, n_tensors, (const char *const[]){ "format", "pt", NULL }, err)) < 0 ||
        (rc = compute_id(temp, tensors, n_tensors, pool, id, err)) < 0 || (extra && (rc = extra(extra_ctx, temp, id, err)) < 0) ||
        (rc = jrl_policy_record_id(temp, id, err)) < 0 || (rc = jrl_fsync_folder(temp, err)) < 0)
        goto remove;
    if (rename(temp, dir) != 0) {
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot rename '%s' to '%s'", temp, dir);
        goto remove;
    }
    rc = jrl_fsync_folder(parent, err);
    goto forget;
remove:
    if (jrl_remove_tree(temp, NULL) < 0)
        rc = jrl_fail_prefix(err, "left '%s' behind", temp);
forget:
    if (slot >= 0)
        jrl_signals_forget(slot);
out:
    free(parent);
    free(name);
    free(temp);
    free(weights);
    return rc;
}

int jrl_policy_write(const char *dir, const char *from_dir, const struct jrl_tensor *tensors, int64_t n_tensors,
                     jrl_policy_extra_fn *extra, void *ctx, struct jrl_pool *pool, char id[JRL_DIGEST_SIZE], struct jrl_error *err)
{
    struct copy copy = { from_dir, JRL_F32 };

    /* The embedding speaks for all: biases and norms may be kept in f32 beside bf16 weights. */
    for (int64_t i = 0; i < n_tensors; i++)
        if (i == 0 || strcmp(tensors[i].name, "model.embed_tokens.weight") == 0)
            copy.dtype = tensors[i].dtype;
    return jrl_policy_write_prepared(dir, prepare_copy, &copy, tensors, n_tensors, extra, ctx, pool, id, err);
}
