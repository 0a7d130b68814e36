/* file.h - whole files in and out: reading, mapping, and writing so that a final name is always
 * whole (temporary name in the same folder, flush, fsync, rename, fsync of the folder). */
#ifndef JRL_BASE_FILE_H
#define JRL_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

/* Append the whole of PATH to *out; JRL_ERR_INPUT when it is longer than max_bytes, unreadable or no regular file. */
int jrl_file_read(struct jrl_buffer *out, const char *path, size_t max_bytes, struct jrl_error *err) JRL_MUST_CHECK;
/* The same for a PATH that a person named, which may be a pipe, such as bash's <(COMMAND). */
int jrl_file_or_pipe_read(struct jrl_buffer *out, const char *path, size_t max_bytes, struct jrl_error *err) JRL_MUST_CHECK;

/* A read-only mapping of a whole regular file. An empty file maps to data NULL, size 0. */
struct jrl_map {
    const uint8_t *data;
    size_t size;
};
int jrl_map_open(struct jrl_map *map, const char *path, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_map_close(struct jrl_map *map); /* safe on a zeroed map */

/* Write a file under a temporary name beside PATH. `_open` returns a file descriptor to write to;
 * `_commit` fsyncs, renames onto PATH and fsyncs the folder; `_abort` removes the temporary file.
 * While open, the temporary name is registered: a fatal signal or exit() removes it. A PATH that is
 * a link is followed: the file it names is replaced, not the link. */
struct jrl_tempfile {
    int fd;          /* -1 when not open */
    int slot;        /* in the list of base/signals.h */
    char *temp_path; /* owned */
    char *path;      /* owned */
};
#define JRL_TEMPFILE_INIT { -1, -1, NULL, NULL }
int jrl_tempfile_open(struct jrl_tempfile *t, const char *path, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_tempfile_commit(struct jrl_tempfile *t, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_tempfile_abort(struct jrl_tempfile *t);

/* Write all LEN bytes to FD, retrying short writes. Names PATH in the message. */
int jrl_write_all(int fd, const void *data, size_t len_bytes, const char *path, struct jrl_error *err) JRL_MUST_CHECK;

/* One small file, whole or not at all. */
int jrl_file_write(const char *path, const void *data, size_t len_bytes, struct jrl_error *err) JRL_MUST_CHECK;

int jrl_fsync_folder(const char *path, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_make_folder(const char *path, struct jrl_error *err) JRL_MUST_CHECK; /* with its parents; existing is fine */
/* Whether PATH could be made now, so that hours of work do not end where nothing can be written: the nearest folder that is there. */
int jrl_can_make(const char *path, struct jrl_error *err) JRL_MUST_CHECK;
/* Remove a folder and what is in it; a missing one is fine. Does not follow links. */
int jrl_remove_tree(const char *path, struct jrl_error *err) JRL_MUST_CHECK;

/* Folder + "/" + name; the caller frees. */
char *jrl_path_join(const char *folder, const char *name);

#endif
