"""Encoded pictures in shards: sets of any size, read from start to end, of which the memory holds a few samples.

    paidiff encode DATA -o SHARDS          writes them, once
    train(LoRA(pipe), EncodedShards("SHARDS"), ...)

A shard is a plain .tar as webdataset has them, of samples 00000000.json (captions), 00000000.moments.npy (mean and std of
the latent in each crop and mirror: variants, 2, C, h, w) and 00000000.embeddings.npy (hidden states of each caption:
captions, tokens, width). Beside it stands a .json that says where in it everything lies. index.json, written last, says
how many samples each shard has; encoding.json, written first, says from what and by which encoders they were made.
"""

import json
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from ..errors import DataError, Fault, first_line
from .folder import hash_of

ENCODING, INDEX, EMPTY = "encoding.json", "index.json", "empty.npy"
SHARDS_KNOWN = 16  # whose places are in memory; a buffer of samples lies in a few


def is_encoded(folder):
    """Whether it is a folder that `paidiff encode` has written or begun to write."""
    return (Path(folder).expanduser() / ENCODING).is_file()


class EncodedShards:
    """The shards in `folder`, as a training set. Raises DataError if they are not complete."""

    def __init__(self, folder: str | Path):
        self.folder, self.skipped, self.left_out, self.has_conditions = Path(folder).expanduser(), [], [], False
        self.encoding, index = _read(self.folder / ENCODING), _read(self.folder / INDEX)
        self.size, self.names, self.counts = self.encoding["size"], index["shards"], index["counts"]
        self.ends = list(accumulate(self.counts))
        if not self.ends or not self.ends[-1]:
            raise DataError(f"{self.folder} 里没有图片", "no pictures in the shards")
        self.fingerprint = hash_of(self.encoding, index)
        self._shard = lru_cache(SHARDS_KNOWN)(self._places)

    def __len__(self):
        return self.ends[-1]

    def captions(self, index):
        """All captions of a sample, a tuple."""
        shard, place = self._find(index)
        return tuple(shard["captions"][place])

    def caption(self, index):
        """Its first caption."""
        return self.captions(index)[0]

    def variants(self, index):
        """The numbers of the crops and mirrors that a sample was encoded in."""
        shard, place = self._find(index)
        return list(range(shard["variants"][place]))

    def moments(self, index, variant):
        """Mean and std of the latent of a sample, (2, C, h, w) float32."""
        return self._array(index, "moments")[variant]

    def embedding(self, index, caption):
        """The hidden states of one of a sample's captions, (tokens, width) float32; of the empty one, index is None."""
        import numpy as np

        if index is None:
            return np.load(self.folder / EMPTY)
        return self._array(index, "embeddings")[self.captions(index).index(caption)]

    def _array(self, index, kind):
        """One array of a sample, read from its place: nothing else of the shard is."""
        import numpy as np

        shard, place = self._find(index)
        try:
            with open(self.folder / shard["name"], "rb") as file:
                file.seek(shard[kind][place])
                return np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise Fault("unreadable", shard["name"], f"读不出来 · cannot be read: {first_line(error)}") from error

    def _find(self, index):
        """(what is known of the shard that a sample is in, its place there)"""
        number = bisect_right(self.ends, index)
        return self._shard(number), index - (self.ends[number] - self.counts[number])

    def _places(self, number):
        return _read(self.folder / f"{self.names[number]}.json")


def _read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        en = f"not completely encoded, {path.name} is missing: run the same paidiff encode again"
        raise DataError(f"{path.parent} 还没有编码完,再运行一次同样的 paidiff encode", en) from error
    except ValueError as error:
        raise DataError(f"{path} 读不出来", "cannot be read", first_line(error)) from error
