/* import_record.c - a row as a record: identity, prompt, and everything else under `extra`. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "data/import.h"

static const char dapo_before[] =
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer "
    "(without quotes) where $Answer is the answer to the problem.\n\n";
static const char dapo_behind[] = "\n\nRemember to put your answer on its own line after \"Answer:\".";

bool jrl_strip_dapo(struct jrl_text *problem)
{
    size_t before = sizeof dapo_before - 1, behind = sizeof dapo_behind - 1;
    bool found = false;

    if (problem->len_bytes >= before && !memcmp(problem->data, dapo_before, before)) {
        problem->data += before;
        problem->len_bytes -= before;
        found = true;
    }
    if (problem->len_bytes >= behind && !memcmp(problem->data + problem->len_bytes - behind, dapo_behind, behind)) {
        problem->len_bytes -= behind;
        found = true;
    }
    return found;
}

void jrl_unescape(struct jrl_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (text[0] == '\\' && (text[1] == 'n' || text[1] == '\\'))
            jrl_buffer_append_byte(out, *++text == 'n' ? '\n' : '\\');
        else
            jrl_buffer_append_byte(out, (uint8_t)*text);
    }
}

const char *jrl_import_foreign(const char *text, size_t len_bytes)
{
    static const struct { const char *magic, *what; size_t len; } known[] = {
        { "PAR1", "a Parquet file; convert it to JSON lines first, as jrl-import(1) shows", 4 },
        { "\x1f\x8b", "a gzip file; unpack it with zcat", 2 },
        { "\x28\xb5\x2f\xfd", "compressed by zstd; a jrl stream needs no import, JSON lines are unpacked by zstd -dc", 4 },
        { "[", "one JSON array; jq -c '.[]' makes JSON lines of it", 1 },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (len_bytes >= known[i].len && !memcmp(text, known[i].magic, known[i].len))
            return known[i].what;
    return NULL;
}

static bool is_key(const struct jrl_field *f, const char *key)
{
    return f->key_len == strlen(key) && !memcmp(f->key, key, f->key_len);
}

static bool is_used(const struct jrl_row *row, const struct jrl_field *f)
{
    for (int i = 0; i < row->n_used; i++)
        if (is_key(f, row->used[i]))
            return true;
    return false;
}

/* reward_model without its ground truth, which is the record's answer; false when nothing remains. */
static bool pack_rest(struct jrl_buffer *out, struct jrl_value map)
{
    const uint8_t *cursor;
    size_t n = jrl_value_begin(map, &cursor), kept = 0;
    struct jrl_buffer pairs = { 0 };

    for (size_t i = 0; i + 1 < n; i += 2) {
        struct jrl_value k = jrl_value_next(&cursor), v = jrl_value_next(&cursor);
        const char *name;
        size_t len;

        if (jrl_value_str(k, &name, &len) && len == 12 && !memcmp(name, "ground_truth", 12))
            continue;
        jrl_buffer_append(&pairs, k.data, k.len_bytes);
        jrl_buffer_append(&pairs, v.data, v.len_bytes);
        kept++;
    }
    if (kept) {
        jrl_pack_map(out, kept);
        jrl_buffer_append(out, pairs.data, pairs.len);
    }
    jrl_buffer_release(&pairs);
    return kept > 0;
}

/* The row's other fields as they are. SOURCE_USED: data_source went into the record's source; TOP: names of fields that
 * went to the record's top level. */
static void set_extra(struct jrl_record *rec, const struct jrl_row *row, const struct jrl_record *fields, bool source_used, bool uid_used,
                      const char *const *top)
{
    struct jrl_buffer pairs = { 0 }, map = { 0 }, rest = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < fields->n_fields; i++) {
        const struct jrl_field *f = &fields->fields[i];
        struct jrl_value v = f->value;
        bool skip = is_used(row, f) || (source_used && is_key(f, "data_source")) || (uid_used && is_key(f, row->response.data ? "id" : "uid"));

        for (const char *const *t = top; !skip && *t; t++)
            skip = is_key(f, *t) && jrl_record_find(rec, *t);
        if (!skip && is_key(f, "reward_model") && jrl_value_type(v) == JRL_MAP) {
            rest.len = 0;
            skip = !pack_rest(&rest, v);
            v = (struct jrl_value){ rest.data, rest.len };
        }
        if (skip)
            continue;
        jrl_pack_str(&pairs, f->key, f->key_len);
        jrl_buffer_append(&pairs, v.data, v.len_bytes);
        n++;
    }
    if (n) {
        jrl_pack_map(&map, n);
        jrl_buffer_append(&map, pairs.data, pairs.len);
        jrl_record_set_value(rec, "extra", (struct jrl_value){ map.data, map.len });
    }
    jrl_buffer_release(&pairs);
    jrl_buffer_release(&map);
    jrl_buffer_release(&rest);
}

