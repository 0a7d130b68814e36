/* frames.h - whole frames of a stream compressed by other threads while their writer packs the next ones; they come back in
 * order. Not here: where frames begin and end, and who writes them (writer.c). */
#ifndef JRL_STREAM_FRAMES_H
#define JRL_STREAM_FRAMES_H

#include <stdbool.h>
#include <zstd.h>

#include "base/error.h"
#include "base/memory.h"

/* A context with what every frame has: level, checksum, no larger window than a frame needs. NULL: no memory. */
ZSTD_CCtx *jrl_frame_context(int level);

struct jrl_frames;

int jrl_frames_new(struct jrl_frames **out, int n_threads, int level, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_frames_free(struct jrl_frames *f); /* accepts NULL */

/* Give the contents of one frame, which *contents is rid of. There has to be room: take the oldest one before. */
bool jrl_frames_have_room(const struct jrl_frames *f);
void jrl_frames_give(struct jrl_frames *f, struct jrl_buffer *contents);

/* The oldest frame, compressed, valid until the next call. JRL_EOF: there is none, or (unless WAIT) it is not ready. */
int jrl_frames_take(struct jrl_frames *f, bool wait, const uint8_t **data, size_t *len_bytes, struct jrl_error *err) JRL_MUST_CHECK;

#endif
