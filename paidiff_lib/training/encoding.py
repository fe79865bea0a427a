"""Pictures -> shards of latents and embeddings, by one process or many; what was stopped goes on where it was.

A file of many pictures is a part, and so are SHARD pictures of any other set. Process `number` of `count` takes every
count-th part and makes shards of it. A shard is there when the .json beside it is, so that a process that was killed has
lost the one that it was at.
"""

import io
import json
import os
import tarfile
from functools import partial
from pathlib import Path

from ..datasets.folder import CaptionFolder
from ..datasets.packed import packed
from ..datasets.shards import EMPTY, ENCODING, INDEX
from ..errors import Refused
from ..files import atomic_file, digest
from ..models.encode import encode_picture, native_size
from .latents import frozen_embedding, text_digest, vae_digest

SHARD = 1000  # samples in a shard


def process():
    """(number, count) of this process among those that torchrun or a cluster has started; on its own card, if it has one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def encode(pipe, data, output, size=None, center_crop=True, random_flip=False, skip_faults=False, number=0, count=1):
    """Write what `pipe` makes of the pictures and captions in `data` as shards into `output`. A generator: (parts that are
    there, of how many) after each.

    data: what CaptionFolder takes. A folder of .parquet or .tar is opened file by file and may be of any size.
    number, count: this process, of how many. Raises PaidiffError.
    """
    import numpy as np

    data, output = Path(data).expanduser(), Path(output).expanduser()
    settings = {"size": size or native_size(pipe), "center_crop": center_crop, "random_flip": random_flip}
    parts = list(_parts(data, {**settings, "skip_faults": skip_faults}))
    names, encoders = [name for name, _ in parts], {"vae": vae_digest(pipe), "text_encoder": text_digest(pipe)}
    _begin(output, {**settings, **encoders, "parts": names})
    if not (output / EMPTY).is_file():
        with atomic_file(output / EMPTY) as staging, open(staging, "wb") as file:
            np.save(file, frozen_embedding(pipe, "").numpy())
    for part in range(number, len(parts), count):
        if not part_file(output, part).is_file():
            opened, indices = parts[part][1]()
            write_part(output, part, len(indices), partial(_samples, pipe, opened, indices))
        yield sum(part_file(output, other).is_file() for other in range(len(parts))), len(parts)
    if all(part_file(output, part).is_file() for part in range(len(parts))):
        write_index(output, len(parts))


def _parts(data, settings):
    """(name, a function that opens (the CaptionFolder, the indices in it)) of each part."""
    packs = packed(data)
    for path, name in packs:
        yield name, lambda path=path: ((opened := CaptionFolder(path, **settings)), range(len(opened)))
    if not packs:
        opened = CaptionFolder(data, **settings)
        for start in range(0, len(opened), SHARD):
            indices = range(start, min(start + SHARD, len(opened)))
            yield f"{start}-{opened.digest(start)[:12]}", lambda indices=indices: (opened, indices)


def _begin(output, encoding):
    """Say in the folder what its shards are made from. Raises Refused if it holds others, or another thing."""
    path, text = output / ENCODING, json.dumps(encoding, ensure_ascii=False, indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        zh, en = f"{output} 里是别的编码,换一个文件夹", "holds what was encoded otherwise: choose another folder"
        raise Refused(zh, en, "图片、大小、模型都要一样 · pictures, size and model must be the same")
    if not path.is_file():
        if output.exists() and (not output.is_dir() or any(output.glob("[!.]*"))):
            raise Refused(f"{output} 已经有东西了,换一个新文件夹", "already holds something: choose a new folder")
        output.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as staging:
            staging.write_text(text, encoding="utf-8")


def part_file(output, part):
    """The .json that says which shards a part has become, and makes them count."""
    return output / f"part-{part:06}.json"


def _samples(pipe, data, indices, places):
    """(captions, moments, embeddings) of the pictures at these places of the indices, as arrays."""
    import torch

    for index in map(indices.__getitem__, places):
        images = (data.image(index, data.size, variant) for variant in data.variants(index))
        moments = torch.stack([encode_picture(pipe, image) for image in images])
        embeddings = torch.stack([frozen_embedding(pipe, caption) for caption in data.captions(index)])
        yield list(data.captions(index)), moments.numpy(), embeddings.numpy()


def write_part(output, part, count, samples):
    """Write the shards of a part that are not there yet. samples(places): (captions, moments, embeddings) of each of
    these places, of `count`.
    """
    shards = []
    for piece, start in enumerate(range(0, count, SHARD)):
        shards.append(f"shard-{part:06}-{piece:04}")
        if not (output / f"{shards[-1]}.json").is_file():
            _write_shard(output, shards[-1], samples(range(start, min(start + SHARD, count))))
    with atomic_file(part_file(output, part)) as staging:
        staging.write_text(json.dumps(shards) + "\n", encoding="utf-8")


def _write_shard(output, name, samples):
    """Write the .tar, then the .json that makes it count."""
    known = {"name": f"{name}.tar", "captions": [], "variants": [], "moments": [], "embeddings": []}
    with atomic_file(output / known["name"]) as staging:
        with tarfile.open(staging, "w") as tar:
            for place, (captions, moments, embeddings) in enumerate(samples):
                _add(tar, f"{place:08}.json", json.dumps({"captions": captions}, ensure_ascii=False).encode())
                known["moments"].append(_add(tar, f"{place:08}.moments.npy", _bytes(moments)))
                known["embeddings"].append(_add(tar, f"{place:08}.embeddings.npy", _bytes(embeddings)))
                known["captions"].append(captions)
                known["variants"].append(len(moments))
        known["sha256"] = digest(staging)
    with atomic_file(output / f"{name}.json") as staging:
        staging.write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")


def write_index(output, parts):
    """Say how many samples each shard has: from now on the set is complete."""
    index = {"shards": [], "counts": [], "sha256": []}
    for part in range(parts):
        for name in json.loads(part_file(output, part).read_text(encoding="utf-8")):
            known = json.loads((output / f"{name}.json").read_text(encoding="utf-8"))
            index["shards"].append(name)
            index["counts"].append(len(known["captions"]))
            index["sha256"].append(known["sha256"])
    with atomic_file(output / INDEX) as staging:
        staging.write_text(json.dumps(index) + "\n", encoding="utf-8")


def _bytes(array):
    import numpy as np

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _add(tar, name, raw):
    """Add a file to a .tar. Returns where its bytes begin."""
    member = tarfile.TarInfo(name)
    member.size = len(raw)
    tar.addfile(member, io.BytesIO(raw))
    return tar.offset - -(-len(raw) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
