/* table.c - an evaluation as an aligned table for people; see report.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "score/report.h"

enum { CELL_SIZE = 64, MAX_COLUMNS = JRL_MAX_KS + 10 };

struct row {
    char *label; /* owned */
    char cells[MAX_COLUMNS][CELL_SIZE];
};

struct table {
    struct row *rows; /* [n]; the first is the heading */
    int64_t n;
    int n_columns;
    struct jrl_ks ks;   /* columns of pass@k, k > 1: pass@1 is avg@N */
    double confidence;
    bool entropy, tokens, truncated, reward;
};

/* Letters take one place each; what would move the cursor or the terminal's state becomes '?'. */
static char *printable(struct jrl_text t)
{
    char *s = jrl_xstrndup(t.len_bytes ? t.data : "", t.len_bytes);

    for (size_t i = 0; i < t.len_bytes; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            s[i] = '?';
    return s;
}

static int width_of(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static struct row *add_row(struct table *t, char *label)
{
    t->rows = jrl_xrealloc(t->rows, (size_t)t->n + 1, sizeof(*t->rows));
    memset(&t->rows[t->n], 0, sizeof(*t->rows));
    t->rows[t->n].label = label;
    return &t->rows[t->n++];
}

/* Every k that any row has, in order. */
static void merge_ks(struct jrl_ks *ks, const struct jrl_summary *s)
{
    for (int j = 0; j < s->ks.n; j++) {
        int at = 0;

        while (at < ks->n && ks->k[at] < s->ks.k[j])
            at++;
        if (s->ks.k[j] == 1 || (at < ks->n && ks->k[at] == s->ks.k[j]) || ks->n == JRL_MAX_KS)
            continue;
        memmove(ks->k + at + 1, ks->k + at, (size_t)(ks->n - at) * sizeof(*ks->k));
        ks->k[at] = s->ks.k[j];
        ks->n++;
    }
}

/* A column is there when any row has a number for it. */
static void use_columns(struct table *t, const struct jrl_summary *s)
{
    merge_ks(&t->ks, s);
    t->tokens |= isfinite(s->tokens);
    t->truncated |= isfinite(s->truncated);
    t->entropy |= isfinite(s->entropy);
    t->reward |= isfinite(s->reward);
}

static void number(char cell[CELL_SIZE], const char *format, double x)
{
    if (isfinite(x))
        snprintf(cell, CELL_SIZE, format, x);
    else
        snprintf(cell, CELL_SIZE, "-");
}

static void heading(struct table *t, const char *field)
{
    char(*c)[CELL_SIZE] = add_row(t, printable((struct jrl_text){ field, strlen(field) }))->cells;
    int n = 0;

    snprintf(c[n++], CELL_SIZE, "problems");
    snprintf(c[n++], CELL_SIZE, "N");
    snprintf(c[n++], CELL_SIZE, "avg@N");
    snprintf(c[n++], CELL_SIZE, "%.3g%% interval", 100 * t->confidence);
    snprintf(c[n++], CELL_SIZE, "maj@N");
    for (int j = 0; j < t->ks.n; j++)
        snprintf(c[n++], CELL_SIZE, "pass@%" PRId64, t->ks.k[j]);
    snprintf(c[n++], CELL_SIZE, "answered");
    if (t->tokens)
        snprintf(c[n++], CELL_SIZE, "tokens");
    if (t->truncated)
        snprintf(c[n++], CELL_SIZE, "truncated");
    if (t->entropy)
        snprintf(c[n++], CELL_SIZE, "entropy");
    if (t->reward)
        snprintf(c[n++], CELL_SIZE, "reward");
    t->n_columns = n;
}

static void line(struct table *t, char *label, const struct jrl_summary *s)
{
    char(*c)[CELL_SIZE] = add_row(t, label)->cells;
    int n = 0;

    snprintf(c[n++], CELL_SIZE, "%" PRId64, s->problems);
    if (s->samples_min == s->samples_max)
        snprintf(c[n++], CELL_SIZE, "%" PRId64, s->samples_min);
    else
        snprintf(c[n++], CELL_SIZE, "%" PRId64 "-%" PRId64, s->samples_min, s->samples_max);
    number(c[n++], "%.4f", s->avg.value);
    if (isfinite(s->avg.low))
        snprintf(c[n++], CELL_SIZE, "%.4f-%.4f", s->avg.low, s->avg.high);
    else
        number(c[n++], "%f", NAN);
    number(c[n++], "%.4f", s->maj.value);
    for (int j = 0; j < t->ks.n; j++, n++) {
        number(c[n], "%f", NAN);
        for (int i = 0; i < s->ks.n; i++)
            if (s->ks.k[i] == t->ks.k[j])
                number(c[n], "%.4f", s->pass[i].n ? s->pass[i].value : NAN);
    }
    number(c[n++], "%.4f", s->answered);
    if (t->tokens)
        number(c[n++], "%.1f", s->tokens);
    if (t->truncated)
        number(c[n++], "%.4f", s->truncated);
    if (t->entropy)
        number(c[n++], "%.4f", s->entropy);
    if (t->reward)
        number(c[n++], "%.4f", s->reward);
}

static void print(struct table *t, struct jrl_buffer *out)
{
    int label_width = 0, widths[MAX_COLUMNS] = { 0 };

    for (int64_t i = 0; i < t->n; i++) {
        label_width = width_of(t->rows[i].label) > label_width ? width_of(t->rows[i].label) : label_width;
        for (int j = 0; j < t->n_columns; j++)
            widths[j] = (int)strlen(t->rows[i].cells[j]) > widths[j] ? (int)strlen(t->rows[i].cells[j]) : widths[j];
    }
    for (int64_t i = 0; i < t->n; i++) {
        jrl_buffer_printf(out, "%s%*s", t->rows[i].label, label_width - width_of(t->rows[i].label), "");
        for (int j = 0; j < t->n_columns; j++)
            jrl_buffer_printf(out, "  %*s", widths[j], t->rows[i].cells[j]);
        jrl_buffer_append_byte(out, '\n');
        free(t->rows[i].label);
    }
    free(t->rows);
    t->rows = NULL;
    t->n = 0;
}

static void part_table(const struct jrl_report *r, const struct jrl_report_part *part, struct jrl_buffer *out)
{
    struct table t = { .confidence = r->options.confidence };
    struct jrl_summary mean;

    use_columns(&t, &r->all);
    for (int64_t i = 0; i < part->n; i++)
        use_columns(&t, &part->rows[i]);
    heading(&t, part->field);
    for (int64_t i = 0; i < part->n; i++)
        line(&t, part->values[i] < 0 ? jrl_xstrdup("(none)") : printable(jrl_index_key(&r->tally->texts, part->values[i])), &part->rows[i]);
    if (part->n > 1) {
        jrl_summary_mean(&mean, part->rows, part->n, r->options.confidence);
        line(&t, jrl_xstrdup("mean of rows"), &mean);
    }
    if (part->n != 1)
        line(&t, jrl_xstrdup("all problems"), &r->all);
    print(&t, out);
}

void jrl_report_table(const struct jrl_report *r, struct jrl_buffer *out)
{
    for (int i = 0; i < r->tally->n_fields; i++) {
        if (i > 0)
            jrl_buffer_append_byte(out, '\n');
        part_table(r, &r->parts[i], out);
    }
}
