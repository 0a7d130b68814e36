#!/usr/bin/env python3
"""Our sampling and learning beside llama.cpp, Transformers and torch: the same weights and work, taking turns, medians, ratios.

Started by `make bench-peers` after get-peers.sh. Every measurement is a process of its own: ours are bench_sampling, bench_train
and bench_update, theirs llama-batched-bench and peer_torch.py. Which way of a peer is its best is tried first on less work; ways
close to the best then take part in every round, and the one with the best median counts.
"""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = "build/peers"
GENERATE_BATCH = 32
WANTED = {("llama.cpp", 1): 1.5, ("llama.cpp", 8): 3, ("llama.cpp", 32): 5, ("Transformers", 32): 5}
LLAMA_WAYS = [f"{dtype}, attention {'fused' if fa == 'on' else 'plain'}" for dtype in ("bf16", "f16") for fa in ("on", "off")]
TRAIN_WAYS = ["autocast+own", "autocast", "bf16+own", "autocast+own+checkpoint", "bf16+own+checkpoint", "autocast+own+compile"]
# Keeps torch's large tensors in the process, in huge pages: without it half of a pass is page faults.
TORCH_MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--short", action="store_true", help="little work of each kind, one round: some three minutes")
    p.add_argument("--parts", help="of sampling, generate, learning, long")
    p.add_argument("--shapes", help="of jrl-model make; learning uses the first")
    p.add_argument("--batches")
    p.add_argument("--prompt", type=int)
    p.add_argument("--response", type=int)
    p.add_argument("--sequences", type=int, help="of one micro-batch")
    p.add_argument("--tokens", type=int, help="of one sequence")
    p.add_argument("--long", type=int, help="tokens of the long sequence")
    p.add_argument("--rounds", type=int)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--build", default="build/release")
    p.add_argument("--wrap", default="", help="words before every measured program, such as a lock's")
    p.add_argument("--log", default="", help="add the measurements to this file and make the table of all it holds")
    p.add_argument("--keep", default="", help="replace the section 'Peers' of this page")
    full = {"parts": "sampling,generate,learning,long", "shapes": "smollm2-135m", "batches": "1,8,32,64", "prompt": 200, "response": 512,
            "sequences": 8, "tokens": 1024, "long": 8192, "rounds": 3}
    short = dict(full, batches="1,8", response=48, sequences=2, tokens=512, long=2048, rounds=1)
    o = p.parse_args()
    for name, value in (short if o.short else full).items():
        if getattr(o, name) is None:
            setattr(o, name, value)
    o.parts, o.shapes, o.batches = o.parts.split(","), o.shapes.split(","), [int(b) for b in o.batches.split(",")]
    return o


