/* verdicts.c - see verdicts.h. */
#include "score/verdicts.h"

static double share_by_rules(const struct jrl_tally_problem *p, const void *arg)
{
    int64_t n = 0;

    (void)arg;
    for (int64_t i = 0; i < p->n; i++)
        n += p->list[i].by_rules;
    return (double)n / (double)p->n;
}

static void count_judgement(struct jrl_judged *j, const struct jrl_tally_sample *r)
{
    if (r->by_rules) {
        j->by_rules++;
    } else if (r->by_judge) {
        j->by_judge++;
    } else {
        switch ((enum jrl_judgement)r->judgement) {
        case JRL_JUDGE_ABSENT: break;
        case JRL_JUDGE_SILENT: j->not_asked++; break;
        case JRL_JUDGE_B: j->incorrect++; break;
        case JRL_JUDGE_C: j->invalid++; break;
        case JRL_JUDGE_A:
        case JRL_JUDGE_OTHER: j->other++; break;
        }
    }
}

struct jrl_judged jrl_judged_count(const struct jrl_problems *set)
{
    struct jrl_judged j = { .known = set->n > 0 };

    for (int64_t i = 0; i < set->n; i++) {
        for (int64_t k = 0; k < set->members[i]->n; k++) {
            j.known &= set->members[i]->list[k].judgement != JRL_JUDGE_ABSENT;
            count_judgement(&j, &set->members[i]->list[k]);
        }
    }
    j.avg = jrl_problems_mean(set, 0, share_by_rules, NULL);
    return j;
}

static double share_by_also(const struct jrl_tally_problem *p, const void *arg)
{
    const uint16_t bit = *(const uint16_t *)arg;
    int64_t n = 0;

    for (int64_t i = 0; i < p->n; i++)
        n += (p->list[i].also_right & bit) != 0;
    return (double)n / (double)p->n;
}

struct jrl_agreement jrl_agreement_count(const struct jrl_problems *set, int also)
{
    const uint16_t bit = (uint16_t)(1u << also);
    struct jrl_agreement a = { .known = set->n > 0 };

    for (int64_t i = 0; i < set->n; i++) {
        for (int64_t k = 0; k < set->members[i]->n; k++) {
            const struct jrl_tally_sample *r = &set->members[i]->list[k];
            bool first = r->by_rules, second = r->also_right & bit;

            a.known &= (r->also & bit) != 0;
            a.both += first && second;
            a.first_only += first && !second;
            a.second_only += second && !first;
            a.neither += !first && !second;
        }
    }
    a.first = jrl_problems_mean(set, 0, share_by_rules, NULL);
    a.second = jrl_problems_mean(set, 0, share_by_also, &bit);
    return a;
}

static double share_of_other(const struct jrl_tally_problem *p, const void *arg)
{
    (void)arg;
    return p->other;
}

static double lead(const struct jrl_tally_problem *p, const void *arg)
{
    (void)arg;
    return (double)jrl_problem_correct(p) / (double)p->n - p->other;
}

struct jrl_versus jrl_versus_count(const struct jrl_problems *set)
{
    struct jrl_versus v = { .known = set->n > 0, .other = jrl_problems_mean(set, 0, share_of_other, NULL),
                            .difference = jrl_problems_mean(set, -1, lead, NULL) };

    for (int64_t i = 0; i < set->n; i++) {
        double x = lead(set->members[i], NULL);

        v.better += x > 0;
        v.equal += x == 0;
        v.worse += x < 0;
    }
    return v;
}
