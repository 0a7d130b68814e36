/* import.h - rows of other people's data sets into records: the layouts, and what a record is made of.
 * Not here: files, lines, JSON, duplicates, counting (tools/jrl-import.c). */
#ifndef JRL_DATA_IMPORT_H
#define JRL_DATA_IMPORT_H

#include "base/text.h"
#include "stream/record.h"

enum jrl_layout { JRL_LAYOUT_AUTO, JRL_LAYOUT_VERL, JRL_LAYOUT_PROBLEM, JRL_LAYOUT_GSM8K, JRL_LAYOUT_MATH, JRL_LAYOUT_RESPONSES };

/* The names for --format, "verl|problem|...". */
extern const char jrl_layout_names[];
enum jrl_layout jrl_layout_find(const char *name); /* JRL_LAYOUT_AUTO when there is none */
const char *jrl_layout_name(enum jrl_layout layout);

/* What a row says, whatever its layout. data NULL: it does not say. Valid as long as the row's bytes. */
struct jrl_row {
    struct jrl_text source, system, problem, response;
    struct jrl_value answer;
    struct jrl_buffer packed; /* an answer cut out of a text; owned */
    const char *used[8];      /* fields that are not copied to `extra` */
    int n_used;
};
void jrl_row_release(struct jrl_row *row);

/* The layout that the fields of a row show. JRL_ERR_INPUT naming its fields when none does. */
int jrl_layout_detect(enum jrl_layout *layout, const struct jrl_record *fields, struct jrl_error *err) JRL_MUST_CHECK;

/* Read the fields by a layout other than AUTO. JRL_ERR_INPUT naming the field that is missing or unusable. */
int jrl_row_read(struct jrl_row *row, enum jrl_layout layout, const struct jrl_record *fields, struct jrl_error *err) JRL_MUST_CHECK;

/* Narrow problem and answer by the white space at both ends; an answer that is no string stays. */
void jrl_row_trim(struct jrl_row *row);

/* Cut DAPO's own instruction from before and behind a problem; false when neither is there. */
bool jrl_strip_dapo(struct jrl_text *problem);

/* What all records of a run share. */
struct jrl_import {
    const char *source, *default_source; /* for all rows, or NULL: the row's own, else the default */
    const char *system;                  /* for all rows, or NULL: the row's own */
    struct jrl_text suffix;
};

/* Set the fields of a problem (or, with a response, a rollout) in a cleared record. LINE numbers rows that have
 * nothing else to be identified by. */
void jrl_import_record(struct jrl_record *rec, const struct jrl_import *import, const struct jrl_row *row,
                       const struct jrl_record *fields, int64_t line);

/* Append TEXT with \n as a line break and \\ as a backslash; every other backslash stays (\boxed). */
void jrl_unescape(struct jrl_buffer *out, const char *text);

/* What the first bytes of a file that is not JSON lines are, with what to do about it; NULL: nothing we know. */
const char *jrl_import_foreign(const char *text, size_t len_bytes);

#endif
