"""The one error of this library."""


class PaidiffError(Exception):
    """Something the user can put right. The message is one clear line, Chinese first, English beside it."""
