/* chat_known.c - the templates that are known, and the comparison of a policy's template with them.
 * Short ones are written out. The long ones of Qwen2.5 and DeepSeek-R1, most of which is about tools,
 * are digests of their units: `test_chat --digests FILE` prints them for a template. */
#include "text/chat_known.h"

#include <string.h>

#include "text/template.h"

struct known {
    enum jrl_format format;
    const char *name;
    const char *source;        /* NULL: digests */
    const uint32_t *digests;
    size_t n_digests;
    uint32_t generation;       /* not 0: the digest of the last unit but one, in place of the list's */
};

#define GENERATION "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
#define DEFAULT_SYSTEM "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n\1<|im_end|>\n' }}{% endif %}"
#define TURN "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
#define LLAMA_3 \
    "{% set loop_messages = messages %}{% for message in loop_messages %}" \
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}" \
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
#define LLAMA_3_GENERATION "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"

static const uint32_t qwen_2_5[] = {
    0xb0ce9ed5, 0x37a0af02, 0x92b73a81, 0x88801bd7, 0xbfc17615, 0x12a309b8, 0x8ee3ee5f, 0xcb58aaf7,
    0xeebee79f, 0xc4c3b439, 0x19ad173a, 0x720762dd, 0x3e8b4daa, 0xbfc17615, 0x92b73a81, 0x0e40969b,
    0xbfc17615, 0x3e1c7fd4, 0x8ee3ee5f, 0x8ee3ee5f, 0xfab13631, 0xc89a1fe4, 0x8d1bb889, 0x33368abd,
    0x61c672dc, 0x1f6966f0, 0x71f10772, 0x8ee3ee5f, 0x601cf60f, 0x34cbad04, 0xc3816ff6, 0x8ee3ee5f,
    0xe94608e5, 0x1077e61d, 0x1cf22846, 0xc32db0aa, 0x6659c319, 0x720762dd, 0xe122a291, 0x62b2716b,
    0x6da2253e, 0xb46f707e, 0x8ee3ee5f, 0x6b3c59c4, 0x9bbaf425, 0x820cfd23, 0xe4b65c03, 0xe122a291,
    0x8ee3ee5f, 0x8ee3ee5f, 0x720762dd, 0x973a5607, 0x8ab38374, 0x8ee3ee5f,
};
static const uint32_t deepseek_r1[] = {
    0x66476086, 0xf2498938, 0x8ee3ee5f, 0x1ffb7089, 0xfab13631, 0x4d6e6d3a, 0xaf2a30dd, 0x8ee3ee5f,
    0x720762dd, 0xf0941dc7, 0xf5c01f2b, 0xfab13631, 0x0da62582, 0xe6047be1, 0x0ec9f418, 0x8ee3ee5f,
    0x6ff600c2, 0xe6047be1, 0xff049add, 0xb04aaf99, 0xe726e947, 0xd3e59f33, 0xbfc17615, 0x216f5bf2,
    0x5e93e01b, 0x8ee3ee5f, 0x720762dd, 0x8ee3ee5f, 0x9836ecbd, 0x2f5f2dae, 0x7b6ff765, 0xe6047be1,
    0xbfc17615, 0x29ed17d5, 0xee1a8e8e, 0x6f4665a4, 0x8ee3ee5f, 0xddf30919, 0x8ee3ee5f, 0x8ee3ee5f,
    0xf3f20e80, 0xc5076af8, 0x59a2be56, 0x67516c96, 0x1e30956c, 0xbfc17615, 0xcbb4f62f, 0x8ee3ee5f,
    0x8ee3ee5f, 0x720762dd, 0x2f5f2dae, 0x1cdcb1f5, 0x8ee3ee5f, 0x24f49eee, 0xd4518ace, 0x8ee3ee5f,
};

#define DIGESTS(list) NULL, list, sizeof list / sizeof *list

static const struct known known_templates[] = {
    { JRL_FORMAT_CHATML, "ChatML", "{% for message in messages %}" TURN "{% endfor %}" GENERATION, NULL, 0, 0 },
    { JRL_FORMAT_CHATML, "Qwen2, SmolLM2", "{% for message in messages %}" DEFAULT_SYSTEM TURN "{% endfor %}" GENERATION, NULL, 0, 0 },
    { JRL_FORMAT_CHATML, "Qwen2.5", DIGESTS(qwen_2_5), 0 },
    { JRL_FORMAT_DEEPSEEK_R1, "DeepSeek-R1", DIGESTS(deepseek_r1), 0 },
    { JRL_FORMAT_DEEPSEEK_R1_OPEN, "DeepSeek-R1 as first published", DIGESTS(deepseek_r1), 0x6792972e },
    { JRL_FORMAT_LLAMA_3, "Llama-3", LLAMA_3 LLAMA_3_GENERATION, NULL, 0, 0 },
    { JRL_FORMAT_LLAMA_3, "Llama-3", LLAMA_3 "{% if add_generation_prompt %}" LLAMA_3_GENERATION "{% endif %}", NULL, 0, 0 },
};

