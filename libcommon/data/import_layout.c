/* import_layout.c - the row layouts: which field holds what. */
#include <string.h>

#include "base/unicode.h"
#include "data/import.h"
#include "data/scalar.h"

static const char *const names[] = { "auto", "verl", "problem", "gsm8k", "math", "responses" };
const char jrl_layout_names[] = "verl|problem|gsm8k|math|responses";

enum jrl_layout jrl_layout_find(const char *name)
{
    for (int i = JRL_LAYOUT_VERL; i <= JRL_LAYOUT_RESPONSES; i++)
        if (!strcmp(name, names[i]))
            return (enum jrl_layout)i;
    return JRL_LAYOUT_AUTO;
}

const char *jrl_layout_name(enum jrl_layout layout)
{
    return names[layout];
}

void jrl_row_release(struct jrl_row *row)
{
    jrl_buffer_release(&row->packed);
}

/* A field that is there and not null. */
static const struct jrl_field *present(const struct jrl_record *fields, const char *key)
{
    const struct jrl_field *f = jrl_record_find(fields, key);

    return f && jrl_value_type(f->value) != JRL_NIL ? f : NULL;
}

static bool is_text(const struct jrl_record *fields, const char *key)
{
    const struct jrl_field *f = jrl_record_find(fields, key);

    return f && jrl_value_type(f->value) == JRL_STR;
}

static bool text_has(const struct jrl_record *fields, const char *key, const char *part)
{
    const char *text;
    size_t len;

    return is_text(fields, key) && jrl_record_str(fields, key, &text, &len, NULL) == JRL_OK && memmem(text, len, part, strlen(part));
}

int jrl_layout_detect(enum jrl_layout *layout, const struct jrl_record *fields, struct jrl_error *err)
{
    bool problem = is_text(fields, "problem") || is_text(fields, "question") || is_text(fields, "prompt");
    struct jrl_buffer seen = { 0 };
    int rc;

    if (present(fields, "prompt") && present(fields, "reward_model"))
        *layout = JRL_LAYOUT_VERL;
    else if (is_text(fields, "question") && text_has(fields, "answer", "####"))
        *layout = JRL_LAYOUT_GSM8K;
    else if (problem && (present(fields, "answer") || present(fields, "ground_truth")))
        *layout = JRL_LAYOUT_PROBLEM;
    else if (problem && text_has(fields, "solution", "\\boxed"))
        *layout = JRL_LAYOUT_MATH;
    else
        *layout = JRL_LAYOUT_AUTO;
    if (*layout != JRL_LAYOUT_AUTO)
        return JRL_OK;
    if (is_text(fields, "response") && (present(fields, "ground_truth") || present(fields, "answer")))
        return jrl_fail(err, JRL_ERR_INPUT, "the row holds a response: import rollouts with --format responses");
    for (size_t i = 0; i < fields->n_fields && i < 12; i++)
        jrl_buffer_printf(&seen, "%s'%.*s'", i ? ", " : "", (int)(fields->fields[i].key_len < 40 ? fields->fields[i].key_len : 40), fields->fields[i].key);
    rc = jrl_fail(err, JRL_ERR_INPUT, "the fields (%s) are of no known layout; choose one with --format %s", jrl_buffer_str(&seen), jrl_layout_names);
    jrl_buffer_release(&seen);
    return rc;
}

static void use(struct jrl_row *row, const char *key)
{
    row->used[row->n_used++] = key;
}

static int take_text(struct jrl_row *row, struct jrl_text *out, const struct jrl_record *fields, const char *key, struct jrl_error *err)
{
    int rc = jrl_record_str(fields, key, &out->data, &out->len_bytes, err);

    if (rc == JRL_OK)
        use(row, key);
    return rc;
}

/* One turn of a chat: its role and content. */
static bool read_turn(struct jrl_value turn, struct jrl_text *role, struct jrl_text *content)
{
    const uint8_t *cursor;
    size_t n;

    *role = *content = (struct jrl_text){ 0 };
    if (jrl_value_type(turn) != JRL_MAP)
        return false;
    n = jrl_value_begin(turn, &cursor);
    for (size_t i = 0; i + 1 < n; i += 2) {
        struct jrl_value k = jrl_value_next(&cursor), v = jrl_value_next(&cursor);
        const char *name;
        size_t len;

        if (!jrl_value_str(k, &name, &len) || jrl_value_type(v) != JRL_STR)
            continue;
        if (len == 4 && !memcmp(name, "role", 4))
            jrl_value_str(v, &role->data, &role->len_bytes);
        else if (len == 7 && !memcmp(name, "content", 7))
            jrl_value_str(v, &content->data, &content->len_bytes);
    }
    return role->data && content->data;
}

