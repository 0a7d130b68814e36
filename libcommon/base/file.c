/* file.c - whole files in and out. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/signals.h"

/* Of a regular file alone. It is looked at before it is opened: a FIFO would be waited for, for ever. */
static int open_regular(const char *path, struct jrl_error *err)
{
    struct stat st;
    int fd;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s' is not a regular file", path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? jrl_fail_errno(err, JRL_ERR_INPUT, "cannot open '%s'", path) : fd;
}

/* Append what FD holds, and close it. */
static int read_whole(struct jrl_buffer *out, int fd, const char *path, size_t max_bytes, struct jrl_error *err)
{
    size_t start = out->len;
    int rc = JRL_OK;
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t)st.st_size <= max_bytes)
        jrl_buffer_reserve(out, (size_t)st.st_size + 1);
    do {
        jrl_buffer_reserve(out, 4096);
        n = read(fd, out->data + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
        if (n < 0 && errno != EINTR)
            rc = jrl_fail_errno(err, JRL_ERR_INPUT, "cannot read '%s'", path);
        else if (out->len - start > max_bytes)
            rc = jrl_fail(err, JRL_ERR_INPUT, "'%s' is longer than %zu bytes", path, max_bytes);
    } while (rc == JRL_OK && n != 0);
    close(fd);
    return rc;
}

int jrl_file_read(struct jrl_buffer *out, const char *path, size_t max_bytes, struct jrl_error *err)
{
    int fd = open_regular(path, err);

    return fd < 0 ? fd : read_whole(out, fd, path, max_bytes, err);
}

int jrl_file_or_pipe_read(struct jrl_buffer *out, const char *path, size_t max_bytes, struct jrl_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? jrl_fail_errno(err, JRL_ERR_INPUT, "cannot open '%s'", path) : read_whole(out, fd, path, max_bytes, err);
}

int jrl_map_open(struct jrl_map *map, const char *path, struct jrl_error *err)
{
    int fd = open_regular(path, err), rc = JRL_ERR_RUN;
    struct stat st;
    void *data;

    *map = (struct jrl_map){ 0 };
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0) {
        rc = jrl_fail_errno(err, JRL_ERR_INPUT, "cannot read '%s'", path);
        goto out;
    }
    if (st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot map '%s'", path);
            goto out;
        }
        map->data = data;
        map->size = (size_t)st.st_size;
    }
    rc = JRL_OK;
out:
    close(fd);
    return rc;
}

void jrl_map_close(struct jrl_map *map)
{
    if (map->data)
        munmap((void *)map->data, map->size);
    *map = (struct jrl_map){ 0 };
}

/* The folder part of PATH ("." when it has none); the caller frees. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return jrl_xstrdup(".");
    return jrl_xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int jrl_tempfile_open(struct jrl_tempfile *t, const char *path, struct jrl_error *err)
{
    static unsigned counter;
    char *real = realpath(path, NULL), *folder, *name;

    *t = (struct jrl_tempfile)JRL_TEMPFILE_INIT;
    t->path = real ? real : jrl_xstrdup(path);
    folder = folder_of(t->path);
    name = strrchr(t->path, '/') ? strrchr(t->path, '/') + 1 : t->path;
    for (int tries = 0; tries < 1000 && t->fd < 0; tries++) {
        free(t->temp_path);
        t->temp_path = jrl_xasprintf("%s/.%.200s.%ld-%u.tmp", folder, name, (long)getpid(),
                                     __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED));
        if (access(t->temp_path, F_OK) == 0) /* left behind by a killed process of the same number */
            continue;
        /* Registered before it exists: a signal in between finds nothing to remove, not a leftover. */
        t->slot = jrl_signals_register(t->temp_path);
        if (t->slot < 0) {
            errno = EMFILE;
            break;
        }
        t->fd = open(t->temp_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (t->fd < 0) {
            jrl_signals_forget(t->slot);
            t->slot = -1;
            if (errno != EEXIST)
                break;
        }
    }
    free(folder);
    if (t->fd < 0) {
        jrl_fail_errno(err, JRL_ERR_RUN, "cannot create a temporary file for '%s'", path);
        jrl_tempfile_abort(t);
        return JRL_ERR_RUN;
    }
    return JRL_OK;
}

