/* json.c - jansson with messages that name file and key. */
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

int jrl_json_parse(json_t **out, const char *text, size_t len, const char *where, struct jrl_error *err)
{
    json_error_t fault;

    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);
    if (!*out)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s' is not valid JSON: line %d, column %d: %s", where, fault.line,
                        fault.column, fault.text);
    return JRL_OK;
}

int jrl_json_read_file(json_t **out, const char *path, size_t max_bytes, struct jrl_error *err)
{
    struct jrl_buffer text = { 0 };
    int rc;

    *out = NULL;
    rc = jrl_file_read(&text, path, max_bytes, err);
    if (rc == JRL_OK)
        rc = jrl_json_parse(out, text.len ? (const char *)text.data : "", text.len, path, err);
    jrl_buffer_release(&text);
    return rc;
}

/* The value of KEY, or NULL when it is missing or null. */
static const json_t *optional(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

int jrl_json_get_i64(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *out, const char *where,
                     struct jrl_error *err)
{
    const json_t *value = optional(object, key);

    if (!value)
        return JRL_OK;
    if (!json_is_integer(value))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': '%s' is not an integer", where, key);
    if (json_integer_value(value) < min || json_integer_value(value) > max)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': '%s' is %" JSON_INTEGER_FORMAT ", not in %" PRId64 "..%" PRId64,
                        where, key, json_integer_value(value), min, max);
    *out = json_integer_value(value);
    return JRL_OK;
}

int jrl_json_get_f64(const json_t *object, const char *key, double *out, const char *where, struct jrl_error *err)
{
    const json_t *value = optional(object, key);

    if (!value)
        return JRL_OK;
    if (!json_is_number(value))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': '%s' is not a number", where, key);
    *out = json_number_value(value);
    return JRL_OK;
}

int jrl_json_get_bool(const json_t *object, const char *key, bool *out, const char *where, struct jrl_error *err)
{
    const json_t *value = optional(object, key);

    if (!value)
        return JRL_OK;
    if (!json_is_boolean(value))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': '%s' is not true or false", where, key);
    *out = json_is_true(value);
    return JRL_OK;
}

int jrl_json_get_str(const json_t *object, const char *key, const char **out, const char *where, struct jrl_error *err)
{
    const json_t *value = optional(object, key);

    if (!value)
        return JRL_OK;
    if (!json_is_string(value))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': '%s' is not a string", where, key);
    *out = json_string_value(value);
    return JRL_OK;
}
