"""Makes the tokenizer fixtures: vocabularies as GGUF files carry them, with the ids that Hugging Face
`tokenizers` and SentencePiece give.

    KVASIR_TEST_MODEL=SmolLM2-135M-Instruct.Q4_1.gguf python tokenizer_fixtures.py --out FOLDER

Every fixture is a JSON object:
  vocab         fields of GgufVocab (not for SmolLM2, whose vocabulary is in its GGUF file)
  texts         list of {text, ids, ids_with_special_tokens}
  decode        list of {ids, text, text_without_special_tokens}
"""

import io
import json
import os
import random

import sentencepiece
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

import _fixtures
from _tokenizer_texts import all_texts, training_lines

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def split_with(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


GPT2_SPLIT = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
SMOLLM_SPLIT = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2_SPLIT])


def cases(tokenizer, texts):
    return [
        {
            "text": text,
            "ids": tokenizer.encode(text, add_special_tokens=False).ids,
            "ids_with_special_tokens": tokenizer.encode(text, add_special_tokens=True).ids,
        }
        for text in texts
    ]


def decode_cases(tokenizer, num_ids, favourites, seed):
    """Random ids; `favourites` (bytes, special tokens) more often than others."""
    rng = random.Random(seed)
    found = []
    for _ in range(200):
        ids = [
            rng.choice(favourites) if rng.random() < 0.4 else rng.randrange(num_ids)
            for _ in range(rng.randrange(1, 24))
        ]
        found.append(
            {
                "ids": ids,
                "text": tokenizer.decode(ids, skip_special_tokens=False),
                "text_without_special_tokens": tokenizer.decode(ids, skip_special_tokens=True),
            }
        )
    return found


def write(folder, name, fixture):
    path = folder / f"tokenizer_{name}.json"
    path.write_text(json.dumps(fixture, ensure_ascii=True, separators=(",", ":")) + "\n")


