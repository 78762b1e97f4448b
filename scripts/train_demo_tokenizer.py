"""Trains demo/model/tokenizer.json: a byte-level BPE of 4,096 tokens over the demo's conversations.

    pip install tokenizers==0.23.3 && python scripts/train_demo_tokenizer.py

The result is kept in the repository; the same input and version give the same file.
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

DEMO = Path(__file__).resolve().parent.parent / "demo"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# 4,096 keep the file near 100 KB and give about 3.5 characters to a token on this text.
VOCABULARY = 4096
# Words with a leading space, numbers of up to three digits, punctuation runs, line ends, other space: the split that
# GPT-4-era tokenizers share. Digits in threes keep hashes and addresses from filling the vocabulary.
SPLIT = r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def texts():
    for line in (DEMO / "data" / "conversations.jsonl").read_text(encoding="utf-8").splitlines():
        for message in json.loads(line)["messages"]:
            yield message["content"] or ""
            for call in message.get("tool_calls", []):
                yield json.dumps(call["function"], ensure_ascii=False)


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    (DEMO / "model").mkdir(exist_ok=True)
    tokenizer.save(str(DEMO / "model" / "tokenizer.json"), pretty=False)
    everything = list(texts())
    characters = sum(map(len, everything))
    tokens = sum(len(tokenizer.encode(text).ids) for text in everything)
    print(f"{tokenizer.get_vocab_size()} tokens, {characters / tokens:.2f} characters to a token")


main()
