#!/usr/bin/env python3
"""The work of bench_gpu.c in torch on a GPU: the same shape and rows, random weights, the same table.

    peer_torch_gpu.py [--device NAME] [--shape NAME=NUMBER,...] [--quick] [decode] [prefill] [update]

The model is written out below: torch's own SDPA, RMSNorm, fused AdamW. A step of decoding is a CUDA graph over keys and values
that lie side by side, as long as each sequence is, so torch has nothing to gather: its best case. Training is bf16 weights, SDPA,
each layer recomputed in the backward pass, and the logits of 2048 tokens at a time."""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

SHAPE = {"dim": 1536, "layers": 28, "heads": 12, "kv-heads": 2, "head-dim": 128, "mlp": 8960, "vocab": 151936}
WHOLE = {"context": 2560, "batches": [1, 16, 64, 256, 1024], "prompts": [1024, 8192], "packed": 16384, "sequences": [1024, 4096, 16384], "product": 8192, "repetitions": 20}
SMALL = {"context": 70, "batches": [1, 3], "prompts": [33, 64], "packed": 128, "sequences": [32, 64, 128], "product": 128, "repetitions": 2}


class Rotary:
    def __init__(self, n_positions, head_dim, device):
        angles = torch.outer(torch.arange(n_positions), 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim)).to(device)
        self.cos, self.sin = angles.cos().bfloat16(), angles.sin().bfloat16()

    def __call__(self, x, positions):  # [batch, heads, n, head_dim], positions [batch, n] or [n]
        cos, sin = self.cos[positions], self.sin[positions]
        if cos.dim() == 3:
            cos, sin = cos[:, None], sin[:, None]
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Layer(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        q, kv = s["heads"] * s["head-dim"], s["kv-heads"] * s["head-dim"]
        self.s, self.q, self.kv = s, q, kv
        self.attn_norm, self.mlp_norm = torch.nn.RMSNorm(s["dim"], eps=1e-6), torch.nn.RMSNorm(s["dim"], eps=1e-6)
        self.qkv = torch.nn.Linear(s["dim"], q + 2 * kv)
        self.o = torch.nn.Linear(q, s["dim"], bias=False)
        self.gate_up = torch.nn.Linear(s["dim"], 2 * s["mlp"], bias=False)
        self.down = torch.nn.Linear(s["mlp"], s["dim"], bias=False)

    def forward(self, x, rotary, positions, cache=None):  # x [batch, n, dim]; cache: keys and values whose last position is to be written
        batch, n, _ = x.shape
        q, k, v = (t.view(batch, n, -1, self.s["head-dim"]).transpose(1, 2) for t in self.qkv(self.attn_norm(x)).split((self.q, self.kv, self.kv), -1))
        q, k = rotary(q, positions), rotary(k, positions)
        if cache is not None:
            cache[0][:, :, -1:], cache[1][:, :, -1:] = k, v
            k, v = cache
        a = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None, enable_gqa=True)
        x = x + self.o(a.transpose(1, 2).reshape(batch, n, -1))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        self.embedding = torch.nn.Embedding(s["vocab"], s["dim"])
        self.layers = torch.nn.ModuleList(Layer(s) for _ in range(s["layers"]))
        self.norm = torch.nn.RMSNorm(s["dim"], eps=1e-6)
        self.head = torch.nn.Linear(s["dim"], s["vocab"], bias=False)