static bool is_role(struct jrl_text role, const char *name)
{
    return role.len_bytes == strlen(name) && !memcmp(role.data, name, role.len_bytes);
}

/* verl's prompt: a list of turns, at most a system turn and then the user's. */
static int take_turns(struct jrl_row *row, struct jrl_value list, struct jrl_error *err)
{
    const uint8_t *cursor;
    size_t n = jrl_value_begin(list, &cursor);

    for (size_t i = 0; i < n; i++) {
        struct jrl_text role, content;

        if (!read_turn(jrl_value_next(&cursor), &role, &content))
            return jrl_fail(err, JRL_ERR_INPUT, "field 'prompt': turn %zu has no 'role' and 'content' of text", i + 1);
        if (i == 0 && n > 1 && is_role(role, "system"))
            row->system = content;
        else if (i + 1 == n && is_role(role, "user"))
            row->problem = content;
        else
            return jrl_fail(err, JRL_ERR_INPUT, "field 'prompt': turn %zu is by '%.*s'; one user turn, with a system turn before it, is all there may be",
                            i + 1, (int)(role.len_bytes < 40 ? role.len_bytes : 40), role.data);
    }
    if (!row->problem.data)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'prompt' has no turn");
    use(row, "prompt");
    return JRL_OK;
}

/* The problem under the names it goes by. REQUIRED: it must be there. */
static int take_problem(struct jrl_row *row, const struct jrl_record *fields, bool required, struct jrl_error *err)
{
    static const char *const keys[] = { "problem", "question", "prompt" };

    for (int i = 0; i < 3; i++) {
        const struct jrl_field *f = present(fields, keys[i]);

        if (f && i == 2 && jrl_value_type(f->value) == JRL_LIST)
            return take_turns(row, f->value, err);
        if (f)
            return take_text(row, &row->problem, fields, keys[i], err);
    }
    return required ? jrl_fail(err, JRL_ERR_INPUT, "field 'problem' is missing") : JRL_OK;
}

/* A string, number, boolean or list, kept as it is. */
static int take_answer(struct jrl_row *row, struct jrl_value v, const char *key, struct jrl_error *err)
{
    enum jrl_value_type type = jrl_value_type(v);

    if (type == JRL_NIL || type == JRL_MAP)
        return jrl_fail(err, JRL_ERR_INPUT, "field '%s' is %s, not a string, number, boolean or list", key, jrl_value_type_name(v));
    row->answer = v;
    return JRL_OK;
}

static int take_answer_field(struct jrl_row *row, const struct jrl_record *fields, struct jrl_error *err)
{
    static const char *const keys[] = { "answer", "ground_truth" };
    struct jrl_value v;

    for (int i = 0; i < 2; i++) {
        const struct jrl_field *f = present(fields, keys[i]);

        if (f) {
            use(row, keys[i]);
            return take_answer(row, f->value, keys[i], err);
        }
    }
    if (jrl_record_path(fields, "reward_model.ground_truth", &v))
        return take_answer(row, v, "reward_model.ground_truth", err);
    return jrl_fail(err, JRL_ERR_INPUT, "field 'answer' is missing");
}

static int read_verl(struct jrl_row *row, const struct jrl_record *fields, struct jrl_error *err)
{
    const struct jrl_field *prompt = jrl_record_find(fields, "prompt");
    struct jrl_value truth;
    int rc;

    if (!prompt)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'prompt' is missing");
    rc = jrl_value_type(prompt->value) == JRL_LIST ? take_turns(row, prompt->value, err) : take_text(row, &row->problem, fields, "prompt", err);
    if (rc < 0)
        return rc;
    if (!jrl_record_path(fields, "reward_model.ground_truth", &truth))
        return jrl_fail(err, JRL_ERR_INPUT, "field 'reward_model.ground_truth' is missing");
    return take_answer(row, truth, "reward_model.ground_truth", err);
}

/* An answer that is a part of a text of the row; that text stays in `extra`. */
static void pack_answer(struct jrl_row *row, const char *text, size_t len_bytes)
{
    row->packed.len = 0;
    jrl_pack_str(&row->packed, text, len_bytes);
    row->answer = (struct jrl_value){ row->packed.data, row->packed.len };
}

