#include "kernels/cpu/attention_amx.h"
int64_t jrl_attention_backward_amx_bytes(const struct jrl_attention_call *c) { return jrl_attention_avx512.backward_bytes(c); }
void jrl_attention_backward_amx(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, uint8_t *memory) { jrl_attention_avx512.backward(c, seq, kv_head, memory); }