class Bench:
    def __init__(self, shape, sizes, device):
        self.shape, self.sizes, self.device = shape, sizes, torch.device(device)
        torch.manual_seed(0)
        with self.device:
            torch.set_default_dtype(torch.bfloat16)
            self.model = Model(shape)
            torch.set_default_dtype(torch.float32)
        self.rotary = Rotary(max(sizes["packed"], sizes["context"], *sizes["prompts"]) + 1, shape["head-dim"], self.device)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work, repetitions):
        times = []
        for _ in range(repetitions + 2):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times[2:])

    def row(self, work, seconds, tokens):
        print(f"| torch: {work} | {seconds * 1e3:.3f} ms | | | {tokens / seconds:.0f} |", flush=True)

    @torch.no_grad()
    def product(self):
        n = self.sizes["product"]
        x, y = (torch.rand(n, n, device=self.device).mul(2).sub(1).bfloat16() for _ in range(2))
        seconds = self.seconds(lambda: x @ y.T, self.sizes["repetitions"] // 2)
        print(f"| torch: product of bf16, {n} cubed | {seconds * 1e3:.3f} ms | {2 * n**3 / seconds * 1e-12:.2f} TFLOP/s | | |", flush=True)

    @torch.no_grad()
    def decode(self):
        for n in self.sizes["batches"]:
            try:
                self.decode_of(n)
            except torch.OutOfMemoryError:
                print(f"| torch: decode, {n} x {self.sizes['context']} | does not fit into the memory | | | |", flush=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def decode_of(self, n):
        s, context, m = self.shape, self.sizes["context"], self.model
        caches = [torch.randn(2, n, s["kv-heads"], context, s["head-dim"], device=self.device, dtype=torch.bfloat16) for _ in m.layers]
        ids = torch.zeros(n, 1, dtype=torch.long, device=self.device)
        position = torch.full((1,), context - 1, device=self.device)

        def step():
            x = m.embedding(ids)
            for layer, cache in zip(m.layers, caches):
                x = layer(x, self.rotary, position, cache)
            logits = m.head(m.norm(x))[:, 0].float()
            logprobs = logits.log_softmax(-1)
            noise = torch.empty_like(logits).exponential_()
            ids.copy_((logprobs.exp() / noise).argmax(-1, keepdim=True))
            return logprobs.gather(-1, ids), -(logprobs.exp() * logprobs).sum(-1)

        if self.device.type == "cuda":
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                step()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            self.row(f"decode, {n} x {context}", self.seconds(graph.replay, self.sizes["repetitions"]), n)
        else:
            self.row(f"decode, {n} x {context}", self.seconds(step, self.sizes["repetitions"]), n)

    @torch.no_grad()
    def prefill(self):
        m = self.model
        for n in self.sizes["prompts"]:
            ids = torch.arange(n, device=self.device)[None] % self.shape["vocab"]
            positions = torch.arange(n, device=self.device)

            def step(ids=ids, positions=positions):
                x = m.embedding(ids)
                for layer in m.layers:
                    x = layer(x, self.rotary, positions)
                return m.head(m.norm(x[:, -1]))

            self.row(f"prefill, {n}", self.seconds(step, self.sizes["repetitions"] // 2), n)

    def update(self):
        m = self.model
        optimizer = torch.optim.AdamW(m.parameters(), lr=1e-6, weight_decay=0.1, fused=True)

        def head(x, targets):
            return F.cross_entropy(m.head(x).float(), targets, reduction="sum")

        for n in self.sizes["sequences"]:
            batch = self.sizes["packed"] // n
            ids = torch.randint(0, self.shape["vocab"], (batch, n + 1), device=self.device)
            positions = torch.arange(n, device=self.device)

            def step(ids=ids, positions=positions):
                x = m.embedding(ids[:, :-1])
                for layer in m.layers:
                    x = checkpoint(layer, x, self.rotary, positions, use_reentrant=False)
                rows, targets = m.norm(x).flatten(0, 1), ids[:, 1:].flatten()
                sum(checkpoint(head, r, t, use_reentrant=False) for r, t in zip(rows.split(2048), targets.split(2048))).backward()

            self.row(f"update, {batch} x {n}", self.seconds(step, self.sizes["repetitions"] // 4 + 1), batch * n)
            self.row("... its optimiser", self.seconds(optimizer.step, 2), batch * n)
            optimizer.zero_grad()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fast", action="store_true", help="of bench_gpu: torch is as it is")
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    shape = dict(SHAPE, **{k: int(v) for k, v in (item.split("=") for item in options.shape.split(",") if item)})
    bench = Bench(shape, SMALL if options.quick else WHOLE, options.device)
    print("\n| work | time | | | tokens/s |\n|---|---|---|---|---|")
    bench.product()
    for row in ("decode", "prefill", "update"):
        if not options.rows or row in options.rows:
            getattr(bench, row)()
    print(f"\ntorch {torch.__version__}")


if __name__ == "__main__":
    main()
