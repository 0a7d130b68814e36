/* resume.c - reads whole groups until the stream ends or breaks. */
#include "data/resume.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first word of HAVE that is not that of WANT, as "seed=1 where this run has seed=2". */
static int fail_difference(const char *path, const char *have, const char *want, struct jrl_error *err)
{
    size_t i = 0, start = 0;

    for (; have[i] && have[i] == want[i]; i++)
        start = have[i] == ' ' ? i + 1 : start;
    return jrl_fail(err, JRL_ERR_INPUT, "cannot resume from '%s': it was made with %.*s, this run has %.*s", path,
                    (int)strcspn(have + start, " "), have + start, (int)strcspn(want + start, " "), want + start);
}

static int check_header(struct jrl_resume *r, const char *key, const char *want, struct jrl_error *err)
{
    const char *text;
    size_t len;
    char *have;
    int rc = JRL_OK;

    if (jrl_record_str(jrl_reader_header(r->reader), key, &text, &len, NULL) < 0)
        return jrl_fail(err, JRL_ERR_INPUT, "cannot resume from '%s': its header has no '%s'; is it an output of this program?", r->path, key);
    have = jrl_xstrndup(text, len);
    if (strcmp(have, want) != 0)
        rc = fail_difference(r->path, have, want, err);
    free(have);
    return rc;
}

int jrl_resume_open(struct jrl_resume *r, const char *path, const char *key, const char *want, struct jrl_error *err)
{
    int rc;

    *r = (struct jrl_resume){ .fd = open(path, O_RDONLY | O_CLOEXEC), .path = jrl_xstrdup(path) };
    if (r->fd < 0)
        return jrl_fail_errno(err, JRL_ERR_INPUT, "cannot open '%s'", path);
    if ((rc = jrl_reader_new(&r->reader, r->fd, path, NULL, err)) < 0 || (rc = check_header(r, key, want, err)) < 0)
        return rc;
    return jrl_resume_next(r, err);
}

void jrl_resume_close(struct jrl_resume *r)
{
    if (!r->path)
        return;
    jrl_group_release(&r->group);
    jrl_reader_free(r->reader);
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    *r = (struct jrl_resume){ 0 };
}

int jrl_resume_next(struct jrl_resume *r, struct jrl_error *err)
{
    struct jrl_record rec = { 0 };
    struct jrl_error cut = { 0 };
    int rc = JRL_OK;

    jrl_group_clear(&r->group);
    while (!jrl_group_complete(&r->group)) {
        rc = jrl_reader_next(r->reader, &rec, &cut);
        if (rc < 0 && jrl_reader_good(r->reader) < jrl_reader_record(r->reader)) {
            rc = jrl_fail(err, JRL_ERR_INPUT, "cannot resume: %s", cut.text);
            break;
        }
        /* A cut stream is what this is for: what comes after its last whole group is sampled again. */
        if (rc < 0 || rc == JRL_EOF) {
            jrl_group_clear(&r->group);
            rc = JRL_OK;
            break;
        }
        if (rc != JRL_OK)
            continue;
        if ((rc = jrl_group_add(&r->group, &rec, err)) < 0) {
            rc = jrl_fail_prefix(err, "'%s'", r->path);
            break;
        }
    }
    r->n_taken += rc == JRL_OK && r->group.n > 0;
    jrl_record_release(&rec);
    return rc < 0 ? rc : JRL_OK;
}

int jrl_resume_find(struct jrl_resume *r, const struct jrl_group_key *key)
{
    return r->group.n > 0 && jrl_group_key_same(&r->group.key, key) ? JRL_OK : JRL_EOF;
}

int jrl_resume_end(struct jrl_resume *r, struct jrl_error *err)
{
    char name[JRL_GROUP_NAME_SIZE];

    if (r->group.n == 0)
        return JRL_OK;
    return jrl_fail(err, JRL_ERR_INPUT, "cannot resume from '%s': its group of %s is not the next one of the input", r->path,
                    jrl_group_key_name(&r->group.key, name));
}
