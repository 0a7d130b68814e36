/* group.h - collects the rollouts of one group: adjacent records with the same `draw`, or with the same `uid`
 * where there is no `draw` (evaluation). Every rollout says how large its group is (`samples`), so a missing, a
 * repeated and a foreign member are all seen, and the messages name the group.
 * Not here: what is computed from a group, and whether a group comes back later in the stream. */
#ifndef JRL_DATA_GROUP_H
#define JRL_DATA_GROUP_H

#include "stream/record.h"

#define JRL_MAX_SAMPLES 65536

/* What makes two rollouts members of one group. */
struct jrl_group_key {
    uint64_t uid;
    bool has_draw;
    int64_t draw;
};

/* Read `uid` and `draw` of a record. */
int jrl_group_key_read(struct jrl_group_key *key, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;
bool jrl_group_key_same(const struct jrl_group_key *a, const struct jrl_group_key *b);
/* "uid 12, draw 3": for messages. */
#define JRL_GROUP_NAME_SIZE 64
const char *jrl_group_key_name(const struct jrl_group_key *key, char out[JRL_GROUP_NAME_SIZE]);

/* Zero-initialise; release at the end. The loop of a tool:
 *     JRL_OK record:       jrl_group_add(&g, &rec, &err); when jrl_group_complete(&g): use g.records[0..g.n-1], jrl_group_clear(&g)
 *     boundary, segment, end of input: jrl_group_end(&g, &err), which fails when a group is still open. */
struct jrl_group {
    bool keys_only;             /* set before the first member: check the group, but keep no copies */
    struct jrl_group_key key;
    int64_t samples;            /* members a whole group has; 0 while the group is empty */
    int64_t n;                  /* members so far */
    struct jrl_record *records; /* [n] independent copies, in the order they came; the caller may change them, or take
                                 * one away by copying the struct and zeroing it here */
    int64_t cap;                /* of records */
    bool *seen;                 /* [samples] which sample numbers have come */
    bool follows;               /* a whole group came before in this batch: `key` is its key while this one is empty */
    bool has_policy;            /* the members name the policy that responded: `policy`, the same for all */
    struct jrl_buffer policy;
};
void jrl_group_release(struct jrl_group *g);
void jrl_group_clear(struct jrl_group *g); /* empty again; keeps the memory for the next group */

/* Add a copy of one rollout. JRL_ERR_INPUT, with a message that names the group: a field is missing or out of range, the
 * record belongs to another group while this one is incomplete, disagrees on `samples`, `uid` or `policy`, repeats a sample, or
 * begins the draw of the group before once more. */
int jrl_group_add(struct jrl_group *g, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;
static inline bool jrl_group_complete(const struct jrl_group *g) { return g->n > 0 && g->n == g->samples; }

/* At a boundary, between segments and at the end: JRL_ERR_INPUT when a group is open and incomplete. A complete one is cleared. */
int jrl_group_end(struct jrl_group *g, struct jrl_error *err) JRL_MUST_CHECK;

#endif