int jrl_tempfile_commit(struct jrl_tempfile *t, struct jrl_error *err)
{
    char *folder = NULL;
    int fd, rc = JRL_ERR_RUN;

    if (fsync(t->fd) < 0) {
        jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", t->path);
        goto out;
    }
    fd = t->fd;
    t->fd = -1;
    if (close(fd) < 0) {
        jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", t->path);
        goto out;
    }
    if (rename(t->temp_path, t->path) < 0) {
        jrl_fail_errno(err, JRL_ERR_RUN, "cannot rename '%s' to '%s'", t->temp_path, t->path);
        goto out;
    }
    jrl_signals_forget(t->slot);
    t->slot = -1;
    free(t->temp_path);
    t->temp_path = NULL;
    folder = folder_of(t->path);
    rc = jrl_fsync_folder(folder, err);
out:
    free(folder);
    jrl_tempfile_abort(t);
    return rc;
}

void jrl_tempfile_abort(struct jrl_tempfile *t)
{
    if (t->fd >= 0)
        close(t->fd);
    if (t->slot >= 0) {
        unlink(t->temp_path);
        jrl_signals_forget(t->slot);
    }
    free(t->temp_path);
    free(t->path);
    *t = (struct jrl_tempfile)JRL_TEMPFILE_INIT;
}

int jrl_write_all(int fd, const void *data, size_t len_bytes, const char *path, struct jrl_error *err)
{
    const uint8_t *p = data;

    while (len_bytes > 0) {
        ssize_t n = write(fd, p, len_bytes);

        if (n < 0 && errno == EAGAIN) {
            /* A descriptor shared with a program that made it non-blocking. */
            struct pollfd ready = { .fd = fd, .events = POLLOUT };

            poll(&ready, 1, -1);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", path);
        p += n;
        len_bytes -= (size_t)n;
    }
    return JRL_OK;
}

int jrl_file_write(const char *path, const void *data, size_t len_bytes, struct jrl_error *err)
{
    struct jrl_tempfile t;
    int rc = jrl_tempfile_open(&t, path, err);

    if (rc < 0)
        return rc;
    rc = jrl_write_all(t.fd, data, len_bytes, path, err);
    if (rc < 0) {
        jrl_tempfile_abort(&t);
        return rc;
    }
    return jrl_tempfile_commit(&t, err);
}

int jrl_fsync_folder(const char *path, struct jrl_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = JRL_OK;

    if (fd < 0)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot open folder '%s'", path);
    /* Some file systems cannot sync a folder and say EINVAL; there is nothing more to do then. */
    if (fsync(fd) < 0 && errno != EINVAL)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot sync folder '%s'", path);
    close(fd);
    return rc;
}

int jrl_make_folder(const char *path, struct jrl_error *err)
{
    char *partial = jrl_xstrdup(path);
    struct stat st;
    int rc = JRL_OK;

    for (char *p = partial + 1; *p && rc == JRL_OK; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(partial, 0777) < 0 && errno != EEXIST)
            rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot create folder '%s'", partial);
        *p = '/';
    }
    if (rc == JRL_OK && mkdir(path, 0777) < 0 && errno != EEXIST)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot create folder '%s'", path);
    if (rc == JRL_OK && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
        rc = jrl_fail(err, JRL_ERR_RUN, "cannot create folder '%s': a file of that name is there", path);
    free(partial);
    return rc;
}

int jrl_can_make(const char *path, struct jrl_error *err)
{
    char *folder = jrl_xstrdup(path), *slash;
    const char *where = NULL;
    int rc = JRL_OK;

    while (!where) {
        slash = strrchr(folder, '/');
        if (!slash || slash == folder)
            where = slash ? "/" : ".";
        else {
            *slash = '\0';
            if (access(folder, F_OK) == 0 || errno != ENOENT)
                where = folder;
        }
    }
    if (access(where, W_OK | X_OK) < 0)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot make '%s': folder '%s'", path, where);
    free(folder);
    return rc;
}

int jrl_remove_tree(const char *path, struct jrl_error *err)
{
    char *start[2] = { (char *)path, NULL };
    struct stat st;
    FTSENT *entry;
    FTS *tree;
    int rc = JRL_OK;

    if (lstat(path, &st) < 0 && errno == ENOENT)
        return JRL_OK;
    tree = fts_open(start, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    if (!tree)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot remove '%s'", path);
    while (rc == JRL_OK && (entry = fts_read(tree)) != NULL) {
        if (entry->fts_info == FTS_D)
            continue;
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR) {
            errno = entry->fts_errno;
            rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot remove '%s'", entry->fts_path);
        } else if ((entry->fts_info == FTS_DP ? rmdir(entry->fts_path) : unlink(entry->fts_path)) < 0) {
            rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot remove '%s'", entry->fts_path);
        }
    }
    fts_close(tree);
    return rc;
}

char *jrl_path_join(const char *folder, const char *name)
{
    size_t len = strlen(folder);

    return jrl_xasprintf("%s%s%s", folder, len > 0 && folder[len - 1] == '/' ? "" : "/", name);
}
