/* cases_logits.c - from logits to logprobs and tokens: all bit-equal, and the tokens the same. */
#include "cuda_test.h"

#define ROWS 4

static const int64_t vocabularies[] = { 1, 37, 1024, 2100, 151936 }; /* the last, Qwen's, where no gradient or order is asked for */
#define FOR_SOME(vocab, n) for (size_t i = 0; i < n; i++) for (int64_t vocab = vocabularies[i], once = 1; once; once = 0)
#define FOR_VOCABULARIES(vocab) FOR_SOME(vocab, 4)
#define FOR_ALL_VOCABULARIES(vocab) FOR_SOME(vocab, 5)

/* Rows of which one holds an infinity when BAD. */
static struct both new_logits(struct fixture *f, int64_t vocab, int64_t ld, bool bad)
{
    struct both logits = new_numbers(f, JRL_F32, ROWS * ld, 8);

    if (bad)
        ((float *)logits.host)[ld + vocab / 2] = INFINITY;
    upload_all(&logits);
    return logits;
}

void case_logits_sums(struct fixture *f)
{
    FOR_ALL_VOCABULARIES(vocab) {
        const int64_t n_blocks = jrl_logits_blocks(vocab);
        struct both logits = new_logits(f, vocab, vocab + 3, true), rows = new_both(f, ROWS * sizeof(struct jrl_row_sums));
        struct both blocks = new_both(f, (size_t)(ROWS * n_blocks) * sizeof(struct jrl_block_sums));

        MUST(jrl_logits_sums(f->cpu, (struct jrl_row_sums *)rows.host, (struct jrl_block_sums *)blocks.host, (float *)logits.host, vocab + 3, 1.25f, ROWS,
                             vocab, err));
        MUST(jrl_logits_sums(f->gpu, rows.gpu, blocks.gpu, logits.gpu, vocab + 3, 1.25f, ROWS, vocab, err));
        expect_equal("logits_sums, rows", &rows, JRL_F32, ROWS * 4, SAME_BITS);
        expect_equal("logits_sums, blocks", &blocks, JRL_F32, ROWS * n_blocks * 3, SAME_BITS);
        free_both(&logits);
        free_both(&rows);
        free_both(&blocks);
    }
}

struct logprob_case {
    struct both logits, targets, logprob, entropy, lse;
};
static struct logprob_case new_logprob_case(struct fixture *f, int64_t vocab)
{
    const uint32_t targets[ROWS] = { 0, (uint32_t)vocab - 1, (uint32_t)vocab / 2, 0 };

    return (struct logprob_case){ new_logits(f, vocab, vocab, false), copy_of(f, targets, sizeof targets), new_both(f, ROWS * 4), new_both(f, ROWS * 4),
                                  new_both(f, ROWS * 4) };
}
static void run_logprob(struct fixture *f, struct logprob_case *c, int64_t vocab)
{
    MUST(jrl_logprob(f->cpu, (float *)c->logprob.host, (float *)c->entropy.host, (float *)c->lse.host, (float *)c->logits.host, vocab,
                     (uint32_t *)c->targets.host, 0.75f, ROWS, vocab, err));
    MUST(jrl_logprob(f->gpu, c->logprob.gpu, c->entropy.gpu, c->lse.gpu, c->logits.gpu, vocab, c->targets.gpu, 0.75f, ROWS, vocab, err));
}
static void free_logprob_case(struct logprob_case *c)
{
    free_both(&c->logits);
    free_both(&c->targets);
    free_both(&c->logprob);
    free_both(&c->entropy);
    free_both(&c->lse);
}

void case_logprob(struct fixture *f)
{
    FOR_ALL_VOCABULARIES(vocab) {
        struct logprob_case c = new_logprob_case(f, vocab);

        run_logprob(f, &c, vocab);
        expect_equal("logprob", &c.logprob, JRL_F32, ROWS, SAME_BITS);
        expect_equal("entropy", &c.entropy, JRL_F32, ROWS, SAME_BITS);
        expect_equal("lse", &c.lse, JRL_F32, ROWS, SAME_BITS);
        free_logprob_case(&c);
    }
}

