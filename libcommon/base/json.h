/* json.h - JSON by jansson, with the messages our users need: which file, which key, what was
 * expected. Getters return a negative status and name WHERE (a path or "config.json") and the key. */
#ifndef JRL_BASE_JSON_H
#define JRL_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Parse a whole file of at most max_bytes; *out is owned by the caller (json_decref). Duplicate
 * keys, invalid UTF-8 and trailing text are errors with line and column. */
int jrl_json_read_file(json_t **out, const char *path, size_t max_bytes, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_json_parse(json_t **out, const char *text, size_t len, const char *where, struct jrl_error *err) JRL_MUST_CHECK;

/* Optional values: a missing key or null leaves *out unchanged; a wrong type is an error. */
int jrl_json_get_i64(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *out, const char *where, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_json_get_f64(const json_t *object, const char *key, double *out, const char *where, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_json_get_bool(const json_t *object, const char *key, bool *out, const char *where, struct jrl_error *err) JRL_MUST_CHECK;
/* *out borrowed from the object. */
int jrl_json_get_str(const json_t *object, const char *key, const char **out, const char *where, struct jrl_error *err) JRL_MUST_CHECK;

#endif
