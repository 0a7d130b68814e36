/* spool.c - a temporary stream without a name; see spool.h. It is a record stream like any other, so it is compressed and what is
 * read back is checked. */
#include "data/spool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream/reader.h"
#include "stream/writer.h"

enum { FAST_LEVEL = 1 };

struct jrl_spool {
    int fd;
    char *name; /* for messages */
    struct jrl_writer *writer; /* NULL while reading */
    struct jrl_reader *reader; /* NULL while writing */
};

int jrl_spool_new(struct jrl_spool **out, struct jrl_error *err)
{
    const char *folder = getenv("TMPDIR");
    struct jrl_spool *s = jrl_xcalloc(1, sizeof(*s));
    char *path = jrl_xasprintf("%s/jrl-spool.XXXXXX", folder && *folder ? folder : "/tmp");

    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0) {
        jrl_fail_errno(err, JRL_ERR_RUN, "cannot make the temporary file '%s'; TMPDIR names the folder to use", path);
        free(path);
        free(s);
        return JRL_ERR_RUN;
    }
    unlink(path);
    s->name = path;
    *out = s;
    return JRL_OK;
}

void jrl_spool_free(struct jrl_spool *spool)
{
    if (!spool)
        return;
    jrl_writer_free(spool->writer);
    jrl_reader_free(spool->reader);
    close(spool->fd);
    free(spool->name);
    free(spool);
}

static int begin_writing(struct jrl_spool *s, struct jrl_error *err)
{
    struct jrl_record header = { 0 };
    int rc;

    if ((rc = jrl_writer_new(&s->writer, s->fd, s->name, FAST_LEVEL, err)) < 0)
        return rc;
    jrl_header_init(&header, "rollout");
    rc = jrl_writer_header(s->writer, &header, err);
    jrl_record_release(&header);
    return rc;
}

int jrl_spool_add(struct jrl_spool *spool, const struct jrl_record *rec, struct jrl_error *err)
{
    int rc;

    if (!spool->writer && (rc = begin_writing(spool, err)) < 0)
        return rc;
    return jrl_writer_record(spool->writer, rec, err);
}

int jrl_spool_rewind(struct jrl_spool *spool, struct jrl_error *err)
{
    int rc;

    if (!spool->writer && (rc = begin_writing(spool, err)) < 0)
        return rc;
    if ((rc = jrl_writer_end(spool->writer, err)) < 0)
        return rc;
    jrl_writer_free(spool->writer);
    spool->writer = NULL;
    if (lseek(spool->fd, 0, SEEK_SET) != 0)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot read back '%s'", spool->name);
    return jrl_reader_new(&spool->reader, spool->fd, spool->name, NULL, err);
}

int jrl_spool_next(struct jrl_spool *spool, struct jrl_record *rec, struct jrl_error *err)
{
    return jrl_reader_next(spool->reader, rec, err);
}

int jrl_spool_clear(struct jrl_spool *spool, struct jrl_error *err)
{
    jrl_reader_free(spool->reader);
    spool->reader = NULL;
    jrl_writer_free(spool->writer);
    spool->writer = NULL;
    if (lseek(spool->fd, 0, SEEK_SET) != 0 || ftruncate(spool->fd, 0) < 0)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot empty '%s'", spool->name);
    return JRL_OK;
}
