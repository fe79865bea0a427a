"""The vocabulary of the small model and of the skeletons: BERT's special ids, ASCII, Chinese signs, GB2312."""

import string

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
