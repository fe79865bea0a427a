"""The errors of this library."""


class PaidiffError(Exception):
    """Something the user can put right. The message is one clear line, Chinese first, English beside it."""


class Fault(PaidiffError):
    """One thing wrong with training data. kind: a word for it; where: the file or line; text: what is wrong.

    entry: the picture, where only its caption is at fault.
    """

    def __init__(self, kind, where, text):
        self.kind, self.where, self.text, self.entry = kind, one_line(where), one_line(text), None
        super().__init__(f"{self.where}: {self.text}")


def one_line(text):
    """Text that any terminal can print: what has no picture of its own is written out, a new line as \\n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
