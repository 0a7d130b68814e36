/* utf8.c - repair of UTF-8 as Python does it, NFC by utf8proc. */
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/tokenizer.h"

void jrl_utf8_repair(struct jrl_buffer *text)
{
    struct jrl_buffer out = { 0 };
    size_t i = jrl_utf8_valid_len(text->data, text->len);

    if (i == text->len)
        return;
    jrl_buffer_append(&out, text->data, i);
    while (i < text->len) {
        uint32_t c;
        int n = jrl_utf8_next(text->data + i, text->len - i, &c);

        if (n > 0) {
            jrl_buffer_append(&out, text->data + i, (size_t)n);
            i += (size_t)n;
        } else {
            jrl_buffer_append(&out, "\xEF\xBF\xBD", 3);
            i += (size_t)-n;
        }
    }
    jrl_buffer_release(text);
    *text = out;
}

bool jrl_utf8_surely_nfc(const uint8_t *text, size_t len_bytes)
{
    /* Below U+0300 nothing decomposes canonically that NFC would not compose again, and nothing
     * combines: lead bytes below 0xCC. The CJK ideographs U+4E00..U+9FFF (lead E4 B8 .. E9) and the
     * common punctuation of U+2010..U+2027 are safe too, and spare Chinese text the slow path. */
    for (size_t i = 0; i < len_bytes; i++) {
        uint8_t b = text[i];

        if (b < 0xCC)
            continue;
        if (b >= 0xE5 && b <= 0xE9)
            continue;
        if (b == 0xE2 && i + 2 < len_bytes && text[i + 1] == 0x80 && text[i + 2] >= 0x90 && text[i + 2] <= 0xA7)
            continue;
        return false;
    }
    return true;
}

int jrl_utf8_nfc(struct jrl_buffer *out, const uint8_t *text, size_t len_bytes, struct jrl_error *err)
{
    utf8proc_uint8_t *form = NULL;
    utf8proc_ssize_t n;

    n = utf8proc_map(text, (utf8proc_ssize_t)len_bytes, &form, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0)
        return jrl_fail(err, n == UTF8PROC_ERROR_NOMEM ? JRL_ERR_RUN : JRL_ERR_INPUT, "cannot normalise text: %s",
                        utf8proc_errmsg(n));
    jrl_buffer_append(out, form, (size_t)n);
    free(form);
    return JRL_OK;
}
