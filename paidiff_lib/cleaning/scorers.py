"""What gives a picture its numbers: the embedded curator, and by name a real CLIP and the real safety checker."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.images import square
from ..models.download import online
from ..models.encode import digest_of
from ..models.load import device
from ..models.opening import opening
from .quality_model import DETECTORS, SIZE, TextTower, curator


class Embedded:
    """The curator: clip, and one probability a detector."""

    def __init__(self):
        self.model, self.config = curator()
        self.text = TextTower()
        self.identity = digest_of(self.model) + digest_of(self.text.model)

    @torch.no_grad()
    def __call__(self, pictures, captions):
        """PIL pictures of any size and their captions -> {name: (N,)}."""
        seen, embedded = self._see(pictures)
        scores = dict(zip(DETECTORS, seen.sigmoid().T.numpy()))
        return {"clip": (embedded * self.text(captions)).sum(1).numpy(), **scores}

    def _see(self, pictures):
        x = np.stack([np.asarray(square(picture, SIZE), np.float32) for picture in pictures])
        return self.model(torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1)

    @torch.no_grad()
    def picture_vectors(self, pictures):
        """PIL pictures -> unit vectors (N, 192), numpy."""
        return self._see(pictures)[1].numpy()

    def text_vectors(self, texts):
        """Captions -> unit vectors (N, 192), numpy."""
        return self.text(texts, padding=True).numpy()


class RealClip:
    """A Chinese CLIP of the hub, or a folder: transformers' ChineseCLIPModel or CLIPModel with its processor."""

    def __init__(self, name):
        from transformers import AutoModel, AutoProcessor

        self.model, self.processor = _load(AutoModel, name), _load(AutoProcessor, name)
        self.identity = f"clip {name}"

    @torch.no_grad()
    def __call__(self, pictures, captions):
        out = self.model(**self._read(captions), **self._look(pictures))
        return {"clip": (out.image_embeds * out.text_embeds).sum(1).float().cpu().numpy()}

    def _read(self, captions):
        limit = min(self.processor.tokenizer.model_max_length, 64)
        cut = {"padding": True, "truncation": True, "max_length": limit}
        return self.processor.tokenizer(captions, return_tensors="pt", **cut).to(self.model.device)

    def _look(self, pictures):
        pixels = self.processor.image_processor(pictures, return_tensors="pt").pixel_values
        return {"pixel_values": pixels.to(self.model.device, self.model.dtype)}

    @torch.no_grad()
    def picture_vectors(self, pictures):
        """PIL pictures -> unit vectors (N, width), numpy."""
        return _unit(self.model.get_image_features(**self._look(pictures)))

    @torch.no_grad()
    def text_vectors(self, texts):
        """Captions -> unit vectors (N, width), numpy."""
        return _unit(self.model.get_text_features(**self._read(texts)))


class SafetyChecker:
    """The safety checker of Stable Diffusion: nsfw is how far the nearest concept is over its limit, above 0 is unsafe."""

    def __init__(self, name):
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
        from transformers import CLIPImageProcessor

        self.model, self.processor = _load(StableDiffusionSafetyChecker, name), _load(CLIPImageProcessor, name)
        self.identity, self.cosine = f"nsfw {name}", cosine_distance

    @torch.no_grad()
    def __call__(self, pictures, captions):
        pixels = self.processor(pictures, return_tensors="pt").pixel_values.to(self.model.device, self.model.dtype)
        seen = self.model.visual_projection(self.model.vision_model(pixels)[1])
        over = lambda kind: self.cosine(seen, getattr(self.model, kind)) - getattr(self.model, f"{kind}_weights")
        special = 0.01 * (over("special_care_embeds") > 0).any(1, keepdim=True)  # then the checker is stricter
        return {"nsfw": (over("concept_embeds") + special).amax(1).float().cpu().numpy()}


def _unit(features):
    features = getattr(features, "pooler_output", features)  # transformers 5 returns the whole output
    return torch.nn.functional.normalize(features.float(), dim=1).cpu().numpy()


def _load(kind, name) -> Any:
    from huggingface_hub import snapshot_download

    with opening("没有找到", "cannot load", name):
        if not online() and not Path(name).is_dir():  # for some files transformers asks the hub, whatever it is told
            name = snapshot_download(str(name), local_files_only=True)
        part = kind.from_pretrained(name)
    return part.to(device()).eval() if isinstance(part, torch.nn.Module) else part
