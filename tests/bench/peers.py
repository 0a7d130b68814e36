#!/usr/bin/env python3
"""Our sampling and learning beside llama.cpp, Transformers and torch: the same weights and work, taking turns, medians, ratios.

Started by `make bench-peers` after get-peers.sh. Every measurement is a process of its own: ours are bench_sampling, bench_train
and bench_update, theirs llama-batched-bench and peer_torch.py. Which way of a peer is its best is tried first on less work; ways
close to the best then take part in every round, and the one with the best median counts. Before anything is timed, the peers must
give the log-probabilities of our tokens, and hold our greedy tokens likeliest, as near as the types of numbers allow.

Rows: llama-BATCH, transformers-BATCH (sampling), learning, long (training on one long sequence).
"""
import argparse
import datetime
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# How far a log-probability may be from Transformers' in f32, in standard deviations of the logits. f16 weights tell whether the conversion
# is right: 0.004 and 0.005 were seen (shapes of SmolLM2-135M and Qwen2-1.5B), 0.04 of mistakes planted in a tiny model. In bf16 everybody
# is farther, by rounding: jrl 0.01 and 0.043, llama.cpp 0.01 and 0.033, Transformers 0.04 and 0.06; jrl in f32 is 0.00001 away.
AGREES, AGREES_BF16 = 0.02, 0.1
WANTED = {("llama.cpp", 1): 1.5, ("llama.cpp", 8): 3, ("llama.cpp", 32): 5, ("Transformers", 32): 5}
LLAMA_WAYS = [f"{dtype}, attention {'fused' if fa == 'on' else 'plain'}" for dtype in ("bf16", "f16") for fa in ("on", "off")]
TRAIN_WAYS = ["autocast+own", "autocast", "bf16+own", "f32+own", "autocast+own+checkpoint", "bf16+own+checkpoint", "autocast+own+compile"]
TRANSFORMERS_WAYS = ["bf16, SDPA", "f32, SDPA"]
# Keeps torch's large tensors in the process, in huge pages: without it half of a pass is page faults.
TORCH_MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
# Of jrl-model make, and what is measured where nothing else is said. Training 1.5B needs more memory than such machines have.
SHAPES = {
    "smollm2-135m": {"list": "smollm2-135m", "rows": "llama-1,llama-8,llama-32,llama-64,transformers-32,learning,long", "prompt": 200, "response": 512},
    "qwen2-1.5b": {"list": "deepseek-r1-distill-qwen-1.5b,tied=1", "rows": "llama-1,llama-8,transformers-8", "prompt": 64, "response": 32},
}


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog=__doc__.rsplit("\n\n", 1)[1], formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--short", action="store_true", help="little work of each kind on the first shape, one round: some three minutes")
    p.add_argument("--shapes", default=",".join(SHAPES), help="of " + ", ".join(SHAPES))
    p.add_argument("--only", metavar="ROWS", help="these rows of each shape; none: the table of what --log holds")
    p.add_argument("--prompt", type=int, help="tokens; by default the shape's")
    p.add_argument("--response", type=int)
    p.add_argument("--sequences", type=int, help="of one micro-batch (8)")
    p.add_argument("--tokens", type=int, help="of one sequence (1024)")
    p.add_argument("--long", type=int, help="tokens of the long sequence (8192)")
    p.add_argument("--rounds", type=int, help="turns of each (3)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--build", default="build/release")
    p.add_argument("--peers", required=True, help="folder of get-peers.sh; policies are made there")
    p.add_argument("--wrap", default="", help="words before every measured program, such as a lock's")
    p.add_argument("--log", default="", help="add the measurements to this file and make the table of all it holds")
    p.add_argument("--keep", default="", help="replace this machine's part of the section 'Peers' of this page")
    p.add_argument("--check", nargs="+", metavar="POLICY", help="only compare what everybody computes with these policies")
    full = {"sequences": 8, "tokens": 1024, "long": 8192, "rounds": 3}
    short = {"only": "llama-1,llama-8,transformers-8,learning,long", "response": 48, "sequences": 2, "tokens": 512, "long": 2048, "rounds": 1}
    o = p.parse_args()
    for name, value in (short if o.short else full).items():
        if getattr(o, name) is None:
            setattr(o, name, value)
    o.shapes = o.shapes.split(",")[:1 if o.short else None]
    for shape in o.shapes:
        if shape not in SHAPES:
            p.error(f"the shapes are {', '.join(SHAPES)}, not '{shape}'")
        for row in rows_of(o, shape):
            if not re.fullmatch(r"(llama|transformers)-[1-9]\d*|learning|long", row):
                p.error(f"'{row}' is no row: llama-BATCH, transformers-BATCH, learning, long")
    return o


