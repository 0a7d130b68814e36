/* chat.c - the formats, and encoding a turn in one of them. Recognising a template is chat_known.c. */
#include "text/chat.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/unicode.h"
#include "text/chat_known.h"

enum { MAX_CONFIG_BYTES = 64 << 20 };

const struct jrl_chat_format jrl_chat_formats[] = {
    [JRL_FORMAT_NONE] = { "none", "", NULL, NULL, "", "", "", false },
    [JRL_FORMAT_CHATML] = { "chatml", "", "<|im_start|>system\n", "<|im_end|>\n", "<|im_start|>user\n", "<|im_end|>\n",
                            "<|im_start|>assistant\n", false },
    [JRL_FORMAT_DEEPSEEK_R1] = { "deepseek-r1", "<｜begin▁of▁sentence｜>", "", "", "<｜User｜>", "", "<｜Assistant｜><think>\n", false },
    /* The same as first published, before February 2025: the model opens <think> itself, or not. */
    [JRL_FORMAT_DEEPSEEK_R1_OPEN] = { "deepseek-r1-open", "<｜begin▁of▁sentence｜>", "", "", "<｜User｜>", "", "<｜Assistant｜>", false },
    [JRL_FORMAT_LLAMA_3] = { "llama-3", "<|begin_of_text|>", "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>",
                             "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>",
                             "<|start_header_id|>assistant<|end_header_id|>\n\n", true },
};
const char jrl_chat_names[] = "none|chatml|deepseek-r1|deepseek-r1-open|llama-3";

/* The policy's template, owned by the caller; NULL: it has none. */
static int read_template(char **out, char **path, const char *policy_dir, struct jrl_error *err)
{
    struct jrl_buffer text = { 0 };
    const json_t *value;
    json_t *root = NULL;
    struct stat st;
    int rc;

    *out = NULL;
    *path = jrl_path_join(policy_dir, "chat_template.jinja"); /* newer; it wins over the one in the config */
    if (stat(*path, &st) == 0) {
        rc = jrl_file_read(&text, *path, MAX_CONFIG_BYTES, err);
        if (rc == JRL_OK)
            *out = jrl_xstrdup(jrl_buffer_str(&text));
        jrl_buffer_release(&text);
        return rc;
    }
    free(*path);
    *path = jrl_path_join(policy_dir, "tokenizer_config.json");
    if (stat(*path, &st) < 0)
        return JRL_OK;
    rc = jrl_json_read_file(&root, *path, MAX_CONFIG_BYTES, err);
    value = json_object_get(root, "chat_template");
    for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(item, "name"));

        if (name && !strcmp(name, "default")) {
            value = json_object_get(item, "template");
            break;
        }
    }
    if (rc == JRL_OK && json_is_string(value))
        *out = jrl_xstrdup(json_string_value(value));
    else if (rc == JRL_OK && value && !json_is_null(value))
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': chat_template is not a string; choose one with --template %s", *path, jrl_chat_names);
    json_decref(root);
    return rc;
}

int jrl_chat_open(struct jrl_chat *chat, const char *policy_dir, const char *override, struct jrl_error *err)
{
    char *text = NULL, *path = NULL;
    int rc;

    *chat = (struct jrl_chat){ .format = &jrl_chat_formats[JRL_FORMAT_NONE] };
    if (override) {
        for (size_t i = 0; i < sizeof jrl_chat_formats / sizeof *jrl_chat_formats; i++)
            if (!strcmp(override, jrl_chat_formats[i].name)) {
                chat->format = &jrl_chat_formats[i];
                return JRL_OK;
            }
        return jrl_fail(err, JRL_ERR_USAGE, "unknown template '%s', known are %s", override, jrl_chat_names);
    }
    rc = read_template(&text, &path, policy_dir, err);
    if (rc == JRL_OK && text)
        rc = jrl_chat_recognise(chat, text, path, err);
    free(text);
    free(path);
    return rc;
}

void jrl_chat_release(struct jrl_chat *chat)
{
    free(chat->default_system);
    chat->default_system = NULL;
}

/* Every token of a piece of markup must be one token, or the model sees spelled-out markup. */
static int check_markup(const struct jrl_chat_format *f, const struct jrl_tokenizer *t, const char *markup, struct jrl_error *err)
{
    for (const char *p = markup; (p = strchr(p, '<')); p++) {
        const char *end = strchr(p, '>');
        char *token;
        bool known;

        if (!end)
            break;
        token = jrl_xstrndup(p, (size_t)(end - p) + 1);
        /* <think> is a token of DeepSeek's tokenizers only; elsewhere it is text, as for the template. */
        known = jrl_tokenizer_id(t, token) >= 0 || !strcmp(token, "<think>");
        if (!known)
            jrl_fail(err, JRL_ERR_INPUT, "template '%s' needs the token '%s', which the tokenizer does not have", f->name, token);
        free(token);
        if (!known)
            return JRL_ERR_INPUT;
    }
    return JRL_OK;
}

static void strip(const char **text, size_t *len_bytes)
{
    const struct jrl_text trimmed = jrl_unicode_trim((struct jrl_text){ *text, *len_bytes });

    *text = trimmed.data;
    *len_bytes = trimmed.len_bytes;
}

int jrl_chat_encode(const struct jrl_chat *chat, const struct jrl_tokenizer *t, const char *system, size_t system_len,
                    const char *user, size_t user_len, struct jrl_tokens *out, struct jrl_error *err)
{
    const struct jrl_chat_format *f = chat->format;
    struct jrl_text_span spans[8];
    size_t n = 0;

    if (!system && chat->default_system) {
        system = chat->default_system;
        system_len = strlen(system);
    }
    if (system && !f->system_before)
        return jrl_fail(err, JRL_ERR_INPUT, "template '%s' has no place for a system turn", f->name);
    if (f->strip) {
        strip(&user, &user_len);
        if (system)
            strip(&system, &system_len);
    }
    spans[n++] = (struct jrl_text_span){ f->begin, strlen(f->begin), true };
    if (system) {
        spans[n++] = (struct jrl_text_span){ f->system_before, strlen(f->system_before), true };
        spans[n++] = (struct jrl_text_span){ system, system_len, false };
        spans[n++] = (struct jrl_text_span){ f->system_after, strlen(f->system_after), true };
    }
    spans[n++] = (struct jrl_text_span){ f->user_before, strlen(f->user_before), true };
    spans[n++] = (struct jrl_text_span){ user, user_len, false };
    spans[n++] = (struct jrl_text_span){ f->user_after, strlen(f->user_after), true };
    spans[n++] = (struct jrl_text_span){ f->generation, strlen(f->generation), true };
    for (size_t i = 0; i < n; i++)
        if (spans[i].parse_special && check_markup(f, t, spans[i].text, err) < 0)
            return JRL_ERR_INPUT;
    return jrl_tokenizer_encode_spans(t, spans, n, out, err);
}
