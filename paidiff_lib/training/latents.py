"""A data set through the frozen encoders, made once and kept: latents, embeddings, conditions."""

from functools import partial
from itertools import chain
from typing import Any

from ..datasets.folder import hash_of
from ..errors import PaidiffError, Refused
from ..models.encode import digest_of, encode_captions, encode_picture, native_size
from .randomness import StreamSampler, make_sampler
from .tensor_folder import TensorFolder
from .together import gather, rounds, share


class LatentCache:
    """A data set through the frozen encoders of a pipeline: latents, and embeddings of the captions.

    cache: a folder to keep them in; None keeps them in memory. text=False leaves the captions alone. condition: what
    makes a picture (PIL) into the picture that steers it, for a ControlNet.
    Everything is made on the way in, one picture at a time, so that a value never depends on its neighbours. Several
    processes, of an `accelerator`, share the work: each picture is encoded by one of them.
    """

    def __init__(self, pipe, data, cache=None, text=True, captions=(), condition: Any = None, accelerator: Any = None):
        self.pipe, self.data, self.make_condition = pipe, data, condition
        self.kept: Any = TensorFolder(cache) if cache else {}
        self.size = data.size or native_size(pipe)
        scale = pipe.vae_scale_factor
        if self.size % scale:
            raise PaidiffError(f"边长要是 {scale} 的倍数", f"the size must be a multiple of {scale}", str(self.size))
        self.shapes = [data.shape(index, self.size) for index in range(len(data))]
        self._vae = vae_digest(pipe)
        self._encoder = digest_of(pipe.text_encoder) if text else None
        self._fill(self._jobs(captions if text else None), cache, accelerator)

    def _jobs(self, captions):
        """A function for everything that is to be encoded. captions: beside the data's own; None leaves all of them alone."""
        data = self.data
        for index in range(len(data)):
            for variant in data.variants(index):
                yield partial(self.moments, index, variant)
                if self.make_condition:
                    yield partial(self.condition, index, variant)
        if captions is not None:
            for caption in dict.fromkeys([*captions, *chain.from_iterable(map(data.captions, range(len(data))))]):
                yield partial(self.embedding, caption)

    def _fill(self, jobs, cache, accelerator):
        """Do the jobs, or this process's part of them. What is kept in memory is told to the others."""
        if accelerator is None or accelerator.num_processes == 1:
            for job in jobs:
                job()
            return
        number, count = share(accelerator, cache)
        own = (job for place, job in enumerate(jobs) if place % count == number)
        sent = set()
        for _ in rounds(accelerator, own):
            if not cache:
                fresh = {key: tensor for key, tensor in self.kept.items() if key not in sent}
                for found in gather(accelerator, fresh):
                    self.kept.update(found)
                sent = set(self.kept)

    def latents(self, examples, part=slice(None)):
        """A sample of the latent of each (index, variant), scaled for the UNet: (B, C, h, w) float32 on the CPU.

        part: which of the examples are wanted; chance is drawn for all of them.
        """
        import torch

        mean, std = torch.stack([self.moments(*example) for example in examples[part]]).unbind(1)
        noise = torch.randn(len(examples), *mean.shape[1:])[part]
        return (mean + std * noise) * self.pipe.vae.config.scaling_factor

    def sampler(self, count, seed):
        """The order of the pictures, of which `count` are taken at a time."""
        return make_sampler(self.shapes, count, seed)

    def moments(self, index, variant):
        """Mean and std of the latent of a picture, (2, C, h, w) float32 on the CPU: a sample is mean + std * noise."""
        key = hash_of("latent", self.data.digest(index), variant, self._side(index), self._vae)
        return self._once(key, lambda: encode_picture(self.pipe, self.data.image(index, self.size, variant)))

    def condition(self, index, variant):
        """What steers a picture, (3, H, W) uint8: the data's own, else what the method makes of the picture."""
        if self.data.has_conditions:
            key = hash_of("own condition", self.data.fingerprint, index, variant, self._side(index))
            return self._once(key, lambda: _to_bytes(self.data.condition(index, self.size, variant)))
        key = hash_of("condition", self.data.digest(index), variant, self._side(index), self.make_condition.__name__)
        return self._once(key, lambda: _to_bytes(self.make_condition(self.data.image(index, self.size, variant))))

    def _side(self, index):
        """What a shape is called in a key: a square by its side, as it was before there were others."""
        width, height = self.shapes[index]
        return width if width == height else [width, height]

    def embedding(self, caption, index=None):
        """Hidden states of a caption, (tokens, width) float32 on the CPU, whichever picture it is of."""
        pipe = self.pipe
        key = hash_of("text", caption, self._encoder, pipe.tokenizer.get_added_vocab(), str(pipe.text_encoder.dtype))
        return self._once(key, lambda: frozen_embedding(pipe, caption))

    def _once(self, key, make):
        """The tensor kept under `key`; `make()` is called if there is none."""
        found = self.kept.get(key)
        if found is None:
            found = self.kept[key] = make()
        return found


class ShardLatents(LatentCache):
    """As LatentCache, of a set that was encoded before: nothing is made, and nothing kept in memory. Raises Refused."""

    def __init__(self, pipe, data, cache=None, text=True, captions=(), condition: Any = None, accelerator: Any = None):
        self.pipe, self.data, self.shapes = pipe, data, [(data.size, data.size)]
        if condition:
            zh, en = "ControlNet 要看图片,不能用编码好的", "a ControlNet looks at the pictures: give it those"
            raise Refused(zh, en, str(data.folder))
        wrong = data.encoding["vae"] != vae_digest(pipe)
        if wrong or (text and data.encoding["text_encoder"] != text_digest(pipe)):
            zh, en = (
                "是别的模型编码的",
                "was encoded by another model: run paidiff encode with this one, into a new folder",
            )
            raise Refused(f"{data.folder} {zh}", en)

    def sampler(self, count, seed):
        return StreamSampler(self.data.counts, seed)

    def moments(self, index, variant):
        import torch

        return torch.from_numpy(self.data.moments(index, variant))

    def embedding(self, caption, index=None):
        import torch

        return torch.from_numpy(self.data.embedding(index if caption else None, caption))


def vae_digest(pipe):
    """What latents depend on: not the decoder, a better one leaves them as they are."""
    return hash_of(*map(digest_of, filter(None, (pipe.vae.encoder, pipe.vae.quant_conv))))


def text_digest(pipe):
    """What embeddings depend on."""
    return hash_of(digest_of(pipe.text_encoder), pipe.tokenizer.get_added_vocab(), str(pipe.text_encoder.dtype))


def _to_bytes(image):
    import numpy as np
    import torch

    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def frozen_embedding(pipe, caption):
    """Hidden states of a caption, (tokens, width) float32 on the CPU."""
    import torch

    with torch.no_grad():
        return encode_captions(pipe, [caption])[0].float().cpu()
