#!/usr/bin/env python3
"""Gives a policy weights with which its greedy answers are a script, so that tests know what it says.

Usage: scripted_policy.py FOLDER RULE...
FOLDER: made by jrl-model make --dtype f32 --shape layers=1,tied=0,dim=D,heads=D/32,kv-heads=D/32,... with the byte tokenizer
(ids are bytes, 258 the end token) and D >= its ids. A rule is two characters, LAST and NEXT: behind LAST it says NEXT; or three,
LAST, NEXT and SEEN: it says NEXT instead when SEEN stands anywhere before. A newline is written N, the end token $.

How: embeddings are unit vectors, the MLP adds nothing, attention is uniform and adds the mean of the embeddings so far, those
of SEEN tokens only. So the head sees the last token and which of these occurred, and its rows are the rules.
"""
import array, json, os, struct, sys

folder, rules = sys.argv[1], sys.argv[2:]
config = json.load(open(f"{folder}/config.json"))
dim, vocab = config["hidden_size"], config["vocab_size"]
layer = "model.layers.0."


def token(c):
    return {"N": 10, "$": 258}.get(c, ord(c))


def matrix(rows, columns, entries):
    m = array.array("f", bytes(4 * rows * columns))
    for (row, column), value in entries.items():
        m[row * columns + column] += value
    return m


head, seen = {}, {}
for rule in rules:
    last, to = token(rule[0]), token(rule[1])
    head[to, last] = 0.99 if len(rule) == 3 else 1.0
    if len(rule) == 3:
        head[to, token(rule[2])] = 30.0  # of a mean over 31 to 2900 tokens: more than the 0.01, less than 1
        seen[token(rule[2]), token(rule[2])] = 1.0
norm = dim ** 0.5  # a unit vector becomes so long
weights = {
    "model.embed_tokens.weight": matrix(vocab, dim, {(i, i): 1.0 for i in range(min(vocab, dim))}),
    "lm_head.weight": matrix(vocab, dim, head),
    layer + "self_attn.v_proj.weight": matrix(dim, dim, seen),
    layer + "self_attn.o_proj.weight": matrix(dim, dim, {(i, i): 1 / norm for i in range(dim)}),
}

path = f"{folder}/model.safetensors"
data = bytearray(open(path, "rb").read())
n = struct.unpack("<Q", data[:8])[0]
for name, tensor in json.loads(data[8:8 + n]).items():
    if name == "__metadata__" or name.endswith("norm.weight"):
        continue
    begin, end = (8 + n + at for at in tensor["data_offsets"])
    data[begin:end] = weights[name].tobytes() if name in weights else bytes(end - begin)
open(path, "wb").write(data)
if os.path.exists(f"{folder}/state.json"):
    os.remove(f"{folder}/state.json")