def byte_level_tokenizer(vocab, merges, split, types, tokens, nfc=False, ignore_merges=False):
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [
            AddedToken(token, normalized=False, special=kind == CONTROL)
            for token, kind in zip(tokens, types)
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    return tokenizer


def byte_level(folder, name, pre, split, special, user_defined, nfc=False, ignore_merges=False, add_bos=False):
    """A small vocabulary, trained here."""
    trained = Tokenizer(BPE())
    if nfc:
        trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = split
    trained.train_from_iterator(
        training_lines(),
        BpeTrainer(
            vocab_size=1200,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    model = json.loads(trained.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    types = [NORMAL] * len(tokens)
    if ignore_merges:
        # A word that no merges lead to: only the rule that gives the family its name finds it.
        tokens.append("Ġunmergeable")
        types.append(NORMAL)
    # A hole, filled as converters do.
    tokens.append(f"[PAD{len(tokens)}]")
    types.append(UNUSED)
    for token in special + user_defined:
        tokens.append(token)
        types.append(CONTROL if token in special else USER_DEFINED)
    merges = [tuple(merge) for merge in model["merges"]]
    vocab = {token: id for id, token in enumerate(tokens) if types[id] != UNUSED}
    tokenizer = byte_level_tokenizer(vocab, merges, split, types, tokens, nfc, ignore_merges)
    bos, eos = len(tokens) - len(special + user_defined), len(tokens) - len(special + user_defined) + 1
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[bos]} $A", special_tokens=[(tokens[bos], bos)]
        )
    texts = all_texts(special + user_defined, seed=len(name))
    texts += ["an unmergeable word", "[PAD1200] is not a token", "caf\u00e9 cafe\u0301"]
    favourites = [id for id, token in enumerate(tokens) if len(token) == 1 or types[id] != NORMAL]
    write(
        folder,
        name,
        {
            "vocab": {
                "model": "gpt2",
                "pre": pre,
                "tokens": tokens,
                "token_types": types,
                "merges": [" ".join(merge) for merge in merges],
                "bos_id": bos,
                "eos_id": eos,
            },
            "texts": cases(tokenizer, texts),
            "decode": decode_cases(tokenizer, len(tokens), favourites, seed=len(name)),
        },
    )


def llama_merges(tokens, scores, types):
    """All ways to make a piece of two pieces, the best scored first, as transformers' converter sorts."""
    pieces = {token: id for id, token in enumerate(tokens) if types[id] in (NORMAL, USER_DEFINED)}
    merges = []
    for token, id in pieces.items():
        ways = [
            (token[:at], token[at:], scores[id])
            for at in range(1, len(token))
            if token[:at] in pieces and token[at:] in pieces
        ]
        merges += sorted(ways, key=lambda way: (pieces[way[0]], pieces[way[1]]))
    merges.sort(key=lambda way: (way[2], len(way[0]), len(way[1])), reverse=True)
    return [(left, right) for left, right, _ in merges]


def sentencepiece_model(folder, name, add_space_prefix):
    """A SentencePiece BPE model with byte fallback, trained here; ids of plain texts are SentencePiece's."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_lines()),
        model_writer=trained,
        model_type="bpe",
        vocab_size=1000,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=add_space_prefix,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=["<|user|>"],
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    tokens = [model.id_to_piece(id) for id in range(len(model))]
    scores = [model.get_score(id) for id in range(len(model))]
    types = []
    for id in range(len(model)):
        if model.is_unknown(id):
            types.append(UNKNOWN)
        elif model.is_control(id):
            types.append(CONTROL)
        elif model.is_byte(id):
            types.append(BYTE)
        elif tokens[id] == "<|user|>":
            types.append(USER_DEFINED)
        else:
            types.append(NORMAL)
    tokenizer = Tokenizer(
        BPE(
            vocab={token: id for id, token in enumerate(tokens)},
            merges=llama_merges(tokens, scores, types),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = [normalizers.Prepend("\u2581")] if add_space_prefix else []
    tokenizer.normalizer = normalizers.Sequence(prefix + [normalizers.Replace(" ", "\u2581")])
    strip = [decoders.Strip(" ", 1, 0)] if add_space_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()] + strip
    )
    tokenizer.add_tokens(
        [
            AddedToken(token, normalized=False, special=kind != USER_DEFINED)
            for token, kind in zip(tokens, types)
            if kind in (UNKNOWN, CONTROL, USER_DEFINED)
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    special = ["<s>", "</s>", "<unk>", "<|user|>"]
    texts = all_texts(special, seed=len(name)) + ["<0x41> is not a byte here"]
    found = cases(tokenizer, texts)
    compared = 0
    for case in found:
        if any(token in case["text"] for token in special):
            continue
        assert model.encode(case["text"]) == case["ids"], case["text"]
        compared += 1
    assert compared > 100
    favourites = [id for id, kind in enumerate(types) if kind != NORMAL]
    write(
        folder,
        name,
        {
            "vocab": {
                "model": "llama",
                "tokens": tokens,
                "scores": scores,
                "token_types": types,
                "bos_id": 1,
                "eos_id": 2,
                "unk_id": 0,
                "add_space_prefix": add_space_prefix,
            },
            "texts": found,
            "decode": decode_cases(tokenizer, len(tokens), favourites, seed=len(name)),
        },
    )


def smollm2(folder, path):
    """The published tokenizer of SmolLM2, its vocabulary and merges taken from the GGUF file."""
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    vocab = {token: id for id, token in enumerate(tokens)}
    tokenizer = byte_level_tokenizer(vocab, merges, SMOLLM_SPLIT, types, tokens)
    special = [token for token, kind in zip(tokens, types) if kind == CONTROL]
    write(
        folder,
        "smollm2",
        {
            "texts": cases(tokenizer, all_texts(special, seed=2)),
            "decode": decode_cases(tokenizer, len(tokens), list(range(300)), seed=2),
        },
    )


def make(folder):
    smollm2(folder, os.environ["KVASIR_TEST_MODEL"])
    ends = ["<|begin|>", "<|end|>"]
    byte_level(folder, "gpt2", "gpt-2", GPT2_SPLIT, ends, [])
    byte_level(folder, "smollm", "smollm", SMOLLM_SPLIT, ends, ["<file name>"])
    llama3 = split_with(LLAMA3)
    byte_level(folder, "llama_bpe", "llama-bpe", llama3, ends, ["<|tool|>"], ignore_merges=True, add_bos=True)
    byte_level(folder, "qwen2", "qwen2", split_with(QWEN2), ends, ["<think>", "caf\u00e9"], nfc=True)
    sentencepiece_model(folder, "sentencepiece", add_space_prefix=True)
    sentencepiece_model(folder, "sentencepiece_no_prefix", add_space_prefix=False)


if __name__ == "__main__":
    _fixtures.run(__file__, make)
