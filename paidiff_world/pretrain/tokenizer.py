"""A character-level BertTokenizer: BERT's special ids, ASCII, Chinese punctuation and all 6,763 characters of GB2312."""

from pathlib import Path

from transformers import BertTokenizer

from paidiff_lib.models.vocabulary import WIDE, vocabulary

LIMIT = 32  # tokens, [CLS] and [SEP] included, as the real models read


def share_rows(table, tokenizer):
    """Give each full-width sign the embedding of its ASCII twin, in place; table (vocabulary, width)."""
    ids = tokenizer.convert_tokens_to_ids
    for wide, sign in WIDE.items():
        table[ids(wide)] = table[ids(sign)]


def build(folder):
    """Write the tokenizer into `folder` and return it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    words = list(dict.fromkeys(vocabulary()))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=LIMIT)
    tokenizer.save_pretrained(folder)
    return BertTokenizer.from_pretrained(folder, model_max_length=LIMIT)
