/* program.c - records to JSON lines for a command, and its answers back. */
#include "data/program.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/json.h"
#include "data/scalar.h"
#include "stream/json.h"

struct program {
    struct jrl_child *child;
    struct jrl_buffer line;
};

struct jrl_programs {
    const char *command;
    char *names;         /* the fields, each ended by a NUL, an empty one behind the last */
    int stop[2];         /* a pipe: readable when all shall stop */
    struct program *all; /* [n] */
    int n;
};

static char *split_names(const char *fields)
{
    char *names = jrl_xasprintf("%s,", fields);
    const size_t len = strlen(names);

    for (size_t i = 0; i < len; i++)
        if (names[i] == ',')
            names[i] = '\0';
    return names; /* the NUL behind the last comma's makes the empty one */
}

int jrl_programs_start(struct jrl_programs **out, const char *command, int n, const char *fields, double timeout_seconds, struct jrl_error *err)
{
    struct jrl_programs *p = jrl_xcalloc(1, sizeof(*p));
    int rc = JRL_OK;

    *out = NULL;
    *p = (struct jrl_programs){ .command = command, .names = split_names(fields), .stop = { -1, -1 } };
    p->all = jrl_xcalloc((size_t)n, sizeof(*p->all));
    if (pipe2(p->stop, O_CLOEXEC) < 0)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot make a pipe");
    for (; p->n < n && rc == JRL_OK; p->n++)
        rc = jrl_child_start(&p->all[p->n].child, command, timeout_seconds, p->stop[0], err);
    if (rc < 0)
        jrl_programs_free(p);
    else
        *out = p;
    return rc;
}

void jrl_programs_free(struct jrl_programs *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n; i++) {
        jrl_child_free(p->all[i].child);
        jrl_buffer_release(&p->all[i].line);
    }
    for (int i = 0; i < 2; i++)
        if (p->stop[i] >= 0)
            close(p->stop[i]);
    free(p->all);
    free(p->names);
    free(p);
}

void jrl_programs_stop(struct jrl_programs *p)
{
    while (write(p->stop[1], "", 1) < 0)
        ; /* EINTR: there is room in an empty pipe */
}

int jrl_programs_finish(struct jrl_programs *p, struct jrl_error *err)
{
    int rc = JRL_OK;

    for (int i = 0; i < p->n; i++)
        jrl_child_end_input(p->all[i].child);
    for (int i = 0; i < p->n && rc == JRL_OK; i++)
        rc = jrl_child_finish(p->all[i].child, err);
    return rc;
}

/* The fields of a record as one line; what it lacks is null, so that every line has the same keys. */
static void write_line(const struct jrl_programs *p, const struct jrl_record *rec, struct jrl_buffer *line)
{
    const char *sep = "{";

    line->len = 0;
    for (const char *name = p->names; *name; name += strlen(name) + 1) {
        struct jrl_value v;

        jrl_buffer_append_str(line, sep);
        jrl_key_to_json(name, strlen(name), true, line);
        jrl_buffer_append_byte(line, ':');
        if (jrl_record_path(rec, name, &v))
            jrl_value_to_json(v, true, line);
        else
            jrl_buffer_append_str(line, "null");
        sep = ",";
    }
    jrl_buffer_append_str(line, "}\n");
}

/* The answer is not of the form; WHAT is wrong, and how the answer begins, fit for a terminal. */
static int garbled(const struct jrl_programs *p, struct jrl_text answer, const char *what, struct jrl_error *err)
{
    char start[81];
    size_t n = 0;

    for (; n < answer.len_bytes && n < sizeof(start) - 1; n++)
        start[n] = answer.data[n] >= ' ' && answer.data[n] < 0x7f ? answer.data[n] : '?';
    start[n] = '\0';
    return jrl_fail(err, JRL_ERR_RUN, "'%.200s' answered '%s%s': %s", p->command, start, n < answer.len_bytes ? "..." : "", what);
}

static int read_answer(const struct jrl_programs *p, const json_t *object, struct jrl_text answer, struct jrl_program_answer *a,
                       struct jrl_error *err)
{
    const json_t *value;
    const char *key;
    char what[128];

    /* jansson's own loop wants an object that may be changed. */
    for (void *at = json_object_iter((json_t *)object); at; at = json_object_iter_next((json_t *)object, at)) {
        key = json_object_iter_key(at);
        if (strcmp(key, "reward") != 0 && strcmp(key, "correct") != 0 && strcmp(key, "pred") != 0) {
            snprintf(what, sizeof(what), "'%.60s' is none of reward, correct, pred", key);
            return garbled(p, answer, what, err);
        }
    }
    value = json_object_get(object, "reward");
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return garbled(p, answer, value ? "'reward' is not a number" : "'reward' is missing", err);
    a->reward = json_number_value(value);
    value = json_object_get(object, "correct");
    if (value && !json_is_boolean(value))
        return garbled(p, answer, "'correct' is not true or false", err);
    a->correct = value ? json_is_true(value) : a->reward > 0;
    value = json_object_get(object, "pred");
    if (value && !json_is_string(value) && !json_is_null(value))
        return garbled(p, answer, "'pred' is not a string", err);
    a->found = value && json_is_string(value);
    a->pred.len = 0;
    if (a->found)
        jrl_buffer_append(&a->pred, json_string_value(value), json_string_length(value));
    return JRL_OK;
}

int jrl_programs_ask(struct jrl_programs *p, int i, const struct jrl_record *rec, struct jrl_program_answer *a, struct jrl_error *err)
{
    struct program *one = &p->all[i];
    struct jrl_error fault = { 0 };
    struct jrl_text answer;
    json_t *json;
    int rc;

    write_line(p, rec, &one->line);
    rc = jrl_child_ask(one->child, (struct jrl_text){ (const char *)one->line.data, one->line.len }, &answer, err);
    if (rc < 0)
        return rc;
    if (jrl_json_parse(&json, answer.data, answer.len_bytes, "answer", &fault) < 0)
        return garbled(p, answer, "not valid JSON", err);
    rc = json_is_object(json) ? read_answer(p, json, answer, a, err) : garbled(p, answer, "not a JSON object", err);
    json_decref(json);
    return rc;
}
