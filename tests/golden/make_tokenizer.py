#!/usr/bin/env python3
"""Golden data of the tokenizers and chat templates, with Hugging Face's libraries.

Made with tokenizers 0.23.3, transformers 5.23.0, xxhash 3.6.0 (python-xxhash). Usage:

    make_tokenizer.py SHARED [SMOLLM2]

SHARED is the folder with data/; SMOLLM2 the directory that tests/reference/smollm2_to_hf.py writes.
Writes tests/golden/tokenizer/: the torture file, and for each family

    FAMILY/tokenizer.json, tokenizer_config.json   a stand-in: a small vocabulary trained here under the
                                                   family's published pre-tokeniser and special tokens
    FAMILY/torture.ids    token ids of each torture text, one line a text
    FAMILY/shared.txt     (not for "odd") for each file of SHARED/data: number of strings, of tokens, XXH64 of all ids as
                          little-endian u32 with 0xFFFFFFFF after each string
    chat.json             prompts, and their ids by apply_chat_template
"""
import json
import os
import random
import struct
import sys
import unicodedata

import xxhash
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer")
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL

CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
CHATML_SYSTEM = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}"
                 "{% endif %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
                 "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
MATH_SYSTEM = "Please reason step by step, and put your final answer within \\\\boxed{}."
SMOL_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
DEEPSEEK = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}{% endif %}{% endfor %}"
            "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<｜Assistant｜>THINK' }}{% endif %}")
LLAMA = ("{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{{ '<|start_header_id|>' + message['role'] + "
         "'<|end_header_id|>\\n\\n' }}{{ message['content'] | trim }}{{ '<|eot_id|>' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")


def special(*names):
    return [AddedToken(n, special=True, normalized=False) for n in names]


def plain(*names):
    return [AddedToken(n, special=False, normalized=False) for n in names]


def byte_level(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=use_regex)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


# name: (vocabulary, normalizer, pre-tokeniser, added tokens, model settings, merges as strings, config)
FAMILIES = {
    "qwen2": (2048, normalizers.NFC(), pre_tokenizers.Sequence([split(QWEN), byte_level()]),
              special("<|endoftext|>", "<|im_start|>", "<|im_end|>") + plain("<tool_call>", "</tool_call>"), {}, True,
              {"eos_token": "<|im_end|>", "chat_template": CHATML_SYSTEM.replace("SYSTEM", QWEN_SYSTEM)}),
    "deepseek-r1": (2048, normalizers.Sequence([]), pre_tokenizers.Sequence([split(QWEN), byte_level()]),
                    special("<｜end▁of▁sentence｜>") + plain("<｜User｜>", "<｜Assistant｜>") + special("<｜begin▁of▁sentence｜>")
                    + plain("<think>", "</think>"), {}, False,
                    {"bos_token": {"__type": "AddedToken", "content": "<｜begin▁of▁sentence｜>"},
                     "eos_token": {"__type": "AddedToken", "content": "<｜end▁of▁sentence｜>"}}),
    "smollm2": (2048, None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)]),
                special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"), {}, False,
                {"eos_token": "<|im_end|>", "chat_template": CHATML_SYSTEM.replace("SYSTEM", SMOL_SYSTEM)}),
    "llama-3": (2048, None, pre_tokenizers.Sequence([split(LLAMA3), byte_level()]),
                special("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
                {"ignore_merges": True}, True, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    # No model's: the settings that the four above leave alone.
    "odd": (600, normalizers.Sequence([normalizers.NFC()]),
            pre_tokenizers.Sequence([split(r"\p{N}{1,2}|[^\p{N}]+", "removed", True), pre_tokenizers.Digits(individual_digits=False),
                                     pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)]),
            [AddedToken("<left>", special=True, normalized=False, lstrip=True), AddedToken("<right>", special=True, normalized=False, rstrip=True),
             AddedToken("<both>", special=True, normalized=True, lstrip=True, rstrip=True), AddedToken("caf\u0065\u0301", special=False, normalized=True)],
            {"unk_token": "<unk>", "fuse_unk": True}, False, {}),
}


