"""Tiny tokenizers of the kinds that language models have, each with `<s>` and `</s>` as special tokens."""

SPECIALS = ["<s>", "</s>", "<|im_start|>"]


def byte_level(merges=()):
    """GPT-2's kind: every byte is a letter, and nothing is merged but what is given."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(BPE({word: place for place, word in enumerate(words)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _with_specials(tokenizer)


def byte_fallback():
    """Llama 2's kind: a space before the text, bytes for what the vocabulary lacks; its merges make `</s>`."""
    from tokenizers import Tokenizer, decoders, normalizers
    from tokenizers.models import BPE

    names = ["<unk>", *SPECIALS[:2], *(f"<0x{byte:02X}>" for byte in range(256)), *'▁abc<>/s|imXY{}:"', "/s", "</s"]
    vocabulary = {name: place for place, name in enumerate(dict.fromkeys(names))}
    merges = [("/", "s"), ("<", "/s"), ("</s", ">")]
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return _with_specials(tokenizer)


def unigram():
    """T5's kind: the special tokens are pieces of the vocabulary, which a text could contain."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import Unigram

    letters = "▁abcdefghijklmnopqrstuvwxyzABXY<>/|_{}:\"'\\0123456789\n.,!"
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((letter, -2.0) for letter in letters)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    return _with_specials(tokenizer)


KINDS = {"byte_level": byte_level, "byte_fallback": byte_fallback, "unigram": unigram}


def _with_specials(tokenizer):
    tokenizer.add_tokens(["<tool>"])
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer
