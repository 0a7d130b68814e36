/* verdicts.h - who found what right: the rules and the model judge that is asked after them, two rules side by side, and two
 * policies on the same problems. */
#ifndef JRL_SCORE_VERDICTS_H
#define JRL_SCORE_VERDICTS_H

#include "score/problems.h"

/* Rules and judge. Each rollout is in one of: by_rules, by_judge, incorrect, invalid, other, not_asked. */
struct jrl_judged {
    bool known;              /* every rollout went past a judge; else nothing below is */
    struct jrl_estimate avg; /* avg@N by the rules alone */
    int64_t by_rules;        /* right by the rules */
    int64_t by_judge;        /* right only by the judge */
    int64_t incorrect, invalid, other; /* rejected by both; the judge said B, C, anything else */
    int64_t not_asked;       /* wrong by the rules, and the judge was not asked */
};
struct jrl_judged jrl_judged_count(const struct jrl_problems *set);

/* The verdict of the rules that count, "first", beside that of rule number ALSO, "second". */
struct jrl_agreement {
    bool known;                        /* the second judged every rollout; else nothing below is */
    struct jrl_estimate first, second; /* avg@N by each */
    int64_t both, first_only, second_only, neither; /* rollouts that are right by ... */
};
struct jrl_agreement jrl_agreement_count(const struct jrl_problems *set, int also);

/* Two policies: problems that jrl_tally_pair has paired. */
struct jrl_versus {
    bool known;
    struct jrl_estimate other;      /* avg@N of the other policy */
    struct jrl_estimate difference; /* ours less theirs, problem by problem */
    int64_t better, equal, worse;   /* problems where our share is larger, ... */
};
struct jrl_versus jrl_versus_count(const struct jrl_problems *set);

#endif