def torture_texts():
    rng = random.Random(20251123)
    spaces = [chr(c) for c in (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x2007, 0x200A, 0x2028, 0x2029, 0x202F,
                               0x205F, 0x3000)]
    almost = [chr(c) for c in (0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x1C, 0x1F, 0x00, 0x7F, 0xAD)]
    texts = ["", " ", "  ", "\n", "\r\n", "\r\n\r\n", " \n", "\n ", "a", " a", "a ", "Hello, world!", "The answer is \\boxed{42}.",
             "I'm you're it's we've they'll he'd don't I'M YOU'RE IT'S can'\u017f it'\u017f x'\u212a 'sa 'Sa '' ' s",
             "1 12 123 1234 12345 1234567 3.14159 -2 1,080 1e10 0x1F", "a1b2c3 x2 2x \u00b2\u00b3 \u00bd \u2167 \u0663\u0664 \u0967 \U0001d7d8\U0001d7d9",
             "$\\frac{-b \\pm \\sqrt{b^2-4ac}}{2a}$", "x^{2}+y_{1}=\\text{ if }x>2, \\\\\n\\end{array}\n\\right.\\]",
             "def f(x):\n    return x\n\n\n\tif x:\r\n\t\tpass   \n", "    indented\n        more\n", "end of line   \nnext", "tabs\t\tand \t mixed",
             "<|im_end|>", "a<|im_end|>b", " <|im_end|> ", "<|im_end", "<|im_<|im_end|>end|>", "<|im_start|>user\n\nhi<|im_end|>\n",
             "<|endoftext|><|endoftext|>", "<｜User｜>x<｜Assistant｜><think>\n</think>", "<|begin_of_text|><|eot_id|>", "<tool_call>{}</tool_call>",
             "x  <left>  y", "x  <right>  y", "x \t<both>\u3000\ny", "<left><right><both>", "un caf\u00e9, un cafe\u0301, CAFE\u0301", "cafe\u0301<both> caf\u00e9",
             "e\u0301 \u00e9 A\u030a \u212b \u00c5 \u0344 \u0308\u0301 \u1e9b\u0323 q\u0307\u0323 q\u0323\u0307",
             "\u1100\u1161\u11a8 \uac01 \uac00\u11a8 \u0958 \u0915\u093c \u2126 \u03a9 \u2000 \u2001 \ufb01 \ufb00 \u01c4",
             "\u0e33 \u0ead\u0eb3 \u0f73 \u0cc0 \u0cbf\u0cd5", "\u05e9\u05bc\u05c1 \ufb2c \u0627\u0653 \u0622", "\u4e2d\u6587\u5b57\u7b26\uff0c\u95ee\u9898\u3002\u8c48 \uf900 \u3131\u314f",
             "\u3053\u3093\u306b\u3061\u306f \u30ab\u3099 \u30ac \uff76\uff9e", "\u041f\u0440\u0438\u0432\u0435\u0442 \u03ba\u03cc\u03c3\u03bc\u03b5 \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947",
             "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f \U0001f44d\U0001f3fd",
             "\U000f0000 \U00040000 \U00080000 \U00100000 \U0010ffff \uffff \ufffe \ufdd0 \ufffd \ue000",
             "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x13\x14\x16\x1d\x7f \x04\x06 a\x13b", "\u180e\u180ea \u180e", "\u200b a\u200b \ufeffb",
             "a" * 300, "ab" * 200, " " * 200 + "x", "\n" * 100, "!" * 150, "\u0301" * 60, "x\u0301\u0323" * 40, "1" * 100, "\u4e2d" * 100,
             "'" * 50, "'s" * 30, " '" * 30, "\r" * 20 + "\n" * 20, " \r\n" * 30, "=" * 64 + "\n" + "-" * 64]
    for s in spaces + almost:
        texts += [s, s + s, "a" + s + "b", s + "b", "a" + s, "1" + s + "2", "!" + s + "?", s + "\n", "\n" + s + "x", " " + s + " y"]
    alphabet = [c for c in map(chr, range(0x20, 0x3000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    common = list("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789 .,;:!?'\"()[]{}$\\^_=+-*/<>|\n\t") + spaces + ["'s", "'ll", "  ", "\r\n", "<|im_end|>"]
    for _ in range(250):
        pool = common if rng.random() < 0.5 else alphabet
        texts.append("".join(rng.choice(pool if rng.random() < 0.8 else common) for _ in range(rng.randint(1, 40))))
    return texts


def strings_of(value):
    """Every string value (not the keys), in document order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_of(item)


def shared_files(shared):
    for folder in ("benchmarks", "train"):
        for name in sorted(os.listdir(os.path.join(shared, "data", folder))):
            with open(os.path.join(shared, "data", folder, name), encoding="utf-8") as f:
                yield f"data/{folder}/{name}", [s for line in f for s in strings_of(json.loads(line))]


def build(name, corpus):
    size, normalizer, pre, added, settings, as_strings, config = FAMILIES[name]
    t = Tokenizer(models.BPE(**{k: v for k, v in settings.items() if k == "ignore_merges"}))
    if normalizer is not None:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if "unk_token" in settings:
        alphabet = [c for c in alphabet if c not in "\u0104\u0106\u0113xQ"]  # some bytes have no token
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, limit_alphabet=len(alphabet),
                                                      special_tokens=[settings["unk_token"]] if "unk_token" in settings else []))
    t.add_special_tokens([a for a in added if a.special])
    t.add_tokens([a for a in added if not a.special])
    document = json.loads(t.to_str())
    if "unk_token" in settings:
        for c in ("\u0104", "\u0106", "\u0113", "x", "Q"):
            assert c not in document["model"]["vocab"], c
        document["model"].update(settings)
    if as_strings:
        document["model"]["merges"] = [" ".join(m) for m in document["model"]["merges"]]
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(document, f, ensure_ascii=name == "llama-3", separators=(",", ":"))
        f.write("\n")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, ensure_ascii=False, indent=1)
        f.write("\n")
    return Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))


def write_ids(name, t, texts, shared):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "torture.ids"), "w") as f:
        for e in t.encode_batch(texts, add_special_tokens=False):
            f.write(" ".join(map(str, e.ids)) + "\n")
    if not shared:
        return
    with open(os.path.join(folder, "shared.txt"), "w") as f:
        for path, strings in shared:
            digest, n_ids = xxhash.xxh64(), 0
            for start in range(0, len(strings), 4096):
                for e in t.encode_batch_fast(strings[start:start + 4096], add_special_tokens=False):
                    n_ids += len(e.ids)
                    digest.update(struct.pack(f"<{len(e.ids) + 1}I", *e.ids, 0xFFFFFFFF))
            f.write(f"{path} {len(strings)} {n_ids} {digest.hexdigest()}\n")


USERS = ["What is 2+2?", "", " ", "\n\nleading lines", "trailing space ", "  both  ", "Solve $x^2=4$.\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
         "\u3000wide\u3000", "e\u0301 first", "\u0301combining first", "1234", "\x1cseparated\x1f", "line\r\n"]
SYSTEMS = [None, "Be brief.", "", " padded \n"]


def write_chat():
    from transformers import PreTrainedTokenizerFast

    cases = [("qwen2", None, CHATML_SYSTEM.replace("SYSTEM", QWEN_SYSTEM)), ("qwen2", None, CHATML_SYSTEM.replace("SYSTEM", MATH_SYSTEM)),
             ("qwen2", None, CHATML), ("smollm2", None, CHATML_SYSTEM.replace("SYSTEM", SMOL_SYSTEM)),
             ("deepseek-r1", "deepseek-r1", DEEPSEEK.replace("THINK", "<think>\\n")), ("deepseek-r1", "deepseek-r1-open", DEEPSEEK.replace("THINK", "")),
             ("llama-3", "llama-3", LLAMA)]
    out = []
    for family, override, template in cases:
        folder = os.path.join(HERE, family)
        config = json.load(open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8"))
        bos = config.get("bos_token")
        t = PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"), bos_token=bos["content"] if isinstance(bos, dict) else bos)
        prompts = []
        for system in SYSTEMS:
            for user in USERS:
                messages = ([] if system is None else [{"role": "system", "content": system}]) + [{"role": "user", "content": user}]
                ids = t.apply_chat_template(messages, chat_template=template, add_generation_prompt=True, tokenize=True, return_dict=False)
                prompts.append({"system": system, "user": user, "ids": " ".join(map(str, ids))})
        out.append({"family": family, "override": override, "template": template, "prompts": prompts})
    with open(os.path.join(HERE, "chat.json"), "w", encoding="utf-8") as f:
        json.dump(out, f, ensure_ascii=False, indent=0)
        f.write("\n")


def main():
    shared = list(shared_files(sys.argv[1]))
    smollm2 = sys.argv[2] if len(sys.argv) > 2 else None
    texts = torture_texts()
    os.makedirs(HERE, exist_ok=True)
    with open(os.path.join(HERE, "torture.json"), "w", encoding="utf-8") as f:
        json.dump(texts, f, ensure_ascii=False, indent=0)
        f.write("\n")
    corpus = [s for _, strings in shared for s in strings[::7]] + texts * 3
    for name in FAMILIES:
        write_ids(name, build(name, corpus), texts, [] if name == "odd" else shared)
    if smollm2:
        write_ids("smollm2-real", Tokenizer.from_file(os.path.join(smollm2, "tokenizer.json")), texts, shared)
    write_chat()


main()
