/* state.h - state.json of a policy that jrl-update wrote: which training step it is, and what must be the same for
 * its continuation to give the same bits. The member "policy" (the id and what it was taken from) belongs to
 * model/policy.h. */
#ifndef JRL_LEARN_STATE_H
#define JRL_LEARN_STATE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/hash.h"

struct jrl_train_state {
    bool present;        /* the policy has a state.json that names a step */
    int64_t step;        /* training steps made; 0: none */
    int64_t updates;     /* optimiser updates made */
    char policy[JRL_DIGEST_SIZE]; /* id of the policy the file was written with; read only */
    char parent[JRL_DIGEST_SIZE]; /* id of the policy it was made from */
    bool has_seed;
    uint64_t seed;       /* of the rollouts it was trained on */
    char device[32], path[32], dtype[8], version[64]; /* numerics identity: what computed it */
    int64_t ranks;
};

/* A folder without state.json, or with one that names no step, leaves *state zero. */
int jrl_train_state_read(struct jrl_train_state *state, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;
/* Write DIR/state.json, fsynced. */
int jrl_train_state_write(const struct jrl_train_state *state, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;

#endif
