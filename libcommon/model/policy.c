/* policy.c - opens a Hugging Face directory: config, weight files, and the check that together they are one
 * whole model. Not here: the id (policy_id.c) and writing (policy_write.c). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "model/internal.h"
#include "model/safetensors.h"

#define MAX_SHARDS 4096

struct jrl_policy {
    char *dir;
    struct jrl_model_config config;
    struct jrl_safetensors *files;
    int64_t n_files;
    const struct jrl_tensor **tensors; /* in name order, borrowed from the files */
    int64_t n_tensors;
    char id[JRL_DIGEST_SIZE]; /* empty: not known yet */
};

static int open_file(struct jrl_policy *p, const char *name, struct jrl_error *err)
{
    char *path = jrl_path_join(p->dir, name);
    int rc = jrl_safetensors_open(&p->files[p->n_files], path, err);

    if (rc == JRL_OK)
        p->n_files++;
    free(path);
    return rc;
}

static bool is_file_name(const char *name)
{
    return name && *name && strlen(name) < 256 && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const struct jrl_tensor *find_in_file(const struct jrl_safetensors *f, const char *name)
{
    int64_t low = 0, high = f->n_tensors;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(f->tensors[middle].name, name);

        if (order == 0)
            return &f->tensors[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Every tensor of the index is in the shard it names, and every tensor of a shard is in the index. */
static int check_index(const struct jrl_policy *p, json_t *map, const char *const *names, const char *path, struct jrl_error *err)
{
    const char *tensor;
    json_t *value;
    int64_t n_in_files = 0;

    json_object_foreach(map, tensor, value) {
        int64_t i = 0;

        while (strcmp(names[i], json_string_value(value)) != 0)
            i++;
        if (!find_in_file(&p->files[i], tensor))
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%.200s' is not in '%s', where weight_map puts it", path, tensor, names[i]);
    }
    for (int64_t i = 0; i < p->n_files; i++) {
        n_in_files += p->files[i].n_tensors;
        for (int64_t j = 0; j < p->files[i].n_tensors; j++) {
            const char *place = json_string_value(json_object_get(map, p->files[i].tensors[j].name));

            if (!place || strcmp(place, names[i]) != 0)
                return jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' of '%s' is not in weight_map", path, p->files[i].tensors[j].name, names[i]);
        }
    }
    if (n_in_files != (int64_t)json_object_size(map))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': weight_map does not fit the shards", path);
    return JRL_OK;
}

static int open_shards(struct jrl_policy *p, json_t *index, const char *path, struct jrl_error *err)
{
    json_t *map = json_object_get(index, "weight_map");
    const char *tensor, **names;
    json_t *value;
    size_t n = 0;
    int rc = JRL_OK;

    if (!json_is_object(map) || json_object_size(map) == 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': weight_map is missing or empty", path);
    names = jrl_xcalloc(json_object_size(map), sizeof(*names));
    json_object_foreach(map, tensor, value) {
        if (!is_file_name(json_string_value(value))) {
            rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': weight_map of '%.200s' is not the name of a file in the same folder", path, tensor);
            goto out;
        }
        names[n++] = json_string_value(value);
    }
    qsort(names, n, sizeof(*names), by_text);
    for (size_t i = 0, n_all = n; i < n_all; i++) {
        if (i == 0)
            n = 0;
        if (n == 0 || strcmp(names[n - 1], names[i]) != 0)
            names[n++] = names[i];
    }
    if (n > MAX_SHARDS) {
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': more than %d shards", path, MAX_SHARDS);
        goto out;
    }
    p->files = jrl_xcalloc(n, sizeof(*p->files));
    for (size_t i = 0; i < n && rc == JRL_OK; i++)
        rc = open_file(p, names[i], err);
    if (rc == JRL_OK)
        rc = check_index(p, map, names, path, err);
out:
    free(names);
    return rc;
}

static int open_files(struct jrl_policy *p, struct jrl_error *err)
{
    char *single = jrl_path_join(p->dir, "model.safetensors");
    char *index_path = jrl_path_join(p->dir, "model.safetensors.index.json");
    json_t *index = NULL;
    int rc;

    if (access(single, F_OK) == 0) {
        p->files = jrl_xcalloc(1, sizeof(*p->files));
        rc = open_file(p, "model.safetensors", err);
    } else if (access(index_path, F_OK) == 0) {
        rc = jrl_json_read_file(&index, index_path, JRL_MAX_JSON_BYTES, err);
        if (rc == JRL_OK)
            rc = open_shards(p, index, index_path, err);
    } else {
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s' holds neither model.safetensors nor model.safetensors.index.json", p->dir);
    }
    json_decref(index);
    free(single);
    free(index_path);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct jrl_tensor *const *)a)->name, (*(const struct jrl_tensor *const *)b)->name);
}

static void list_tensors(struct jrl_policy *p)
{
    int64_t n = 0;

    for (int64_t i = 0; i < p->n_files; i++)
        n += p->files[i].n_tensors;
    p->tensors = jrl_xcalloc((size_t)n + 1, sizeof(*p->tensors));
    for (int64_t i = 0; i < p->n_files; i++)
        for (int64_t j = 0; j < p->files[i].n_tensors; j++)
            p->tensors[p->n_tensors++] = &p->files[i].tensors[j];
    qsort(p->tensors, (size_t)p->n_tensors, sizeof(*p->tensors), by_name);
}

/* Tensors that files carry beside the parameters and that are safe to leave aside: tables older libraries
 * saved, and a second copy of the embedding under the head's name. */
static bool is_superfluous(const struct jrl_policy *p, const struct jrl_tensor *t)
{
    const char *suffix = ".rotary_emb.inv_freq";
    const size_t len = strlen(t->name);
    const struct jrl_tensor *embedding;

    if (len > strlen(suffix) && strcmp(t->name + len - strlen(suffix), suffix) == 0)
        return true;
    if (!p->config.tied || strcmp(t->name, "lm_head.weight") != 0)
        return false;
    embedding = jrl_policy_find(p, "model.embed_tokens.weight");
    return embedding && embedding->dtype == t->dtype && embedding->n_elements == t->n_elements &&
           memcmp(embedding->data, t->data, (size_t)(t->n_elements * jrl_dtype_bytes(t->dtype))) == 0;
}

static int check_shape(const struct jrl_policy *p, const struct jrl_tensor *t, const struct jrl_parameter *want, struct jrl_error *err)
{
    struct jrl_buffer got = { 0 };
    int rc = JRL_OK;

    if (t->n_dims == want->n_dims && t->shape[0] == want->shape[0] && (t->n_dims < 2 || t->shape[1] == want->shape[1]))
        return JRL_OK;
    for (int d = 0; d < t->n_dims; d++)
        jrl_buffer_printf(&got, "%s%lld", d ? "," : "", (long long)t->shape[d]);
    if (want->n_dims == 1)
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has shape [%s], config.json asks for [%lld]", p->dir, t->name,
                      jrl_buffer_str(&got), (long long)want->shape[0]);
    else
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' has shape [%s], config.json asks for [%lld,%lld]", p->dir, t->name,
                      jrl_buffer_str(&got), (long long)want->shape[0], (long long)want->shape[1]);
    jrl_buffer_release(&got);
    return rc;
}

