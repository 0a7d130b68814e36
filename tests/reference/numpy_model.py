"""The logits of a Qwen2 or Llama policy folder by numpy alone, in float64: where torch is not installed, it stands for
Transformers' models. Written from their published architecture; check_policy.py --golden holds it against what they computed.
"""
import os

import numpy as np
import safetensors
import transformers

NUMPY_TYPES = {"F32": np.float32, "F16": np.float16}


def read_weights(folder):
    """All tensors of a folder, in float64, by the safetensors package."""
    weights = {}
    for name in sorted(os.listdir(folder)):
        if not name.startswith("model") or not name.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, name), "rb") as f:
            entries = safetensors.deserialize(f.read())
        for key, entry in entries:
            data = bytes(entry["data"])
            if entry["dtype"] == "BF16":
                values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
            else:
                values = np.frombuffer(data, NUMPY_TYPES[entry["dtype"]])
            weights[key] = values.astype(np.float64).reshape(entry["shape"])
    return weights


def rotate(x, theta):
    """x [heads, n, head_dim]: the first half of a head is turned against its second half, by position."""
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)


class Model:
    def __init__(self, folder):
        self.config = transformers.AutoConfig.from_pretrained(folder)
        self.left = read_weights(folder)
        self.w = dict(self.left)
        self.theta = (getattr(self.config, "rope_parameters", None) or {}).get("rope_theta") or self.config.rope_theta

    def take(self, name):
        self.left.pop(name, None)
        return self.w[name]

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config.rms_norm_eps) * self.take(name)

    def linear(self, x, name):
        y = x @ self.take(name + ".weight").T
        return y + self.take(name + ".bias") if name + ".bias" in self.w else y

    def attention(self, x, name):
        c, n = self.config, len(x)
        head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        q, k, v = (self.linear(x, f"{name}.{p}_proj").reshape(n, -1, head_dim).swapaxes(0, 1) for p in "qkv")
        q, k = rotate(q, self.theta), rotate(k, self.theta)
        k, v = (np.repeat(t, c.num_attention_heads // c.num_key_value_heads, 0) for t in (k, v))
        scores = q @ k.swapaxes(1, 2) / head_dim ** 0.5 + np.triu(np.full((n, n), -np.inf), 1)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        out = (p / p.sum(-1, keepdims=True)) @ v
        return self.linear(out.swapaxes(0, 1).reshape(n, -1), f"{name}.o_proj")

    def logits(self, ids):
        embedding = self.take("model.embed_tokens.weight")
        x = embedding[ids]
        for i in range(self.config.num_hidden_layers):
            layer = f"model.layers.{i}"
            x = x + self.attention(self.norm(x, f"{layer}.input_layernorm.weight"), f"{layer}.self_attn")
            h = self.norm(x, f"{layer}.post_attention_layernorm.weight")
            gate = self.linear(h, f"{layer}.mlp.gate_proj")
            x = x + self.linear(gate / (1 + np.exp(-gate)) * self.linear(h, f"{layer}.mlp.up_proj"), f"{layer}.mlp.down_proj")
        head = embedding if self.config.tie_word_embeddings else self.take("lm_head.weight")
        logits = self.norm(x, "model.norm.weight") @ head.T
        if self.left:
            raise SystemExit(f"tensors that the model does not use: {sorted(self.left)}")
        return logits