void case_logprob_backward(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) FOR_VOCABULARIES(vocab) for (int with_entropy = 0; with_entropy < 2; with_entropy++) {
        struct logprob_case c = new_logprob_case(f, vocab);
        struct both dlogprob = new_numbers(f, JRL_F32, ROWS, 1), dentropy = new_numbers(f, JRL_F32, ROWS, 1);
        struct both dlogits = new_both(f, (size_t)(ROWS * vocab * jrl_dtype_bytes(dtype)));

        run_logprob(f, &c, vocab);
        MUST(jrl_logprob_backward(f->cpu, dlogits.host, dtype, (float *)c.logits.host, vocab, (uint32_t *)c.targets.host, 0.75f, (float *)c.lse.host,
                                  (float *)c.entropy.host, (float *)dlogprob.host, with_entropy ? (float *)dentropy.host : NULL, ROWS, vocab, err));
        MUST(jrl_logprob_backward(f->gpu, dlogits.gpu, dtype, c.logits.gpu, vocab, c.targets.gpu, 0.75f, c.lse.gpu, c.entropy.gpu, dlogprob.gpu,
                                  with_entropy ? dentropy.gpu : NULL, ROWS, vocab, err));
        expect_equal("logprob_backward", &dlogits, dtype, ROWS * vocab, SAME_BITS);
        free_both(&dlogprob);
        free_both(&dentropy);
        free_both(&dlogits);
        free_logprob_case(&c);
    }
}

/* Tokens of every clip and divergence; rows of nobody; ratios beyond f32, not a number, too small. */
#define TOKENS 3000
static void check_objective(struct fixture *f, const struct jrl_objective *o, bool with_entropy)
{
    struct both logprob = new_numbers(f, JRL_F32, TOKENS, 3), entropy = new_numbers(f, JRL_F32, TOKENS, 2), tokens = new_both(f, TOKENS * sizeof(struct jrl_objective_token));
    struct both dlogprob = new_both(f, TOKENS * 4), dentropy = new_both(f, TOKENS * 4);
    struct jrl_objective_token *t = (struct jrl_objective_token *)tokens.host;

    for (int i = 0; i < TOKENS; i++) {
        const float near = ((float *)logprob.host)[i];

        t[i] = (struct jrl_objective_token){ (i % 7 - 3) * 0.5, i % 5 ? 0x1.8p-9 : 0x1p-129, near + (float)(i % 11 - 5) * 0.1f, near + (float)(i % 13 - 6) * 0.7f,
                                             near + (float)(i % 17 - 8) * 0.2f, i % 19 != 0 };
        if (i % 101 == 0)
            t[i].old_logprob = near + (i % 2 ? 150.0f : -150.0f);
        if (i % 103 == 0)
            ((float *)logprob.host)[i] = NAN;
    }
    upload_all(&logprob);
    upload_all(&tokens);
    MUST(jrl_objective_backward(f->cpu, (float *)dlogprob.host, with_entropy ? (float *)dentropy.host : NULL, o, t, (float *)logprob.host, (float *)entropy.host,
                                TOKENS, err));
    MUST(jrl_objective_backward(f->gpu, dlogprob.gpu, with_entropy ? dentropy.gpu : NULL, o, tokens.gpu, logprob.gpu, entropy.gpu, TOKENS, err));
    expect_equal("objective_backward, dlogprob", &dlogprob, JRL_F32, TOKENS, SAME_BITS);
    expect_equal("objective_backward, dentropy", &dentropy, JRL_F32, TOKENS, SAME_BITS);
    free_both(&logprob);
    free_both(&entropy);
    free_both(&tokens);
    free_both(&dlogprob);
    free_both(&dentropy);
}

void case_objective_backward(struct fixture *f)
{
    const struct jrl_objective nll = { .kind = JRL_OBJECTIVE_NLL, .entropy_coef = 0.01 };

    check_objective(f, &nll, true);
    for (int variant = 0; variant < 6; variant++) {
        const struct jrl_objective o = { JRL_OBJECTIVE_POLICY, (enum jrl_kl)(variant % 3), 0.2, 0.28, variant & 1 ? 3 : 0, variant < 3 ? 0 : 0.1,
                                         variant & 2 ? 0.01 : 0, variant & 4 ? 2 : 0 };

        check_objective(f, &o, o.entropy_coef != 0);
    }
}

#define CHOICES 10