/* Walks the wanted and the found names, both sorted; what is left are exactly the parameters. */
static int check_tensors(struct jrl_policy *p, const struct jrl_parameter *wanted, int64_t n_wanted, struct jrl_error *err)
{
    const int64_t n_found = p->n_tensors;
    int64_t n_kept = 0, i = 0;
    bool *keep = jrl_xcalloc((size_t)n_found + 1, sizeof(*keep));
    int rc = JRL_OK;

    for (int64_t j = 0; j < n_found && rc == JRL_OK; j++) {
        const struct jrl_tensor *t = p->tensors[j];
        const int order = i < n_wanted ? strcmp(t->name, wanted[i].name) : -1;

        if (order > 0) {
            rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' is missing", p->dir, wanted[i].name);
        } else if (order < 0) {
            if (!is_superfluous(p, t))
                rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' is no part of the %s model that config.json describes", p->dir,
                              t->name, jrl_arch_name(p->config.arch));
        } else {
            rc = check_shape(p, t, &wanted[i++], err);
            keep[j] = true;
        }
    }
    if (rc == JRL_OK && i < n_wanted)
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' is missing", p->dir, wanted[i].name);
    for (int64_t j = 0; j < n_found && rc == JRL_OK; j++)
        if (keep[j])
            p->tensors[n_kept++] = p->tensors[j];
    if (rc == JRL_OK)
        p->n_tensors = n_kept;
    free(keep);
    return rc;
}

