#!/usr/bin/env python3
"""A Hugging Face folder of a Llama or Qwen2 model as a GGUF file without a tokenizer, for llama.cpp's benchmarks.

Only what `make bench-peers` needs: the same weights in the other program. Matrices keep their bf16 bits or are rounded to f16;
norms and biases become f32, as that program wants them. Needs numpy and gguf.

    hf_to_gguf.py bf16|f16 POLICY OUT.gguf
"""
import glob
import json
import os
import struct
import sys

import gguf
import numpy as np

NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
BLOCK = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}


def tensors(folder):
    """Name and bf16 bits (u16) of every tensor."""
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with open(path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            header = json.loads(f.read(size))
        header.pop("__metadata__", None)
        data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + size)
        for name, t in header.items():
            if t["dtype"] != "BF16":
                sys.exit(f"hf_to_gguf.py: error: {path}: '{name}' is {t['dtype']}, not BF16")
            begin, end = t["data_offsets"]
            yield name, np.frombuffer(data[begin:end].tobytes(), dtype=np.uint16).reshape(t["shape"])


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{BLOCK[part]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def interleaved(w, n_heads):
    """Rotary rows of one head from halves (Hugging Face) to adjacent pairs (llama in GGUF; qwen2 keeps halves)."""
    return w.reshape(n_heads, 2, w.shape[0] // n_heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def to_f32(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def main():
    dtype, folder, out = sys.argv[1:]
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    arch = c["model_type"]
    if arch not in ("llama", "qwen2") or dtype not in ("bf16", "f16"):
        sys.exit(f"hf_to_gguf.py: error: cannot write a model of type '{arch}' as {dtype}")
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    head_dim = c.get("head_dim") or c["hidden_size"] // heads
    w = gguf.GGUFWriter(out, arch)
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(head_dim)
    w.add_rope_freq_base(float(c.get("rope_theta") or c["rope_parameters"]["rope_theta"]))
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_vocab_size(c["vocab_size"])
    w.add_tokenizer_model("none")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if dtype == "bf16" else gguf.LlamaFileType.MOSTLY_F16)
    for name, bits in tensors(folder):
        if name == "lm_head.weight" and c["tie_word_embeddings"]:
            continue
        if arch == "llama" and (".q_proj." in name or ".k_proj." in name):
            bits = interleaved(bits, heads if ".q_proj." in name else kv_heads)
        if bits.ndim == 1:
            w.add_tensor(gguf_name(name), to_f32(bits))
        elif dtype == "f16":
            w.add_tensor(gguf_name(name), to_f32(bits).astype(np.float16))
        else:
            w.add_tensor(gguf_name(name), np.ascontiguousarray(bits).view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main()
