"""What gives a picture its numbers: the embedded curator, and by name a real CLIP and the real safety checker."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.images import square
from ..errors import Refused
from ..models.download import online
from ..models.encode import digest_of
from ..models.load import device, find
from ..models.opening import opening
from ..models.registry import short_name
from ..models.verify import CHECKER, check, has_mark, require_no_code
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

        folder = _folder(name)
        self.model, self.processor = _model(AutoModel, folder), _processor(AutoProcessor, folder)
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
    """The safety checker of Stable Diffusion: nsfw is how far the nearest concept is over its limit, above 0 is unsafe.

    name: a published model or its folder, of which it is a part; its safety_checker folder; or a repository of its own.
    """

    def __init__(self, name):
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
        from transformers import CLIPImageProcessor

        folder = _folder(name)
        folder = folder / CHECKER if has_mark(folder, "base") else folder
        own = (folder / "preprocessor_config.json").is_file()  # in a model it stands beside
        self.model = _model(StableDiffusionSafetyChecker, folder)
        self.processor = _processor(CLIPImageProcessor, folder if own else folder.with_name("feature_extractor"))
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


def _folder(name):
    """The folder of a model of the hub, or of a published one by its short name; a folder is its own. Raises PaidiffError."""
    from huggingface_hub import snapshot_download

    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if short_name(str(name)):
        return find(str(name), safety_checker=True)
    with opening("没有找到", "cannot load", name):
        return Path(snapshot_download(str(name), local_files_only=not online()))


def _model(kind, folder) -> Any:
    """A network, checked as every model here is before it is opened. Raises Refused, also where a weight is missing."""
    safe_only = check(folder, "controlnet")  # as a ControlNet's: one config, one file of weights
    with opening("没有找到", "cannot load", folder):
        settings = {"local_files_only": True, "use_safetensors": True if safe_only else None}
        network, found = kind.from_pretrained(folder, output_loading_info=True, **settings)
    if missing := sorted(map(str, found["missing_keys"])):
        zh, en = "权重文件与模型对不上", "the file of weights does not fit the model"
        raise Refused(zh, en, f"{folder}: {len(missing)}, {missing[0]}")
    return network.to(device()).eval()


def _processor(kind, folder) -> Any:
    require_no_code(folder)
    with opening("没有找到", "cannot load", folder):
        return kind.from_pretrained(folder, local_files_only=True)
