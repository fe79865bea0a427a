"""Tensors in a folder, by key, that outlive the process."""

import hashlib
from pathlib import Path

from ..files import atomic_file


class TensorFolder:
    """A dict of tensors on disk. A file is its own sha256 and the tensor: one that is damaged is as good as not there."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def get(self, key):
        """The tensor of that key; None if there is none."""
        from safetensors.torch import load

        try:
            raw = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        return load(raw[32:])["tensor"] if hashlib.sha256(raw[32:]).digest() == raw[:32] else None

    def __setitem__(self, key, tensor):
        from safetensors.torch import save

        path, raw = self._path(key), save({"tensor": tensor.contiguous()})
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as staging:
            staging.write_bytes(hashlib.sha256(raw).digest() + raw)

    def _path(self, key):
        return self.folder / key[:2] / f"{key}.tensor"
