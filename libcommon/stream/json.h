/* json.h - the JSON form of values (jrl-stream(5), "JSON form"), both ways and without loss.
 * Not base/json.h: no tree is built, integers have 64 bits with and without sign, and what JSON lacks is
 * tagged. */
#ifndef JRL_STREAM_JSON_H
#define JRL_STREAM_JSON_H

#include "stream/record.h"

/* Append the JSON form of a walked value. PLAIN is for people and jq, not for the way back: number arrays
 * become lists, bytes that are not UTF-8 become U+FFFD, and no key is escaped. */
void jrl_value_to_json(struct jrl_value v, bool plain, struct jrl_buffer *out);
void jrl_record_to_json(const struct jrl_record *r, bool plain, struct jrl_buffer *out);
void jrl_key_to_json(const char *key, size_t len, bool plain, struct jrl_buffer *out);

/* Append the value that one whole JSON text stands for. TAGS: objects with a key that begins with "$"
 * are the tagged forms; without, every key is taken as it is (data of others). JRL_ERR_INPUT with the
 * column for what is not valid JSON, UTF-8, a repeated key, or a number that 64 bits cannot hold. */
int jrl_json_to_value(const char *text, size_t len, bool tags, struct jrl_buffer *out, struct jrl_error *err) JRL_MUST_CHECK;

void jrl_base64_encode(const uint8_t *data, size_t len, struct jrl_buffer *out);
bool jrl_base64_decode(const char *text, size_t len, struct jrl_buffer *out);

#endif
