/* json_parser.h - the cursor that json_in.c and json_tags.c share. Private to this room. */
#ifndef JRL_STREAM_JSON_PARSER_H
#define JRL_STREAM_JSON_PARSER_H

#include "stream/json.h"

struct jrl_parser {
    const char *text;
    size_t at, len;
    bool tags;
    int depth;
    struct jrl_buffer *out;
    struct jrl_buffer scratch; /* a string, unescaped */
    struct jrl_error *err;
};

#define JRL_NUMBER_DIGITS 400 /* more than any double needs exactly written out near 1 */

int jrl_parser_bad(struct jrl_parser *p, const char *what); /* fails with the column */
void jrl_parser_skip_space(struct jrl_parser *p);
int jrl_parser_peek(struct jrl_parser *p); /* the next byte that is not space, or -1 */
bool jrl_parser_take(struct jrl_parser *p, char c); /* past it when it is next */

/* The string at the cursor, unescaped into scratch. */
int jrl_parser_string(struct jrl_parser *p) JRL_MUST_CHECK;

/* The number at the cursor as text with an end; NULL: not a number. */
const char *jrl_parser_number(struct jrl_parser *p, char copy[JRL_NUMBER_DIGITS + 1], bool *is_float);

/* Behind the key of a tagged form, which scratch holds: the value and the closing brace. */
int jrl_parser_tagged(struct jrl_parser *p) JRL_MUST_CHECK;

#endif
