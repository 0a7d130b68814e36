/* pages.c - pages of the KV cache in one reserved range of addresses. */
#include "rollout/pages.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"

static int reserve(struct jrl_pages *p, size_t bytes, struct jrl_error *err)
{
    void *memory = NULL;
    int rc;

    if (!jrl_device_is_host(p->dev)) {
        rc = jrl_device_alloc(p->dev, &memory, bytes, "the KV cache", err);
        p->memory = memory;
        return rc;
    }
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot reserve %zu bytes for the KV cache", bytes);
    madvise(memory, bytes, MADV_HUGEPAGE); /* fewer faults and table walks; refused is fine */
    p->memory = memory;
    return JRL_OK;
}

int jrl_pages_init(struct jrl_pages *p, struct jrl_device *dev, int64_t n_pages, size_t page_bytes, struct jrl_error *err)
{
    size_t bytes;
    int rc;

    *p = (struct jrl_pages){ .dev = dev, .page_bytes = page_bytes, .n_pages = n_pages };
    if (n_pages < 1 || n_pages > INT32_MAX || __builtin_mul_overflow((size_t)n_pages, page_bytes, &bytes))
        return jrl_fail(err, JRL_ERR_USAGE, "a KV cache of %lld pages of %zu bytes is not possible", (long long)n_pages, page_bytes);
    if ((rc = reserve(p, bytes, err)) < 0)
        return rc;
    p->references = jrl_xcalloc((size_t)n_pages, sizeof *p->references);
    p->free_list = jrl_xcalloc((size_t)n_pages, sizeof *p->free_list);
    return JRL_OK;
}

void jrl_pages_release(struct jrl_pages *p)
{
    if (p->memory && !jrl_device_is_host(p->dev))
        jrl_device_free(p->dev, p->memory);
    else if (p->memory)
        munmap(p->memory, (size_t)p->n_pages * p->page_bytes);
    free(p->references);
    free(p->free_list);
    *p = (struct jrl_pages){ 0 };
}

static int64_t index_of(const struct jrl_pages *p, const uint8_t *page)
{
    return (int64_t)((size_t)(page - p->memory) / p->page_bytes);
}

/* The next free page, its contents as they are; *used_before tells whether they may be other than zero. */
static uint8_t *take(struct jrl_pages *p, int *used_before)
{
    int64_t i;

    if (p->n_used == p->n_pages)
        return NULL;
    *used_before = p->n_free_list > 0;
    i = *used_before ? p->free_list[--p->n_free_list] : p->n_fresh++;
    p->n_used++;
    p->references[i] = 1;
    return p->memory + (size_t)i * p->page_bytes;
}

uint8_t *jrl_page_take(struct jrl_pages *p)
{
    int used_before = 0;
    uint8_t *page = take(p, &used_before);

    if (page && used_before && jrl_device_is_host(p->dev))
        memset(page, 0, p->page_bytes);
    return page;
}

uint8_t *jrl_page_copy(struct jrl_pages *p, uint8_t *page)
{
    int used_before = 0;
    uint8_t *copy = take(p, &used_before);

    if (copy) {
        if (jrl_device_copy(p->dev, copy, page, p->page_bytes, &p->failure) < 0)
            (void)jrl_fail_prefix(&p->failure, "KV cache");
        jrl_page_drop(p, page);
    }
    return copy;
}

void jrl_page_share(struct jrl_pages *p, uint8_t *page)
{
    p->references[index_of(p, page)]++;
}

void jrl_page_drop(struct jrl_pages *p, uint8_t *page)
{
    int64_t i = index_of(p, page);

    if (--p->references[i] == 0) {
        p->free_list[p->n_free_list++] = (int32_t)i;
        p->n_used--;
    }
}

uint32_t jrl_page_references(const struct jrl_pages *p, const uint8_t *page)
{
    return p->references[index_of(p, page)];
}
