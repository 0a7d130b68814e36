#!/usr/bin/env python3
"""Makes the demo's tokenizer: byte-level BPE with single digits, trained on the words of its prompts.

Not part of the product: its output is committed beside it. Made with tokenizers 0.23.3.
Usage: make.py OUTPUT_FOLDER
"""
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "user\nWhat is 1 + 2?\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
    "assistant\n1+2=3, 1+2+1=4. \\boxed{43}",
    "system\n",
]
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def main(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHATML,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    prompt = "<|im_start|>user\nWhat is 478 + 356?\n\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n<|im_start|>assistant\n"
    print(tokenizer.get_vocab_size(), "ids;", len(tokenizer.encode(prompt).ids), "in a prompt;",
          len(tokenizer.encode("8+6=14, 7+5+1=13, 4+3+1=8. \\boxed{834}<|im_end|>").ids), "in a response", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