static void check_choices(struct fixture *f, int64_t vocab, const struct jrl_choice_rule *rule, float size)
{
    const int64_t n_blocks = jrl_logits_blocks(vocab);
    struct both logits = new_numbers(f, JRL_F32, ROWS * vocab, size), rows = new_both(f, ROWS * sizeof(struct jrl_row_sums));
    struct both blocks = new_both(f, (size_t)(ROWS * n_blocks) * sizeof(struct jrl_block_sums));
    struct jrl_choose p = { .rule = *rule, .logits = (float *)logits.host, .vocab = vocab, .row_sums = (struct jrl_row_sums *)rows.host,
                            .block_sums = (struct jrl_block_sums *)blocks.host, .n = CHOICES };
    struct both draws = new_both(f, CHOICES * sizeof(struct jrl_draw)), from = new_both(f, CHOICES * 8), tokens = new_both(f, CHOICES * 4);
    struct both logprobs = new_both(f, CHOICES * 4);

    for (int i = 0; i < 5 && i < vocab; i++) /* equal logits: ties are broken by id */
        ((float *)logits.host)[vocab - 1 - i] = ((float *)logits.host)[0];
    upload_all(&logits);
    for (int i = 0; i < CHOICES; i++) {
        ((struct jrl_draw *)draws.host)[i] = (struct jrl_draw){ 7 + (uint64_t)i / 3, (uint64_t)i / 2, (uint32_t)i, 2 };
        ((int64_t *)from.host)[i] = i % ROWS;
    }
    upload_all(&draws);
    upload_all(&from);
    p.rows = (int64_t *)from.host;
    p.draws = (struct jrl_draw *)draws.host;
    p.tokens = (uint32_t *)tokens.host;
    p.logprobs = (float *)logprobs.host;
    MUST(jrl_logits_sums(f->cpu, (struct jrl_row_sums *)rows.host, (struct jrl_block_sums *)blocks.host, p.logits, vocab, rule->inv_temperature, ROWS, vocab,
                         err));
    MUST(jrl_choose_tokens(f->cpu, &p, err));
    MUST(jrl_logits_sums(f->gpu, rows.gpu, blocks.gpu, logits.gpu, vocab, rule->inv_temperature, ROWS, vocab, err));
    p = (struct jrl_choose){ .rule = *rule, .logits = logits.gpu, .vocab = vocab, .row_sums = rows.gpu, .block_sums = blocks.gpu, .n = CHOICES,
                             .rows = from.gpu, .draws = draws.gpu, .tokens = tokens.gpu, .logprobs = logprobs.gpu };
    MUST(jrl_choose_tokens(f->gpu, &p, err));
    uint32_t *got = (uint32_t *)downloaded(&tokens);
    for (int i = 0; i < CHOICES; i++)
        if (((uint32_t *)tokens.host)[i] != got[i])
            fail_msg("choose_tokens: vocabulary %d, top_k %d, top_p %g, choice %d: token %u, wanted %u", (int)vocab, (int)rule->top_k, rule->top_p, i, got[i],
                     ((uint32_t *)tokens.host)[i]);
    free(got);
    expect_equal("choose_tokens, logprobs", &logprobs, JRL_F32, CHOICES, SAME_BITS);
    free_both(&logits);
    free_both(&rows);
    free_both(&blocks);
    free_both(&draws);
    free_both(&from);
    free_both(&tokens);
    free_both(&logprobs);
}

/* Logits that are not finite have no token, but also none outside of the vocabulary, whose logit would be looked for. */
static void check_not_finite(struct fixture *f)
{
    enum { VOCAB = 37 };
    struct both logits = new_both(f, VOCAB * 4), rows = new_both(f, sizeof(struct jrl_row_sums)), blocks = new_both(f, sizeof(struct jrl_block_sums));
    const struct jrl_draw draw = { 1, 2, 3, 4 };
    const int64_t first = 0;
    struct both draws = copy_of(f, &draw, sizeof draw), from = copy_of(f, &first, sizeof first), token = new_both(f, 4), logprob = new_both(f, 4);
    const struct jrl_choose p = { .rule = { 1, false, 0, 0.9, 7 }, .logits = logits.gpu, .vocab = VOCAB, .row_sums = rows.gpu, .block_sums = blocks.gpu, .n = 1,
                                  .rows = from.gpu, .draws = draws.gpu, .tokens = token.gpu, .logprobs = logprob.gpu };
    struct both *all[] = { &logits, &rows, &blocks, &draws, &from, &token, &logprob };
    uint32_t *got;

    MUST(jrl_logits_sums(f->gpu, rows.gpu, blocks.gpu, logits.gpu, VOCAB, 1, 1, VOCAB, err));
    MUST(jrl_choose_tokens(f->gpu, &p, err));
    got = (uint32_t *)downloaded(&token);
    assert_true(*got < VOCAB);
    free(got);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free_both(all[i]);
}

void case_choose_tokens(struct fixture *f)
{
    static const struct jrl_choice_rule rules[] = {
        { 1, true, 0, 1, 0 }, { 1, false, 0, 1, 5 }, { 1.6f, false, 0, 1, 6 }, { 1, false, 0, 0.9, 7 }, { 1, false, 3, 1, 8 }, { 0.7f, false, 20, 0.5, 9 },
        { 1, false, 0, 0.99999, 10 },
    };

    FOR_VOCABULARIES(vocab) for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        check_choices(f, vocab, &rules[r], vocab > 1024 && r % 2 ? 40 : 4); /* 40: nearly all mass in few tokens */
    }
    check_not_finite(f);
}

/* The lists of a choice; what its kernel sorts: pass_memory.c. */
void case_choose_memory(struct fixture *f)
{
    assert_true(jrl_choose_memory(f->gpu, 1000, 10) >= 10 * (int64_t)(sizeof(int64_t) + sizeof(struct jrl_draw) + sizeof(uint32_t) + sizeof(float)));
}
