/* select.h - which problems a data set keeps: lists of uids as text files, and what is known of a group of rollouts.
 * Not here: the conditions on it (stream/where.h). */
#ifndef JRL_DATA_SELECT_H
#define JRL_DATA_SELECT_H

#include "base/index.h"
#include "base/lines.h"
#include "data/group.h"

/* Uids of a text file: the first word of each line; empty lines and lines from # are for people. Zero-initialise. */
struct jrl_uid_list {
    struct jrl_index uids;
    bool *seen; /* [uids.n] */
};
/* JRL_ERR_INPUT names the line that is no uid, or has one that came before. */
int jrl_uid_list_read(struct jrl_uid_list *list, struct jrl_lines *lines, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_uid_list_release(struct jrl_uid_list *list);
/* Whether UID is in the list, and remember that it was asked for. */
bool jrl_uid_list_has(struct jrl_uid_list *list, uint64_t uid);
int64_t jrl_uid_list_n_unseen(const struct jrl_uid_list *list);

/* Of one field over the members of a group; a boolean counts as 0 or 1. */
struct jrl_group_values {
    double mean, std, min, max; /* std with n - 1, 0 for a group of one, as GRPO's */
    int64_t n;
};
extern const char *const jrl_group_value_names[]; /* "mean" ... "n", NULL at the end */
/* JRL_ERR_INPUT when a member has no such field, or it is no finite number and no boolean. */
int jrl_group_values(struct jrl_group_values *values, const struct jrl_group *g, const char *field, struct jrl_error *err) JRL_MUST_CHECK;
/* As a record with the fields of jrl_group_value_names, for conditions. */
void jrl_group_values_record(struct jrl_record *rec, const struct jrl_group_values *values);

#endif
