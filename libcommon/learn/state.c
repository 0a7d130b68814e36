/* state.c - see state.h. */
#include "learn/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "data/example.h"

#define MAX_STATE_BYTES (16u << 20)

static int text_member(const json_t *object, const char *key, char *out, size_t size, const char *where, struct jrl_error *err)
{
    const char *text = NULL;
    int rc = jrl_json_get_str(object, key, &text, where, err);

    if (rc == JRL_OK && text)
        snprintf(out, size, "%s", text);
    return rc;
}

static int read_members(struct jrl_train_state *s, const json_t *root, const char *path, struct jrl_error *err)
{
    const json_t *numerics = json_object_get(root, "numerics"), *seed = json_object_get(root, "seed");
    int rc;

    s->step = s->updates = -1;
    if ((rc = jrl_json_get_i64(root, "step", 0, JRL_MAX_COUNT, &s->step, path, err)) < 0 ||
        (rc = jrl_json_get_i64(root, "updates", 0, JRL_MAX_COUNT, &s->updates, path, err)) < 0 ||
        (rc = text_member(root, "parent", s->parent, sizeof(s->parent), path, err)) < 0 ||
        (rc = text_member(json_object_get(root, "policy"), "id", s->policy, sizeof(s->policy), path, err)) < 0 ||
        (rc = text_member(numerics, "device", s->device, sizeof(s->device), path, err)) < 0 ||
        (rc = text_member(numerics, "path", s->path, sizeof(s->path), path, err)) < 0 ||
        (rc = text_member(numerics, "dtype", s->dtype, sizeof(s->dtype), path, err)) < 0 ||
        (rc = text_member(numerics, "version", s->version, sizeof(s->version), path, err)) < 0 ||
        (rc = jrl_json_get_i64(numerics, "ranks", 1, INT32_MAX, &s->ranks, path, err)) < 0)
        return rc;
    if (json_is_string(seed)) {
        s->has_seed = true;
        s->seed = strtoull(json_string_value(seed), NULL, 10);
    }
    if (s->step < 0) { /* no step: a policy that another tool described */
        memset(s, 0, sizeof(*s));
        return JRL_OK;
    }
    if (s->updates < 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s' names a step but no number of updates", path);
    s->present = true;
    return JRL_OK;
}

int jrl_train_state_read(struct jrl_train_state *state, const char *policy_dir, struct jrl_error *err)
{
    char *path = jrl_path_join(policy_dir, "state.json");
    json_t *root = NULL;
    int rc = JRL_OK;

    memset(state, 0, sizeof(*state));
    if (access(path, F_OK) == 0 && (rc = jrl_json_read_file(&root, path, MAX_STATE_BYTES, err)) == JRL_OK) {
        if (json_is_object(root))
            rc = read_members(state, root, path, err);
        else
            rc = jrl_fail(err, JRL_ERR_INPUT, "'%s' is not a JSON object", path);
    }
    json_decref(root);
    free(path);
    return rc;
}

int jrl_train_state_write(const struct jrl_train_state *s, const char *policy_dir, struct jrl_error *err)
{
    char *path = jrl_path_join(policy_dir, "state.json"), *text = NULL, seed[32];
    json_t *root;
    int rc;

    root = json_pack("{s:I,s:I,s:s,s:{s:s,s:s,s:s,s:s,s:I}}", "step", (json_int_t)s->step, "updates", (json_int_t)s->updates,
                     "parent", s->parent, "numerics", "device", s->device, "path", s->path, "dtype", s->dtype, "version", s->version,
                     "ranks", (json_int_t)s->ranks);
    /* As text: JSON readers keep integers beyond 2^53 only by luck. */
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)s->seed);
    if (root && s->has_seed)
        json_object_set_new(root, "seed", json_string(seed));
    text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (text)
        rc = jrl_file_write(path, text, strlen(text), err);
    else
        rc = jrl_fail(err, JRL_ERR_RUN, "cannot write '%s': out of memory", path);
    free(text);
    json_decref(root);
    free(path);
    return rc;
}
