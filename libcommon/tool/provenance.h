/* provenance.h - the header a tool writes: what it read from, and its own entry in the chain.
 * Private to libcommon/tool. */
#ifndef JRL_TOOL_PROVENANCE_H
#define JRL_TOOL_PROVENANCE_H

#include "stream/record.h"
#include "tool/cli.h"

/* Build a header from those of the input (none for a source). KIND NULL: the first input's. EXTRA: fields
 * to set in the header; NOTES: fields of the tool's own entry. */
void jrl_provenance_header(struct jrl_record *header, const struct jrl_tool *tool, const struct jrl_record *const inputs[],
                           int n_inputs, const char *kind, const struct jrl_record *extra, const struct jrl_record *notes);

#endif