/* XXH64 of source, NUL, text. */
static uint64_t hash_of(const char *source, size_t source_len, const char *text, size_t len_bytes)
{
    struct jrl_buffer key = { 0 };
    uint64_t h;

    jrl_buffer_append(&key, source, source_len);
    jrl_buffer_append_byte(&key, 0);
    jrl_buffer_append(&key, text, len_bytes);
    h = jrl_xxh64(key.data, key.len);
    jrl_buffer_release(&key);
    return h;
}

/* The identity that the row gives: `uid` of a problem, `id` of a response when it is a number. *given false: made here. */
static uint64_t identity(const struct jrl_row *row, const struct jrl_record *fields, struct jrl_text source, int64_t line, bool *given)
{
    const struct jrl_field *f = jrl_record_find(fields, row->response.data ? "id" : "uid");
    const char *text;
    char number[24];
    uint64_t uid;
    size_t len;

    *given = f && jrl_value_type(f->value) != JRL_FLOAT64 && jrl_value_u64(f->value, &uid);
    if (*given)
        return uid;
    if (row->response.data && f && jrl_value_str(f->value, &text, &len))
        return jrl_xxh64(text, len);
    if (row->problem.data)
        return hash_of(source.data, source.len_bytes, row->problem.data, row->problem.len_bytes);
    len = (size_t)snprintf(number, sizeof number, "%lld", (long long)line);
    return hash_of(source.data, source.len_bytes, number, len);
}

static void set_text(struct jrl_record *rec, const char *key, struct jrl_text text)
{
    jrl_record_set_str(rec, key, text.data, text.len_bytes);
}

/* What rows of responses may say about the rollout itself. */
static void set_rollout(struct jrl_record *rec, const struct jrl_row *row, const struct jrl_record *fields)
{
    static const char *const counts[] = { "sample", "samples" };
    const struct jrl_field *f;
    const char *text;
    int64_t n;
    size_t len;

    for (int i = 0; i < 2; i++)
        if ((f = jrl_record_find(fields, counts[i])) && jrl_value_type(f->value) != JRL_FLOAT64 && jrl_value_i64(f->value, &n))
            jrl_record_set_i64(rec, counts[i], n);
    if ((f = jrl_record_find(fields, "finish")) && jrl_value_str(f->value, &text, &len) &&
        ((len == 4 && !memcmp(text, "stop", 4)) || (len == 6 && !memcmp(text, "length", 6))))
        jrl_record_set_str(rec, "finish", text, len);
    set_text(rec, "text", row->response);
}

void jrl_import_record(struct jrl_record *rec, const struct jrl_import *import, const struct jrl_row *row,
                       const struct jrl_record *fields, int64_t line)
{
    static const char *const rollout_fields[] = { "sample", "samples", "finish", NULL }, *const none[] = { NULL };
    const char *named = import->source ? import->source : row->source.data ? NULL : import->default_source;
    struct jrl_text source = named ? (struct jrl_text){ named, strlen(named) } : row->source;
    bool given;
    uint64_t uid = identity(row, fields, source, line, &given);

    jrl_record_clear(rec);
    jrl_record_set_u64(rec, "uid", uid);
    set_text(rec, "source", source);
    if (row->problem.data) {
        struct jrl_buffer prompt = { 0 };

        set_text(rec, "problem", row->problem);
        jrl_buffer_append(&prompt, row->problem.data, row->problem.len_bytes);
        jrl_buffer_append(&prompt, import->suffix.data, import->suffix.len_bytes);
        jrl_record_set_str(rec, "prompt", prompt.data ? (const char *)prompt.data : "", prompt.len);
        jrl_buffer_release(&prompt);
    }
    if (import->system)
        jrl_record_set_str(rec, "system", import->system, strlen(import->system));
    else if (row->system.data)
        set_text(rec, "system", row->system);
    jrl_record_set_value(rec, "answer", row->answer);
    if (row->response.data)
        set_rollout(rec, row, fields);
    set_extra(rec, row, fields, !named, given, row->response.data ? rollout_fields : none);
}