/* What follows the last "####", without the white space around it. */
static int read_gsm8k(struct jrl_row *row, const struct jrl_record *fields, struct jrl_error *err)
{
    const char *text, *mark = NULL, *end;
    size_t len;
    int rc;

    if ((rc = take_problem(row, fields, true, err)) < 0 || (rc = jrl_record_str(fields, "answer", &text, &len, err)) < 0)
        return rc;
    end = text + len;
    for (const char *p = text; (p = memmem(p, (size_t)(end - p), "####", 4)); p += 4)
        mark = p + 4;
    if (!mark)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'answer' has no '####'");
    while (mark < end && strchr(" \t\r\n", *mark) && *mark)
        mark++;
    while (end > mark && strchr(" \t\r\n", end[-1]) && end[-1])
        end--;
    pack_answer(row, mark, (size_t)(end - mark));
    return JRL_OK;
}

/* The content of the last box of a worked solution: balanced braces, or one word as in \boxed 5. */
static bool last_box(const char *text, size_t len, const char **begin, const char **end)
{
    const char *p = text, *stop = text + len, *box = NULL;
    int depth = 0;

    for (; (p = memmem(p, (size_t)(stop - p), "\\boxed", 6)); p += 6)
        box = p + 6;
    if (!box)
        return false;
    while (box < stop && *box == ' ')
        box++;
    *begin = *end = box;
    if (box < stop && *box == '{') {
        *begin = box + 1;
        for (p = box; p < stop; p++) {
            depth += (*p == '{') - (*p == '}');
            if (depth == 0) {
                *end = p;
                return true;
            }
        }
        return false;
    }
    while (*end < stop && !strchr(" \t\r\n$.", **end))
        ++*end;
    return *end > *begin;
}

static int read_math(struct jrl_row *row, const struct jrl_record *fields, struct jrl_error *err)
{
    const char *text, *begin, *end;
    size_t len;
    int rc;

    if ((rc = take_problem(row, fields, true, err)) < 0 || (rc = jrl_record_str(fields, "solution", &text, &len, err)) < 0)
        return rc;
    if (!last_box(text, len, &begin, &end))
        return jrl_fail(err, JRL_ERR_INPUT, "field 'solution' has no whole '\\boxed{...}'");
    pack_answer(row, begin, (size_t)(end - begin));
    return JRL_OK;
}

void jrl_row_trim(struct jrl_row *row)
{
    struct jrl_buffer whole = row->packed; /* may hold the answer that is cut */
    struct jrl_text answer, trimmed;

    if (row->problem.data)
        row->problem = jrl_unicode_trim(row->problem);
    if (jrl_value_type(row->answer) != JRL_STR || !jrl_value_str(row->answer, &answer.data, &answer.len_bytes))
        return;
    trimmed = jrl_unicode_trim(answer);
    if (trimmed.len_bytes == answer.len_bytes)
        return;
    row->packed = (struct jrl_buffer){ 0 };
    pack_answer(row, trimmed.data, trimmed.len_bytes);
    jrl_buffer_release(&whole);
}

int jrl_row_read(struct jrl_row *row, enum jrl_layout layout, const struct jrl_record *fields, struct jrl_error *err)
{
    struct jrl_buffer packed = row->packed; /* its memory is used again */
    int rc;

    *row = (struct jrl_row){ .packed = packed };
    if (layout == JRL_LAYOUT_VERL)
        rc = read_verl(row, fields, err);
    else if (layout == JRL_LAYOUT_GSM8K)
        rc = read_gsm8k(row, fields, err);
    else if (layout == JRL_LAYOUT_MATH)
        rc = read_math(row, fields, err);
    else if ((rc = take_problem(row, fields, layout == JRL_LAYOUT_PROBLEM, err)) == JRL_OK)
        rc = take_answer_field(row, fields, err);
    if (rc == JRL_OK && layout == JRL_LAYOUT_RESPONSES)
        rc = take_text(row, &row->response, fields, "response", err);
    if (rc < 0)
        return rc;
    if (is_text(fields, "data_source"))
        rc = jrl_record_str(fields, "data_source", &row->source.data, &row->source.len_bytes, err);
    if (rc == JRL_OK && !row->system.data && is_text(fields, "system"))
        rc = take_text(row, &row->system, fields, "system", err);
    return rc;
}
