/* group.c - collecting the rollouts of one group; see group.h. */
#include "data/group.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int jrl_group_key_read(struct jrl_group_key *key, const struct jrl_record *rec, struct jrl_error *err)
{
    int rc;

    memset(key, 0, sizeof(*key));
    if ((rc = jrl_record_u64(rec, "uid", &key->uid, err)) < 0)
        return rc;
    if (!jrl_record_find(rec, "draw"))
        return JRL_OK;
    key->has_draw = true;
    if ((rc = jrl_record_i64(rec, "draw", &key->draw, err)) < 0)
        return rc;
    if (key->draw < 0)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'draw' is %" PRId64 ", below 0", key->draw);
    return JRL_OK;
}

bool jrl_group_key_same(const struct jrl_group_key *a, const struct jrl_group_key *b)
{
    if (a->has_draw != b->has_draw)
        return false;
    return a->has_draw ? a->draw == b->draw : a->uid == b->uid;
}

const char *jrl_group_key_name(const struct jrl_group_key *key, char out[JRL_GROUP_NAME_SIZE])
{
    if (key->has_draw)
        snprintf(out, JRL_GROUP_NAME_SIZE, "uid %" PRIu64 ", draw %" PRId64, key->uid, key->draw);
    else
        snprintf(out, JRL_GROUP_NAME_SIZE, "uid %" PRIu64, key->uid);
    return out;
}

void jrl_group_release(struct jrl_group *g)
{
    for (int64_t i = 0; i < g->cap; i++)
        jrl_record_release(&g->records[i]);
    free(g->records);
    free(g->seen);
    jrl_buffer_release(&g->policy);
    memset(g, 0, sizeof(*g));
}

void jrl_group_clear(struct jrl_group *g)
{
    g->n = 0;
    g->samples = 0;
}

static int incomplete(const struct jrl_group *g, struct jrl_error *err)
{
    char name[JRL_GROUP_NAME_SIZE];
    int64_t missing = 0;

    while (missing < g->samples && g->seen[missing])
        missing++;
    return jrl_fail(err, JRL_ERR_INPUT,
                    "group of %s is incomplete: %" PRId64 " of %" PRId64 " samples, the first missing is %" PRId64
                    "; give every stage whole groups, side by side",
                    jrl_group_key_name(&g->key, name), g->n, g->samples, missing);
}

/* `samples` comes from the input: bounded before memory is taken, and the records themselves are taken one by one. */
static int begin(struct jrl_group *g, const struct jrl_group_key *key, int64_t samples, struct jrl_error *err)
{
    char name[JRL_GROUP_NAME_SIZE];

    if (g->follows && key->has_draw && jrl_group_key_same(key, &g->key))
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s comes twice", jrl_group_key_name(key, name));
    if (samples < 1 || samples > JRL_MAX_SAMPLES)
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s: field 'samples' is %" PRId64 ", not from 1 to %d",
                        jrl_group_key_name(key, name), samples, JRL_MAX_SAMPLES);
    g->key = *key;
    g->samples = samples;
    g->seen = jrl_xrealloc(g->seen, (size_t)samples, sizeof(*g->seen));
    memset(g->seen, 0, (size_t)samples * sizeof(*g->seen));
    return JRL_OK;
}

static int check_member(const struct jrl_group *g, const struct jrl_group_key *key, int64_t sample, int64_t samples,
                        struct jrl_error *err)
{
    char name[JRL_GROUP_NAME_SIZE];

    jrl_group_key_name(&g->key, name);
    if (key->uid != g->key.uid)
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s is mixed: a member has uid %" PRIu64, name, key->uid);
    if (samples != g->samples)
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s is mixed: field 'samples' is %" PRId64 " in one member and %" PRId64 " in another",
                        name, g->samples, samples);
    if (sample < 0 || sample >= samples)
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s: field 'sample' is %" PRId64 ", not from 0 to %" PRId64, name, sample, samples - 1);
    if (g->seen[sample])
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s: sample %" PRId64 " comes twice", name, sample);
    return JRL_OK;
}

/* Advantages compare responses of one policy: a group put together from two runs is none. */
static int check_policy(struct jrl_group *g, const struct jrl_record *rec, struct jrl_error *err)
{
    const bool has_policy = jrl_record_find(rec, "policy") != NULL;
    char name[JRL_GROUP_NAME_SIZE];
    const char *policy = "";
    size_t len = 0;
    int rc;

    if (has_policy && (rc = jrl_record_str(rec, "policy", &policy, &len, err)) < 0)
        return rc;
    if (g->n == 0) {
        g->has_policy = has_policy;
        g->policy.len = 0;
        jrl_buffer_append(&g->policy, policy, len);
        return JRL_OK;
    }
    jrl_group_key_name(&g->key, name);
    if (has_policy != g->has_policy)
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s is mixed: field 'policy' is in one member and not in another", name);
    if (len != g->policy.len || (len && memcmp(policy, g->policy.data, len) != 0))
        return jrl_fail(err, JRL_ERR_INPUT, "group of %s is mixed: field 'policy' is %.64s in one member and %.*s in another", name,
                        jrl_buffer_str(&g->policy), len < 64 ? (int)len : 64, policy);
    return JRL_OK;
}

int jrl_group_add(struct jrl_group *g, const struct jrl_record *rec, struct jrl_error *err)
{
    struct jrl_error fault = { 0 };
    struct jrl_group_key key;
    int64_t sample, samples;
    int rc;

    if (jrl_group_complete(g))
        jrl_group_clear(g);
    if ((rc = jrl_group_key_read(&key, rec, err)) < 0)
        return rc;
    if ((rc = jrl_record_i64(rec, "sample", &sample, &fault)) < 0 || (rc = jrl_record_i64(rec, "samples", &samples, &fault)) < 0)
        return jrl_fail(err, rc, "%s; rollouts are expected, as jrl-sample writes them", fault.text);
    if (g->n > 0 && !jrl_group_key_same(&key, &g->key))
        return incomplete(g, err);
    if (g->n == 0 && (rc = begin(g, &key, samples, err)) < 0)
        return rc;
    if ((rc = check_member(g, &key, sample, samples, err)) < 0 || (rc = check_policy(g, rec, err)) < 0)
        return rc;
    if (!g->keys_only && g->n == g->cap) {
        int64_t cap = g->cap ? 2 * g->cap : 8;

        g->records = jrl_xrealloc(g->records, (size_t)cap, sizeof(*g->records));
        memset(g->records + g->cap, 0, (size_t)(cap - g->cap) * sizeof(*g->records));
        g->cap = cap;
    }
    if (!g->keys_only)
        jrl_record_copy(&g->records[g->n], rec);
    g->n++;
    g->seen[sample] = true;
    g->follows = jrl_group_complete(g);
    return JRL_OK;
}

int jrl_group_end(struct jrl_group *g, struct jrl_error *err)
{
    if (g->n > 0 && !jrl_group_complete(g))
        return incomplete(g, err);
    jrl_group_clear(g);
    g->follows = false;
    return JRL_OK;
}