/* The known template taken apart as far as we have it: its text, or the digests alone. */
static size_t n_units(const struct known *k, const struct jrl_template *parsed)
{
    return k->source ? parsed->n_units : k->n_digests;
}

static uint32_t digest(const struct known *k, const struct jrl_template *parsed, size_t unit)
{
    if (k->source)
        return jrl_template_digest(parsed, unit);
    return k->generation && unit + 2 == k->n_digests ? k->generation : k->digests[unit];
}

/* Up to 60 bytes of a unit for a message, with line breaks shown. */
static void append_shown(struct jrl_buffer *out, const char *text, size_t len_bytes)
{
    size_t n = len_bytes;

    if (n > 60)
        for (n = 60; n > 0 && (text[n] & 0xC0) == 0x80;)
            n--;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            jrl_buffer_append_str(out, "\\n");
        else if (text[i] == 1)
            jrl_buffer_append_str(out, "...");
        else
            jrl_buffer_append_byte(out, (uint8_t)text[i]);
    }
    if (n < len_bytes)
        jrl_buffer_append_str(out, "...");
}

/* The message for a template that shares its first SAME units with the nearest known one. */
static int fail_unknown(const struct jrl_template *t, const char *source, const struct known *k, const struct jrl_template *parsed,
                        size_t same, const char *where, struct jrl_error *err)
{
    const struct jrl_template_unit *u = &t->units[same], *v = k->source && same < parsed->n_units ? &parsed->units[same] : NULL;
    struct jrl_buffer text = { 0 };
    size_t skip = 0;
    int rc;

    if (same == t->n_units) {
        jrl_buffer_append_str(&text, "it ends early");
    } else if (!v) {
        jrl_buffer_printf(&text, "at byte %zu it has \"", u->begin);
        append_shown(&text, source + u->begin, u->end - u->begin);
        jrl_buffer_append_str(&text, "\"");
    } else {
        const char *got = (const char *)t->canonical.data + u->text, *want = (const char *)parsed->canonical.data + v->text;

        /* Long tags that differ far in: leave out what is the same, but for a few words. */
        while (skip < u->len_bytes && skip < v->len_bytes && got[skip] == want[skip])
            skip++;
        for (skip = skip < 40 ? 0 : skip - 20; (got[skip] & 0xC0) == 0x80;)
            skip++;
        jrl_buffer_printf(&text, "in the tag at byte %zu it has \"", u->begin);
        append_shown(&text, got + skip, u->len_bytes - skip);
        jrl_buffer_append_str(&text, "\" for \"");
        append_shown(&text, want + skip, v->len_bytes - skip);
        jrl_buffer_append_str(&text, "\"");
    }
    rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': unknown chat_template; nearest is that of %s, but %s; choose one with --template %s", where,
                  k->name, jrl_buffer_str(&text), jrl_chat_names);
    jrl_buffer_release(&text);
    return rc;
}

int jrl_chat_recognise(struct jrl_chat *chat, const char *source, const char *where, struct jrl_error *err)
{
    enum { N_KNOWN = sizeof known_templates / sizeof *known_templates };
    struct jrl_template t = { 0 }, parsed[N_KNOWN] = { 0 };
    size_t nearest = 0, most = 0;
    int rc = jrl_template_parse(&t, source, strlen(source), err);

    if (rc < 0) {
        jrl_fail_prefix(err, "'%s'", where);
        goto out;
    }
    for (size_t i = 0; i < N_KNOWN; i++) {
        const struct known *k = &known_templates[i];
        size_t same = 0, n;

        if (k->source && (rc = jrl_template_parse(&parsed[i], k->source, strlen(k->source), err)) < 0)
            goto out;
        n = n_units(k, &parsed[i]);
        while (same < n && same < t.n_units && digest(k, &parsed[i], same) == jrl_template_digest(&t, same))
            same++;
        if (same == n && same == t.n_units) {
            chat->format = &jrl_chat_formats[k->format];
            chat->default_system = t.system;
            t.system = NULL;
            goto out;
        }
        if (same > most) {
            most = same;
            nearest = i;
        }
    }
    rc = fail_unknown(&t, source, &known_templates[nearest], &parsed[nearest], most, where, err);
out:
    jrl_template_release(&t);
    for (size_t i = 0; i < N_KNOWN; i++)
        jrl_template_release(&parsed[i]);
    return rc;
}