class Bench:
    def __init__(self, o):
        self.o = o
        self.records = []
        if o.log and os.path.exists(o.log):
            with open(o.log, encoding="utf-8") as f:
                self.records = [json.loads(line) for line in f]

    def run(self, *words, **env):
        words = [*self.o.wrap.split(), *map(str, words)]
        env = dict(os.environ, OMP_NUM_THREADS=str(self.o.threads), TOKENIZERS_PARALLELISM="false", **env)
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"peers.py: error: failed: {' '.join(words)}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return done.stdout

    def keep(self, who, key, result):
        record = {"who": who, **key, **result}
        self.records.append(record)
        print(json.dumps(record), file=sys.stderr, flush=True)
        if self.o.log:
            with open(self.o.log, "a", encoding="utf-8") as f:
                f.write(json.dumps(record) + "\n")

    def of(self, who, **key):
        return [r for r in self.records if r["who"] == who and all(r.get(k) == v for k, v in key.items())]

    def median(self, name, who, **key):
        found = self.of(who, **key)
        return statistics.median(r[name] for r in found) if found else None

    # One measurement each.

    def ours_sampling(self, key):
        out = self.run(f"{self.o.build}/tests/bench/bench_sampling", policy(key["shape"]), self.o.threads, key["prompt"], key["response"], key["batch"])
        row = out.splitlines()[-1].split()
        self.keep("jrl", key, {"decode": float(row[9]), "all": float(row[1]), "prefill": float(row[8])})

    def llama(self, key, way, response):
        dtype, attention = way.split(", attention ")
        out = self.run(f"{PEERS}/llama/bin/llama-batched-bench", "-m", f"{policy(key['shape'])}-{dtype}.gguf", "-t", self.o.threads, "-tb", self.o.threads,
                       "-fa", "on" if attention == "fused" else "off", "-c", key["batch"] * (key["prompt"] + response + 32), "-npp", key["prompt"],
                       "-ntg", response, "-npl", key["batch"], "--output-format", "jsonl")
        r = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
        return {"way": way, "decode": r["speed_tg"], "all": r["pl"] * r["tg"] / r["t"], "prefill": r["speed_pp"]}

    def torch(self, *words):
        return json.loads(self.run(f"{PEERS}/python", f"{HERE}/peer_torch.py", self.o.threads, *words, **TORCH_MEMORY).splitlines()[-1])

    def ours_learning(self, key, recompute="none"):
        out = self.run(f"{self.o.build}/tests/bench/bench_train", self.o.threads, key["sequences"], key["tokens"], 3, recompute, policy(key["shape"]))
        seconds, product = re.search(r"median ([\d.]+) s .*; product ([\d.]+) TFLOP/s", out).groups()
        self.keep("jrl", key, {"forward_backward_s": float(seconds), "way": f"recompute {recompute}"})
        self.keep("jrl", {"part": "matmul"}, {"flops": float(product) * 1e12})

    def ours_optimizer(self, shape):
        out = self.run(f"{self.o.build}/tests/bench/bench_update", self.o.threads, 1, 64, policy(shape))
        update, share = (float(re.search(rf"{what} +([\d.]+)", out).group(1)) for what in ("an update", "of it the optimiser"))
        self.keep("jrl", {"part": "optimizer", "shape": shape}, {"optimizer_s": update * share / 100})

    def train(self, key, way):
        return dict(self.torch("train", policy(key["shape"]), key["sequences"], key["tokens"], way), way=way)

    def tried(self, who, key, ways, measure):
        """One short measurement of each way of a peer, unless the log has it."""
        for way in ways:
            if not self.of(who, **dict(key, part="trial", way=way)):
                self.keep(who, dict(key, part="trial"), measure(way))
        return [self.of(who, **dict(key, part="trial", way=way))[-1] for way in ways]

    # Parts.

    def sampling(self, shape):
        o, ways = self.o, {}
        keys = [{"part": "sampling", "shape": shape, "batch": b, "prompt": o.prompt, "response": o.response} for b in o.batches]
        for key in keys:
            tried = self.tried("llama.cpp", key, LLAMA_WAYS, lambda way, key=key: self.llama(key, way, max(o.response // 8, 16)))
            best = max(r["decode"] for r in tried)
            ways[key["batch"]] = [r["way"] for r in tried if r["decode"] > 0.96 * best]
        for _ in range(o.rounds):
            for key in keys:
                for way in ways[key["batch"]]:
                    self.ours_sampling(key)
                    self.keep("llama.cpp", key, self.llama(key, way, o.response))

    def generate(self, shape):
        batch = GENERATE_BATCH if GENERATE_BATCH in self.o.batches else max(self.o.batches)
        key = {"part": "sampling", "shape": shape, "batch": batch, "prompt": self.o.prompt, "response": self.o.response}
        for _ in range(self.o.rounds):
            self.ours_sampling(key)
            result = self.torch("generate", policy(shape), batch, self.o.prompt, self.o.response)
            self.keep("Transformers", key, dict(result, way="bf16, SDPA"))

    def learning(self, shape):
        o = self.o
        key = {"part": "learning", "shape": shape, "sequences": o.sequences, "tokens": o.tokens}
        if not self.of("jrl", **dict(key, part="trial")):
            self.ours_learning(dict(key, part="trial"), "layer")
        tried = self.tried("torch", key, TRAIN_WAYS[:1] if o.short else TRAIN_WAYS, lambda way: self.train(key, way))
        best = min(r["forward_backward_s"] for r in tried)
        for _ in range(o.rounds):
            for way in [r["way"] for r in tried if r["forward_backward_s"] < 1.04 * best]:
                self.ours_learning(key)
                self.keep("torch", key, self.train(key, way))
                self.keep("torch", {"part": "matmul"}, self.torch("matmul", 8192, 1536, 576))
            self.ours_optimizer(shape)

    def long(self, shape):
        for _ in range(self.o.rounds):
            self.ours_learning({"part": "learning", "shape": shape, "sequences": 1, "tokens": self.o.long})


def policy(shape):
    return f"{PEERS}/work/{shape}"


def prepare(o):
    """Random weights of each shape, and the same as GGUF files."""
    os.makedirs(f"{PEERS}/work", exist_ok=True)
    for shape in o.shapes:
        if not os.path.exists(policy(shape)):
            subprocess.run([f"{o.build}/bin/jrl-model", "make", "-q", "--shape", f"{shape},positions=16384", "-o", policy(shape)], check=True)
        for dtype in ("bf16", "f16"):
            out = f"{policy(shape)}-{dtype}.gguf"
            if not os.path.exists(out):
                subprocess.run([f"{PEERS}/python", f"{HERE}/hf_to_gguf.py", dtype, policy(shape), out + ".new"], check=True)
                os.rename(out + ".new", out)


def counted_flops(shape, n_tokens):
    """Of training on one token of a sequence of this length: 6 a weight (without the input embedding, with the head), and 12 a
    head's element and pair of positions in the causal half."""
    with open(f"{policy(shape)}/config.json", encoding="utf-8") as f:
        c = json.load(f)
    q, kv, dim = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"], c["hidden_size"]
    layer = dim * (2 * q + 2 * kv) + 3 * dim * c["intermediate_size"] + 2 * dim
    weights = c["num_hidden_layers"] * layer + dim + dim * c["vocab_size"]
    return 6 * weights + 12 * c["num_hidden_layers"] * q * (n_tokens + 1) / 2


def ratio(ours, theirs):
    return f"**{ours / theirs:.2f}**" if ours and theirs else ""


def best_way(bench, name, who, pick, **key):
    ways = sorted({r["way"] for r in bench.of(who, **key)})
    return pick(((bench.median(name, who, way=w, **key), w) for w in ways), default=(None, ""))


def sampling_table(bench):
    rows = ["| shape, prompt + response | batch | peer | its best way | jrl decodes | peer | ratio | wanted | jrl, prompts included | peer | ratio |",
            "|---|---|---|---|---|---|---|---|---|---|---|"]
    cells = sorted({(r["shape"], r["prompt"], r["response"], r["who"], r["batch"]) for r in bench.records
                    if r.get("part") == "sampling" and r["who"] != "jrl"}, key=lambda c: (c[0] != "smollm2-135m", c))
    for shape, prompt, response, who, batch in cells:
        key = {"part": "sampling", "shape": shape, "prompt": prompt, "response": response, "batch": batch}
        decode, way = best_way(bench, "decode", who, max, **key)
        everything = bench.median("all", who, way=way, **key)
        ours, ours_all = bench.median("decode", "jrl", **key), bench.median("all", "jrl", **key)
        rows.append(f"| {shape}, {prompt} + {response} | {batch} | {who} | {way} | {ours:.0f} | {decode:.0f} | {ratio(ours, decode)} | "
                    f"{WANTED.get((who, batch), '')} | {ours_all:.0f} | {everything:.0f} | {ratio(ours_all, everything)} |")
    return ["Tokens a second.", "", *rows, ""] if len(rows) > 2 else []


def learning_table(bench):
    rows, notes = [], []
    product = {who: bench.median("flops", who, part="matmul") for who in ("jrl", "torch")}
    cells = sorted({(r["shape"], r["tokens"], r["sequences"]) for r in bench.records if r.get("part") == "learning"})
    rates = {}
    for shape, tokens, sequences in cells:
        key = {"part": "learning", "shape": shape, "tokens": tokens, "sequences": sequences}
        ours = bench.median("forward_backward_s", "jrl", **key)
        theirs, way = best_way(bench, "forward_backward_s", "torch", min, **key)
        rate = rates[(shape, tokens)] = counted_flops(shape, tokens) * tokens * sequences / ours
        label = f"{shape}, {sequences} x {tokens}"
        rows.append(f"| {label}: forward and backward, s | {ours:.2f} | {f'{theirs:.2f} ({way})' if theirs else ''} | {ratio(theirs, ours)} | "
                    f"{1.3 if theirs else ''} |")
        if theirs:
            step = bench.median("optimizer_s", "jrl", part="optimizer", shape=shape), bench.median("optimizer_s", "torch", way=way, **key)
            rows.append(f"| the same, tokens/s | {sequences * tokens / ours:.0f} | {sequences * tokens / theirs:.0f} | | |")
            rows.append(f"| its clipping and AdamW, s | {step[0]:.3f} | {step[1]:.3f} | {ratio(step[1], step[0])} | |")
        rows.append(f"| its counted TFLOP/s | {rate * 1e-12:.3f} | "
                    f"{f'{rate * 1e-12 * ours / theirs:.3f}' if theirs else ''} | | |")
        best = max(filter(None, product.values()), default=None)
        if best and theirs:
            rows.append(f"| share of the product's rate, % | {100 * rate / best:.0f} | {100 * rate * ours / theirs / best:.0f} | | 45 |")
    if product["jrl"]:
        torch_rate = f"{product['torch'] * 1e-12:.2f}" if product["torch"] else ""
        rows.append(f"| product [8192 x 576] [1536 x 576]^T, TFLOP/s | {product['jrl'] * 1e-12:.2f} | {torch_rate} | | |")
    for shape in sorted({c[0] for c in cells}):
        lengths = sorted(n for s, n in rates if s == shape)
        if len(lengths) > 1:
            rows.append(f"| {shape}: counted FLOP/s at {lengths[-1]} of those at {lengths[0]}, % | "
                        f"{100 * rates[(shape, lengths[-1])] / rates[(shape, lengths[0])]:.0f} | | | 75 |")
    for who in ("jrl", "torch"):
        tried = [f"{r['way']} {r['forward_backward_s']:.1f}" for r in bench.of(who, part="trial")]
        if tried:
            notes += [f"Other ways of {who}, tried once (s): {'; '.join(tried)}.", ""]
    return ["| | jrl | torch | ratio | wanted |", "|---|---|---|---|---|", *rows, "", *notes] if rows else []


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = f.read()
    features = [n for n in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{n}\b", cpu)]
    return f"{re.search('model name.*: (.*)', cpu).group(1)}, {os.cpu_count()} processors ({', '.join(features)})"


def section(bench, o):
    versions = json.loads(bench.run(f"{PEERS}/python", f"{HERE}/peer_torch.py", o.threads, "versions").splitlines()[-1])
    with open(f"{PEERS}/llama/source", encoding="utf-8") as f:
        versions["llama.cpp"] = f"of {f.read().strip()}"
    compiler = subprocess.run(["c++", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]
    say = [f"`make bench-peers`, {datetime.date.today()}: {machine()}, {o.threads} threads for everybody, random weights of the shape, the same for all.",
           ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + f", built by {compiler}. Medians of runs that took turns.",
           "Programs: `bench_sampling`, `bench_train`, `bench_update`; `llama-batched-bench -fa on|off -npp P -ntg R -npl B`; `peer_torch.py generate`, `train`, `matmul`.", ""]
    return "\n".join(["## Peers", "", *say, *sampling_table(bench), *learning_table(bench)]).rstrip() + "\n"


def replace_section(path, text):
    with open(path, encoding="utf-8") as f:
        page = f.read()
    begin = page.find("## Peers\n")
    if begin < 0:
        page = page.rstrip() + "\n\n" + text
    else:
        end = page.find("\n## ", begin)
        page = page[:begin] + text + (page[end:] if end > 0 else "")
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(page)
    os.rename(path + ".new", path)


def main():
    o = options()
    bench = Bench(o)
    prepare(o)
    for part in filter(None, o.parts):
        for shape in o.shapes if part in ("sampling", "generate") else o.shapes[:1]:
            getattr(bench, part)(shape)
    text = section(bench, o)
    print(text, end="")
    if o.keep:
        replace_section(o.keep, text)


if __name__ == "__main__":
    main()