static int open_policy(struct jrl_policy *p, struct jrl_error *err)
{
    struct jrl_parameter *wanted = NULL;
    int64_t n_wanted;
    int rc;

    if ((rc = jrl_config_read(&p->config, p->dir, err)) < 0 || (rc = open_files(p, err)) < 0)
        return rc;
    list_tensors(p);
    n_wanted = jrl_config_parameters(&p->config, &wanted, NULL);
    rc = check_tensors(p, wanted, n_wanted, err);
    jrl_parameters_free(wanted, n_wanted);
    if (rc == JRL_OK && !p->config.dtype_given)
        p->config.dtype = jrl_policy_find(p, "model.embed_tokens.weight")->dtype;
    return rc;
}

int jrl_policy_open(struct jrl_policy **out, const char *dir, struct jrl_error *err)
{
    struct jrl_policy *p = jrl_xcalloc(1, sizeof(*p));
    int rc;

    *out = NULL;
    p->dir = jrl_xstrdup(dir);
    if ((rc = open_policy(p, err)) < 0) {
        jrl_policy_close(p);
        return rc;
    }
    *out = p;
    return JRL_OK;
}

void jrl_policy_close(struct jrl_policy *p)
{
    if (!p)
        return;
    for (int64_t i = 0; i < p->n_files; i++)
        jrl_safetensors_close(&p->files[i]);
    free(p->files);
    free(p->tensors);
    free(p->dir);
    free(p);
}

const struct jrl_model_config *jrl_policy_config(const struct jrl_policy *p)
{
    return &p->config;
}

const char *jrl_policy_dir(const struct jrl_policy *p)
{
    return p->dir;
}

int64_t jrl_policy_n_tensors(const struct jrl_policy *p)
{
    return p->n_tensors;
}

const struct jrl_tensor *jrl_policy_tensor(const struct jrl_policy *p, int64_t i)
{
    return p->tensors[i];
}

const struct jrl_tensor *jrl_policy_find(const struct jrl_policy *p, const char *name)
{
    int64_t low = 0, high = p->n_tensors;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(p->tensors[middle]->name, name);

        if (order == 0)
            return p->tensors[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int jrl_policy_id(struct jrl_policy *p, struct jrl_pool *pool, char id[JRL_DIGEST_SIZE], struct jrl_error *err)
{
    int rc = JRL_OK;

    if (!p->id[0] && !jrl_policy_recorded_id(p->dir, p->id))
        rc = jrl_policy_compute_id(p->dir, p->tensors, p->n_tensors, pool, p->id, err);
    memcpy(id, p->id, JRL_DIGEST_SIZE);
    return rc;
}

int jrl_policy_hash(struct jrl_policy *p, struct jrl_pool *pool, char id[JRL_DIGEST_SIZE], struct jrl_error *err)
{
    char recorded[JRL_DIGEST_SIZE];
    int rc = jrl_policy_compute_id(p->dir, p->tensors, p->n_tensors, pool, id, err);

    if (rc == JRL_OK && jrl_policy_recorded_id(p->dir, recorded) && strcmp(recorded, id) != 0)
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': the files have id %s, state.json records %s: they are damaged or were changed", p->dir, id, recorded);
    if (rc == JRL_OK)
        memcpy(p->id, id, JRL_DIGEST_SIZE);
    return rc;
}
