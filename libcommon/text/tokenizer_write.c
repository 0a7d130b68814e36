/* tokenizer_write.c - the tokenizer of a model that was made and not downloaded: the 256 bytes and
 * ChatML's special tokens, in files that Hugging Face's library loads too. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

static const char *const special[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };

/* The character that stands for a byte in tokenizer.json; the inverse of vocab.c's table. */
static uint32_t character_of_byte(unsigned b)
{
    if ((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE)
        return b;
    return 0x100 + (b < 0x21 ? b : b < 0xA1 ? b - 0x7F + 0x21 : 0x43);
}

static void append_vocab(struct jrl_buffer *out)
{
    for (unsigned b = 0; b < 256; b++) {
        uint32_t c = character_of_byte(b);

        jrl_buffer_append_str(out, c == '"' || c == '\\' ? "      \"\\" : "      \"");
        jrl_utf8_append(out, c);
        jrl_buffer_printf(out, "\": %u,\n", b);
    }
    for (unsigned i = 0; i < sizeof special / sizeof *special; i++)
        jrl_buffer_printf(out, "      \"%s\": %u%s\n", special[i], 256 + i, i + 1 < sizeof special / sizeof *special ? "," : "");
}

static void append_tokenizer(struct jrl_buffer *out)
{
    jrl_buffer_append_str(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [\n");
    for (unsigned i = 0; i < sizeof special / sizeof *special; i++)
        jrl_buffer_printf(out,
                          "    { \"id\": %u, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                          "\"normalized\": false, \"special\": true }%s\n",
                          256 + i, special[i], i + 1 < sizeof special / sizeof *special ? "," : "");
    jrl_buffer_append_str(out,
                          "  ],\n  \"normalizer\": null,\n"
                          "  \"pre_tokenizer\": { \"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, "
                          "\"use_regex\": false },\n"
                          "  \"post_processor\": null,\n"
                          "  \"decoder\": { \"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, "
                          "\"use_regex\": false },\n"
                          "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
                          "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
                          "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n    \"vocab\": {\n");
    append_vocab(out);
    jrl_buffer_append_str(out, "    },\n    \"merges\": []\n  }\n}\n");
}

static const char config[] =
    "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"bos_token\": null,\n  \"eos_token\": \"<|im_end|>\",\n"
    "  \"pad_token\": \"<|endoftext|>\",\n  \"unk_token\": null,\n  \"clean_up_tokenization_spaces\": false,\n"
    "  \"chat_template\": \"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}\"\n}\n";

int jrl_tokenizer_write_bytes(const char *folder, struct jrl_error *err)
{
    char *path = jrl_path_join(folder, "tokenizer.json");
    struct jrl_buffer text = { 0 };
    int rc;

    append_tokenizer(&text);
    rc = jrl_file_write(path, text.data, text.len, err);
    free(path);
    jrl_buffer_release(&text);
    if (rc < 0)
        return rc;
    path = jrl_path_join(folder, "tokenizer_config.json");
    rc = jrl_file_write(path, config, sizeof config - 1, err);
    free(path);
    return rc;
}