def rows_of(o, shape):
    return [row for row in (SHAPES[shape]["rows"] if o.only is None else o.only).split(",") if row not in ("", "none")]


class Bench:
    def __init__(self, o):
        self.o = o
        self.records = []
        self.commit = subprocess.run([f"{o.build}/bin/jrl-model", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1].strip("()")
        if o.log and os.path.exists(o.log):
            with open(o.log, encoding="utf-8") as f:
                self.records = [json.loads(line) for line in f]

    def policy(self, shape):
        return f"{self.o.peers}/policies/{shape}"

    def run(self, *words, **env):
        words = [*self.o.wrap.split(), *map(str, words)]
        env = dict(os.environ, OMP_NUM_THREADS=str(self.o.threads), TOKENIZERS_PARALLELISM="false", **env)
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            fail(f"failed: {' '.join(words)}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return done.stdout

    def keep(self, who, key, result):
        record = {"who": who, **key, **result, "commit": self.commit, "day": str(datetime.date.today())}
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
        out = self.run(f"{self.o.build}/tests/bench/bench_sampling", self.policy(key["shape"]), self.o.threads, key["prompt"], key["response"], key["batch"])
        row = out.splitlines()[-1].split()
        self.keep("jrl", key, {"decode": float(row[9]), "all": float(row[1]), "prefill": float(row[8])})

    def llama(self, key, way, response):
        dtype, attention = way.split(", attention ")
        out = self.run(f"{self.o.peers}/llama/bin/llama-batched-bench", "-m", f"{self.policy(key['shape'])}-{dtype}.gguf", "-t", self.o.threads, "-tb", self.o.threads,
                       "-fa", "on" if attention == "fused" else "off", "-c", key["batch"] * (key["prompt"] + response + 32), "-npp", key["prompt"],
                       "-ntg", response, "-npl", key["batch"], "--output-format", "jsonl")
        r = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
        return {"way": way, "decode": r["speed_tg"], "all": r["pl"] * r["tg"] / r["t"], "prefill": r["speed_pp"]}

    def torch(self, *words):
        return json.loads(self.run(f"{self.o.peers}/python", f"{HERE}/peer_torch.py", self.o.threads, *words, **TORCH_MEMORY).splitlines()[-1])

    def transformers(self, key, way, response):
        dtype = {"bf16": "bfloat16", "f32": "float32"}[way.split(",")[0]]
        return dict(self.torch("generate", self.policy(key["shape"]), dtype, key["batch"], key["prompt"], response), way=way)

    def ours_learning(self, key, recompute="none"):
        out = self.run(f"{self.o.build}/tests/bench/bench_train", self.o.threads, key["sequences"], key["tokens"], 3, recompute, self.policy(key["shape"]))
        seconds, product = re.search(r"median ([\d.]+) s .*; product ([\d.]+) TFLOP/s", out).groups()
        self.keep("jrl", key, {"forward_backward_s": float(seconds), "way": f"recompute {recompute}"})
        self.keep("jrl", {"part": "matmul"}, {"flops": float(product) * 1e12})

    def ours_optimizer(self, shape):
        out = self.run(f"{self.o.build}/tests/bench/bench_update", self.o.threads, 1, 64, self.policy(shape))
        update, share = (float(re.search(rf"{what} +([\d.]+)", out).group(1)) for what in ("an update", "of it the optimiser"))
        self.keep("jrl", {"part": "optimizer", "shape": shape}, {"optimizer_s": update * share / 100})

    def train(self, key, way):
        return dict(self.torch("train", self.policy(key["shape"]), key["sequences"], key["tokens"], way), way=way)

    def tried(self, who, key, ways, measure):
        """One short measurement of each way of a peer, unless the log has it."""
        for way in ways:
            if not self.of(who, **dict(key, part="trial", way=way)):
                self.keep(who, dict(key, part="trial"), measure(way))
        return [self.of(who, **dict(key, part="trial", way=way))[-1] for way in ways]

    # Agreement.

    def ours_sampled(self, policy, *how):
        """A response of ours to a short prompt: its records' fields."""
        sample = (f"'{self.o.build}/bin/jrl-import' -q | '{self.o.build}/bin/jrl-sample' -q --policy '{policy}' --max-tokens 32 {' '.join(how)} | "
                  f"'{self.o.build}/bin/jrl-view' --plain")
        out = subprocess.run(["bash", "-o", "pipefail", "-c", sample], input='{"problem":"What is 12 + 30? Think first.","answer":"42"}\n',
                             stdout=subprocess.PIPE, text=True, check=True).stdout
        return json.loads(out.splitlines()[-1])

    def scored(self, way, policy, ggufs, responses):
        """For each response of ours: log-probabilities of its tokens, and of the likeliest ones where that is known."""
        if way == "jrl":
            return responses
        n_prompt, tokens = len(responses[0]["prompt_tokens"]), [",".join(map(str, r["prompt_tokens"] + r["tokens"])) for r in responses]
        if way in ("bfloat16", "float32"):
            return self.torch("score", policy, way, n_prompt, *tokens)
        dtype, attention = way.split(", attention ")
        return json.loads(self.run(f"{self.o.peers}/peer_llama", ggufs[dtype], "on" if attention == "fused" else "off", 1, n_prompt, *tokens))

    def agree(self, name, policy, ggufs):
        """Everybody's log-probabilities of two responses of ours are those of Transformers in f32, and our greedy tokens the likeliest."""
        responses = [self.ours_sampled(policy, "--seed", "1"), self.ours_sampled(policy, "--greedy")]
        exact = self.scored("float32", policy, ggufs, responses)
        for way in ("jrl", *LLAMA_WAYS, "bfloat16"):
            got = self.scored(way, policy, ggufs, responses)
            logprobs, wanted = [sum((r["logprobs"] for r in them), []) for them in (got, exact)]
            likeliest = got[1].get("best", got[1]["logprobs"])
            if len(logprobs) != len(wanted) or not all(map(math.isfinite, logprobs + likeliest)):
                fail(f"{name}: {way}: a log-probability is missing or not finite")
            difference = max(abs(a - b) for a, b in zip(logprobs, wanted))
            behind = max(b - a for a, b in zip(got[1]["logprobs"], likeliest))
            limit = (AGREES if way.startswith("f16") else AGREES_BF16) * exact[0]["spread"]
            self.keep(way, {"part": "agreement", "shape": name}, {"difference": difference, "behind": behind, "limit": limit})
            if max(difference, behind) > limit:
                fail(f"{name}: {way}: log-probabilities differ by up to {difference:.3g} and our likeliest tokens are up to {behind:.3g} behind, "
                     f"more than {limit:.3g}")

    # Rows.

    def key(self, shape, batch):
        return {"part": "sampling", "shape": shape, "batch": batch, "prompt": self.o.prompt or SHAPES[shape]["prompt"],
                "response": self.o.response or SHAPES[shape]["response"]}

    def sampling_row(self, who, ways, measure, shape, batch):
        key = self.key(shape, batch)
        tried = self.tried(who, key, ways, lambda way: measure(key, way, max(key["response"] // 8, 16)))
        best = max(r["decode"] for r in tried)
        for _ in range(self.o.rounds):
            for way in [r["way"] for r in tried if r["decode"] > 0.96 * best]:
                self.ours_sampling(key)
                self.keep(who, key, measure(key, way, key["response"]))

    def llama_row(self, shape, batch):
        self.sampling_row("llama.cpp", LLAMA_WAYS, self.llama, shape, batch)

    def transformers_row(self, shape, batch):
        self.sampling_row("Transformers", TRANSFORMERS_WAYS, self.transformers, shape, batch)

    def learning_row(self, shape):
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

    def long_row(self, shape):
        for _ in range(self.o.rounds):
            self.ours_learning({"part": "learning", "shape": shape, "sequences": 1, "tokens": self.o.long})

    def row(self, shape, name):
        peer, _, batch = name.partition("-")
        getattr(self, f"{peer}_row")(shape, *map(int, filter(None, [batch])))


def fail(text):
    sys.exit(f"peers.py: error: {text}")


def convert(o, policy, stem):
    """The policy as GGUF files; their paths by type."""
    ggufs = {dtype: f"{stem}-{dtype}.gguf" for dtype in ("bf16", "f16")}
    for dtype, out in ggufs.items():
        if not os.path.exists(out):
            subprocess.run([f"{o.peers}/python", f"{HERE}/hf_to_gguf.py", dtype, policy, out + ".new"], check=True)
            os.rename(out + ".new", out)
    return ggufs


def prepare(bench, shape):
    """Random weights of a shape, the same as GGUF files, and everybody agrees about them."""
    o, policy = bench.o, bench.policy(shape)
    os.makedirs(os.path.dirname(policy), exist_ok=True)
    if not os.path.exists(policy):
        subprocess.run([f"{o.build}/bin/jrl-model", "make", "-q", "--shape", f"{SHAPES[shape]['list']},positions=16384", "-o", policy], check=True)
    ggufs = convert(o, policy, policy)
    if not bench.of(LLAMA_WAYS[-1], part="agreement", shape=shape, commit=bench.commit):
        bench.agree(shape, policy, ggufs)


def check(bench, policy):
    scratch = tempfile.mkdtemp()
    try:
        bench.agree(policy, policy, convert(bench.o, policy, f"{scratch}/policy"))
    finally:
        shutil.rmtree(scratch)


def counted_flops(bench, shape, n_tokens):
    """Of training on one token of a sequence of this length: 6 a weight (without the input embedding, with the head), and 12 a
    head's element and pair of positions in the causal half."""
    with open(f"{bench.policy(shape)}/config.json", encoding="utf-8") as f:
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
        rate = rates[(shape, tokens)] = counted_flops(bench, shape, tokens) * tokens * sequences / ours
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


def agreement_notes(bench):
    notes = []
    for shape in sorted({r["shape"] for r in bench.records if r.get("part") == "agreement"}):
        of = {r["who"]: r for r in bench.records if r.get("part") == "agreement" and r["shape"] == shape}
        names = {"bfloat16": "Transformers bf16", **{way: f"llama.cpp {way}" for way in LLAMA_WAYS}}
        differences = "; ".join(f"{names.get(who, who)} {r['difference']:.2g} (of {r['limit']:.2g})" for who, r in of.items())
        notes += [f"Largest difference of a log-probability from Transformers' in f32, {shape}: {differences}.", ""]
    return notes


def section(bench, o):
    versions = json.loads(bench.run(f"{o.peers}/python", f"{HERE}/peer_torch.py", o.threads, "versions").splitlines()[-1])
    with open(f"{o.peers}/llama/source", encoding="utf-8") as f:
        versions["llama.cpp"] = f"of {f.read().strip()}"
    compiler = subprocess.run(["c++", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]
    days = sorted({r["day"] for r in bench.records}) or [str(datetime.date.today())]
    say = [f"{days[0]}{f' to {days[-1]}' if days[1:] else ''}, {o.threads} threads for everybody, random weights of the shape, the same for all. jrl of "
           f"{', '.join(sorted({r['commit'] for r in bench.records}))}.",
           ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + f", built by {compiler}. Medians of runs that took turns.", ""]
    return "\n".join([f"### {machine()}", "", *say, *sampling_table(bench), *learning_table(bench), *agreement_notes(bench)]).rstrip() + "\n"


def replace_section(path, text):
    """TEXT in the place of the part of 'Peers' that has its heading, or as that section's last part."""
    with open(path, encoding="utf-8") as f:
        page = f.read()
    heading = text.splitlines()[0] + "\n"
    peers = page.index("\n## Peers\n") + 1
    section_end = (page.find("\n## ", peers) + 1) or len(page)
    begin = page.find(heading, peers, section_end)
    end = (page.find("\n### ", begin, section_end) + 1) or section_end
    if begin < 0:
        begin = end = section_end
    after = page[end:]
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(page[:begin].rstrip() + "\n\n" + text + ("\n" + after if after else ""))
    os.rename(path + ".new", path)


def main():
    o = options()
    bench = Bench(o)
    if o.check:
        for policy in o.check:
            check(bench, policy)
        return
    for shape in o.shapes:  # all of them first: a disagreement is found before hours of measuring
        if rows_of(o, shape):
            prepare(bench, shape)
    for shape in o.shapes:
        for row in rows_of(o, shape):
            bench.row(shape, row)
    text = section(bench, o)
    print(text, end="")
    if o.keep:
        replace_section(o.keep, text)


if __name__ == "__main__":
    main()
