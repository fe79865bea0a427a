"""Two data sets as one."""

import math

from ..errors import PaidiffError
from .folder import hash_of
from .shards import EncodedShards


class Mixed:
    """Two data sets as one: `share` of the pictures in training come from `second`, each set gone through evenly.

    What a model should keep is shown to it beside what it should learn: prior preservation, rehearsal.
    Raises PaidiffError.
    """

    def __init__(self, first, second, share=0.5):
        if not 0 < share < 1:
            raise PaidiffError("share 要大于 0、小于 1", "must be above 0 and below 1", str(share))
        if isinstance(first, EncodedShards) or isinstance(second, EncodedShards):
            raise PaidiffError(
                "编码好的图不能和别的混着练", "encoded pictures cannot be mixed: encode both sets as one"
            )
        if first.size != second.size:
            raise PaidiffError("两组图要一样大", "both sets need the same size", f"{first.size}, {second.size}")
        count = math.ceil(max(len(first) / (1 - share), len(second) / share))
        kept = min(max(round(count * share), 1), count - 1)
        self.size, self.skipped = first.size, first.skipped + second.skipped
        self.left_out, self.has_conditions = first.left_out + second.left_out, first.has_conditions
        if first.has_conditions != second.has_conditions:
            raise PaidiffError("一组图有条件图,一组没有", "one set has conditioning images, the other has none")
        self.places = [(second, i % len(second)) for i in range(kept)]
        self.places += [(first, i % len(first)) for i in range(count - kept)]
        self.fingerprint = hash_of("mixed", first.fingerprint, second.fingerprint, count, kept)

    def __len__(self):
        return len(self.places)

    def caption(self, index):
        data, place = self.places[index]
        return data.caption(place)

    def captions(self, index):
        data, place = self.places[index]
        return data.captions(place)

    def variants(self, index):
        data, place = self.places[index]
        return data.variants(place)

    def shape(self, index, size):
        data, place = self.places[index]
        return data.shape(place, size)

    def image(self, index, size, variant=(0.5, False)):
        data, place = self.places[index]
        return data.image(place, size, variant)

    def condition(self, index, size, variant=(0.5, False)):
        data, place = self.places[index]
        return data.condition(place, size, variant)

    def digest(self, index):
        data, place = self.places[index]
        return data.digest(place)
