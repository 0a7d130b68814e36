/* pages.h - the memory of the KV cache: pages of 32 positions of all layers, counted references, so that the
 * responses to one problem share the pages of its prompt. Knows nothing of models or sequences. */
#ifndef JRL_ROLLOUT_PAGES_H
#define JRL_ROLLOUT_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/device.h"

struct jrl_pages {
    struct jrl_device *dev;
    uint8_t *memory;      /* of the device: n_pages * page_bytes; on the CPU backed by the system as pages are first taken */
    size_t page_bytes;
    int64_t n_pages, n_used;
    uint32_t *references; /* by page; 0: free */
    int32_t *free_list;   /* pages given back, last first */
    int64_t n_free_list, n_fresh; /* fresh: never taken, so still zero */
    struct jrl_error failure;     /* the first of the device */
};

int jrl_pages_init(struct jrl_pages *p, struct jrl_device *dev, int64_t n_pages, size_t page_bytes, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_pages_release(struct jrl_pages *p); /* safe on a zeroed one */

/* A page with one reference; NULL when none is left. On the CPU it is zeroed; on other devices jrl_qkv_rope clears it in time. */
uint8_t *jrl_page_take(struct jrl_pages *p);
/* A copy of a page, with one reference; the original loses one. NULL when none is left; a copy that fails is in failure. */
uint8_t *jrl_page_copy(struct jrl_pages *p, uint8_t *page);
void jrl_page_share(struct jrl_pages *p, uint8_t *page); /* one more reference */
void jrl_page_drop(struct jrl_pages *p, uint8_t *page);  /* one less */
uint32_t jrl_page_references(const struct jrl_pages *p, const uint8_t *page);

#endif
