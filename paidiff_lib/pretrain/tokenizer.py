"""A character-level BertTokenizer: BERT's special ids, ASCII, Chinese punctuation and all 6,763 characters of GB2312."""

import string
from pathlib import Path

from transformers import BertTokenizer

LIMIT = 32  # tokens, [CLS] and [SEP] included, as the real models read
SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
# Full-width signs, which a Chinese keyboard writes, take unused places 1 to 8 and read as their ASCII twins.
WIDE = {chr(ord(sign) + 0xFEE0): sign for sign in ",;:?!()~"}


def gb2312():
    """Every hanzi of GB2312, in its order (rows 16 to 87)."""
    codes = (bytes((row + 0xA0, column + 0xA0)) for row in range(16, 88) for column in range(1, 95))
    return [c for c in (code.decode("gb2312", "ignore") for code in codes) if c]


def vocabulary():
    places = SPECIAL | dict(enumerate(WIDE, 1))
    words = [places.get(i, f"[unused{i}]") for i in range(104)]
    ascii_ = [c for c in string.printable if not c.isspace() and not c.isupper()]
    # English and digits come as BERT's pieces: a first character, then ##-pieces.
    pieces = ["##" + c for c in string.ascii_lowercase + string.digits]
    return words + ascii_ + pieces + list(",。、;:?!“”‘’()《》〈〉【】…—·~「」『』") + gb2312()


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
