/* provenance.c - header and chain of headers (jrl-stream(5), "Provenance"). */
#include "tool/provenance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "stream/writer.h"

#define ID_SIZE 17

/* Entries of a chain, each once; the entry with an id that is already there is the same entry. */
struct chain {
    struct jrl_buffer entries;
    size_t n;
    struct jrl_buffer parents; /* packed ids of the last entry of each input */
    size_t n_parents;
};

static struct jrl_value id_of(struct jrl_value entry)
{
    const uint8_t *cursor;

    if (jrl_value_type(entry) == JRL_MAP) {
        for (size_t n = jrl_value_begin(entry, &cursor); n > 0; n -= 2) {
            struct jrl_value key = jrl_value_next(&cursor), value = jrl_value_next(&cursor);
            const char *text;
            size_t len;

            if (jrl_value_str(key, &text, &len) && len == 2 && memcmp(text, "id", 2) == 0)
                return value;
        }
    }
    return (struct jrl_value){ 0 };
}

static bool same(struct jrl_value a, struct jrl_value b)
{
    return a.len_bytes == b.len_bytes && a.len_bytes && memcmp(a.data, b.data, a.len_bytes) == 0;
}

static bool has_entry(const struct chain *chain, struct jrl_value id)
{
    const uint8_t *cursor = chain->entries.data;

    for (size_t i = 0; i < chain->n; i++) {
        if (same(id_of(jrl_value_next(&cursor)), id))
            return true;
    }
    return false;
}

static void add_input(struct chain *chain, const struct jrl_record *input)
{
    const struct jrl_field *prog = jrl_record_find(input, "prog");
    struct jrl_value id = { 0 };
    const uint8_t *cursor;

    if (!prog || jrl_value_type(prog->value) != JRL_LIST)
        return;
    for (size_t n = jrl_value_begin(prog->value, &cursor); n > 0; n--) {
        struct jrl_value entry = jrl_value_next(&cursor);

        id = id_of(entry);
        if (has_entry(chain, id))
            continue;
        jrl_buffer_append(&chain->entries, entry.data, entry.len_bytes);
        chain->n++;
    }
    if (id.len_bytes) {
        jrl_buffer_append(&chain->parents, id.data, id.len_bytes);
        chain->n_parents++;
    }
}

static void add_option(void *ctx, const char *name, const char *value)
{
    struct jrl_record *options = ctx;
    const struct jrl_field *f = jrl_record_find(options, name);
    const char *before;
    size_t len;

    if (f && jrl_value_str(f->value, &before, &len)) { /* a list: its items one behind the other */
        char *joined = jrl_xasprintf("%.*s,%s", (int)len, before, value);

        jrl_record_set_str(options, name, joined, strlen(joined));
        free(joined);
        return;
    }
    jrl_record_set_str(options, name, value, strlen(value));
}

static void set_packed(struct jrl_record *rec, const char *key, struct jrl_buffer *b)
{
    jrl_record_set_value(rec, key, (struct jrl_value){ b->data, b->len });
    b->len = 0;
}

/* Append this tool's own entry; its id is the digest of everything else in it. */
static void add_own(struct chain *chain, const struct jrl_tool *tool, const struct jrl_record *notes)
{
    struct jrl_record entry = { 0 }, options = { 0 };
    struct jrl_buffer b = { 0 };
    char id[ID_SIZE];

    jrl_record_set_str(&entry, "tool", tool->name, strlen(tool->name));
    jrl_record_set_str(&entry, "version", jrl_cli_version(), strlen(jrl_cli_version()));
    jrl_pack_list(&b, (size_t)jrl_common.argc);
    for (int i = 0; i < jrl_common.argc; i++)
        jrl_pack_str(&b, jrl_common.argv[i], strlen(jrl_common.argv[i]));
    set_packed(&entry, "argv", &b);
    jrl_cli_each(add_option, &options);
    jrl_record_encode(&options, &b);
    set_packed(&entry, "options", &b);
    for (size_t i = 0; i < notes->n_fields; i++) {
        char *key = jrl_xstrndup(notes->fields[i].key, notes->fields[i].key_len);

        jrl_record_set_value(&entry, key, notes->fields[i].value);
        free(key);
    }
    jrl_pack_list(&b, chain->n_parents);
    jrl_buffer_append(&b, chain->parents.data, chain->parents.len);
    set_packed(&entry, "parents", &b);

    jrl_record_encode(&entry, &b);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)jrl_xxh64(b.data, b.len));
    jrl_pack_map(&chain->entries, entry.n_fields + 1);
    jrl_pack_str(&chain->entries, "id", 2);
    jrl_pack_str(&chain->entries, id, strlen(id));
    for (size_t i = 0; i < entry.n_fields; i++) {
        jrl_pack_str(&chain->entries, entry.fields[i].key, entry.fields[i].key_len);
        jrl_buffer_append(&chain->entries, entry.fields[i].value.data, entry.fields[i].value.len_bytes);
    }
    chain->n++;
    jrl_buffer_release(&b);
    jrl_record_release(&entry);
    jrl_record_release(&options);
}

static void set_fields(struct jrl_record *to, const struct jrl_record *from)
{
    for (size_t i = 0; i < from->n_fields; i++) {
        char *key = jrl_xstrndup(from->fields[i].key, from->fields[i].key_len);

        jrl_record_set_value(to, key, from->fields[i].value);
        free(key);
    }
}

void jrl_provenance_header(struct jrl_record *header, const struct jrl_tool *tool, const struct jrl_record *const inputs[],
                           int n_inputs, const char *kind, const struct jrl_record *extra, const struct jrl_record *notes)
{
    struct jrl_buffer prog = { 0 };
    struct chain chain = { 0 };

    jrl_header_init(header, "problem");
    /* Keys we do not know come from a higher minor version or another tool; so does that version. */
    for (int i = n_inputs - 1; i >= 0; i--)
        set_fields(header, inputs[i]);
    if (kind)
        jrl_record_set_str(header, "kind", kind, strlen(kind));
    set_fields(header, extra);

    for (int i = 0; i < n_inputs; i++)
        add_input(&chain, inputs[i]);
    if (jrl_common.provenance)
        add_own(&chain, tool, notes);
    jrl_pack_list(&prog, chain.n);
    jrl_buffer_append(&prog, chain.entries.data, chain.entries.len);
    set_packed(header, "prog", &prog);
    jrl_buffer_release(&prog);
    jrl_buffer_release(&chain.entries);
    jrl_buffer_release(&chain.parents);
}
