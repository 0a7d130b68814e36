/* layouts.h - a report (report.h) as text. Tables are for people and rounded; TSV and JSON have every number in full, under the same
 * names (metrics.h). All write to memory; the tool prints. */
#ifndef JRL_SCORE_LAYOUTS_H
#define JRL_SCORE_LAYOUTS_H

#include <jansson.h>

#include "base/memory.h"

void jrl_layout_table(const json_t *report, struct jrl_buffer *out);    /* aligned columns */
void jrl_layout_markdown(const json_t *report, struct jrl_buffer *out); /* the same tables */
void jrl_layout_tsv(const json_t *report, struct jrl_buffer *out);      /* a header, then a line a row */
int jrl_layout_json(const json_t *report, struct jrl_buffer *out, struct jrl_error *err) JRL_MUST_CHECK; /* one line; keys must be UTF-8 */

#endif
