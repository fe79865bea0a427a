"""A data set through the frozen encoders, made once and kept: latents, embeddings, conditions."""

from itertools import chain
from typing import Any

from ..datasets.folder import hash_of
from ..errors import PaidiffError
from ..models.encode import digest_of, encode_captions, encode_picture, native_size
from .tensor_folder import TensorFolder


class LatentCache:
    """A data set through the frozen encoders of a pipeline: latents, and embeddings of the captions.

    cache: a folder to keep them in; None keeps them in memory. text=False leaves the captions alone. condition: what
    makes a picture (PIL) into the picture that steers it, for a ControlNet.
    Everything is made on the way in, one picture at a time, so that a value never depends on its neighbours.
    """

    def __init__(self, pipe, data, cache=None, text=True, captions=(), condition: Any = None):
        self.pipe, self.data, self.make_condition = pipe, data, condition
        self.kept = TensorFolder(cache) if cache else {}
        self.size = data.size or native_size(pipe)
        scale = pipe.vae_scale_factor
        if self.size % scale:
            raise PaidiffError(f"边长要是 {scale} 的倍数", f"the size must be a multiple of {scale}", str(self.size))
        # not of the decoder: a better one leaves the latents as they are
        self.shapes = [data.shape(index, self.size) for index in range(len(data))]
        self._vae = hash_of(*map(digest_of, filter(None, (pipe.vae.encoder, pipe.vae.quant_conv))))
        self._encoder = digest_of(pipe.text_encoder) if text else None
        for index in range(len(data)):
            for variant in data.variants(index):
                self.moments(index, variant)
                condition and self.condition(index, variant)
        if text:
            for caption in dict.fromkeys([*captions, *chain.from_iterable(map(data.captions, range(len(data))))]):
                self.embedding(caption)

    def latents(self, examples, part=slice(None)):
        """A sample of the latent of each (index, variant), scaled for the UNet: (B, C, h, w) float32 on the CPU.

        part: which of the examples are wanted; chance is drawn for all of them.
        """
        import torch

        mean, std = torch.stack([self.moments(*example) for example in examples[part]]).unbind(1)
        noise = torch.randn(len(examples), *mean.shape[1:])[part]
        return (mean + std * noise) * self.pipe.vae.config.scaling_factor

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

    def embedding(self, caption):
        """Hidden states of a caption, (tokens, width) float32 on the CPU."""
        pipe = self.pipe
        key = hash_of("text", caption, self._encoder, pipe.tokenizer.get_added_vocab(), str(pipe.text_encoder.dtype))
        return self._once(key, lambda: _frozen_embedding(pipe, caption))

    def _once(self, key, make):
        """The tensor kept under `key`; `make()` is called if there is none."""
        found = self.kept.get(key)
        if found is None:
            found = self.kept[key] = make()
        return found


def _to_bytes(image):
    import numpy as np
    import torch

    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def _frozen_embedding(pipe, caption):
    import torch

    with torch.no_grad():
        return encode_captions(pipe, [caption])[0].float().cpu()
