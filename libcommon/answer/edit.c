/* edit.c - replacing and deleting in a text. */
#include "answer/edit.h"

#include <string.h>

#include "base/unicode.h"

void jrl_edit_release(struct jrl_edit *e)
{
    jrl_buffer_release(&e->text);
    jrl_buffer_release(&e->next);
}

static void note(struct jrl_edit *e, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        e->has[bytes[i] >> 6] |= UINT64_C(1) << (bytes[i] & 63);
}

void jrl_edit_set(struct jrl_edit *e, struct jrl_text text)
{
    e->text.len = 0;
    jrl_buffer_reserve(&e->text, text.len_bytes + 1); /* never without memory, so that a view has an address */
    jrl_buffer_append(&e->text, text.data, text.len_bytes);
    memset(e->has, 0, sizeof(e->has));
    note(e, e->text.data, e->text.len);
}

struct jrl_text jrl_edit_view(const struct jrl_edit *e)
{
    return (struct jrl_text){ (const char *)e->text.data, e->text.len };
}

size_t jrl_edit_find(const struct jrl_edit *e, const char *needle, size_t from)
{
    const uint8_t *p;

    for (const char *c = needle; *c; c++)
        if (!jrl_edit_may_have(e, (uint8_t)*c))
            return SIZE_MAX;
    p = memmem(e->text.data + from, e->text.len - from, needle, strlen(needle));
    return p ? (size_t)(p - e->text.data) : SIZE_MAX;
}

bool jrl_edit_replace(struct jrl_edit *e, const char *from, const char *to)
{
    const size_t n_from = strlen(from), n_to = strlen(to);
    size_t at = jrl_edit_find(e, from, 0), done = 0;

    if (at == SIZE_MAX)
        return false;
    e->next.len = 0;
    jrl_buffer_reserve(&e->next, e->text.len + n_to + 1);
    for (; at != SIZE_MAX; at = jrl_edit_find(e, from, done)) {
        jrl_buffer_append(&e->next, e->text.data + done, at - done);
        jrl_buffer_append(&e->next, to, n_to);
        done = at + n_from;
    }
    jrl_buffer_append(&e->next, e->text.data + done, e->text.len - done);
    const struct jrl_buffer old = e->text;
    e->text = e->next;
    e->next = old;
    note(e, (const uint8_t *)to, n_to);
    return true;
}

void jrl_edit_delete(struct jrl_edit *e, const char *needle)
{
    jrl_edit_replace(e, needle, "");
}

void jrl_edit_keep(struct jrl_edit *e, size_t begin, size_t end)
{
    if (begin > 0)
        memmove(e->text.data, e->text.data + begin, end - begin);
    e->text.len = end - begin;
}

void jrl_edit_trim(struct jrl_edit *e)
{
    const struct jrl_text all = jrl_edit_view(e), trimmed = jrl_unicode_trim(all);
    const size_t begin = (size_t)(trimmed.data - all.data);

    jrl_edit_keep(e, begin, begin + trimmed.len_bytes);
}

void jrl_edit_begin(struct jrl_edit *e)
{
    e->next.len = 0;
    jrl_buffer_reserve(&e->next, e->text.len + 1);
}

void jrl_edit_end(struct jrl_edit *e)
{
    const struct jrl_buffer old = e->text;

    e->text = e->next;
    e->next = old;
    memset(e->has, 0, sizeof(e->has));
    note(e, e->text.data, e->text.len);
}
