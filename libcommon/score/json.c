/* json.c - a report as one line of JSON; see layouts.h. */
#include <stdlib.h>

#include "base/utf8.h"
#include "score/layouts.h"

int jrl_layout_json(const json_t *report, struct jrl_buffer *out, struct jrl_error *err)
{
    char *text = json_dumps(report, JSON_COMPACT);
    const char *field;
    json_t *rows;

    if (text) {
        jrl_buffer_append_str(out, text);
        jrl_buffer_append_byte(out, '\n');
        free(text);
        return JRL_OK;
    }
    json_object_foreach(json_object_get(report, "by"), field, rows)
        for (void *at = json_object_iter(rows); at; at = json_object_iter_next(rows, at)) {
            const char *key = json_object_iter_key(at);
            size_t len = json_object_iter_key_len(at);

            if (jrl_utf8_valid_len(key, len) < len)
                return jrl_fail(err, JRL_ERR_INPUT, "a value of field '%s' is not UTF-8 and cannot be a JSON key", field);
        }
    return jrl_fail(err, JRL_ERR_INPUT, "the name of a verifier is not UTF-8 and cannot stand in JSON");
}
