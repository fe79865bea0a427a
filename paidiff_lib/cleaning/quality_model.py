"""The curator: a small network that looks at a picture and its caption and gives numbers to keep or drop them by.

Its picture tower was trained against the text tower of paidiff-clip-zh, which stayed frozen: that text tower and this
picture tower are the embedded Chinese CLIP of data cleaning. (The picture tower that was trained together with the
text, patches of 32 pixels, finds wrong captions at 87 % precision and recall; this one is made for small pictures.)
Beside it four detectors on the same body. Trained on pictures of the world by `python -m paidiff_world.pretrain.curator`
and known to work there only. The judge has no part in it, so it can measure what comes out.
"""

import json
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from ..files import data_folder
from ..models.opening import opening

FOLDER, TEXT = Path("models/paidiff-curator"), Path("models/paidiff-clip-zh")  # below the data folder
DETECTORS = ("blur", "noise", "watermark", "nsfw")
SIZE = 128


class Curator(nn.Module):
    """Pictures (N, 3, 128, 128) in -1..1 -> (logits of DETECTORS (N, 4), unit vectors beside a caption's (N, text))."""

    def __init__(self, width=24, text=192):
        super().__init__()
        sizes = [width, width, width * 2, width * 4, width * 8]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(*[Block(a, b, 2) for a, b in zip(sizes, sizes[1:])])
        self.detectors = nn.Linear(sizes[-1] * 2, len(DETECTORS))
        self.tower = nn.Linear(sizes[-1] * 2, text)

    def forward(self, x):
        y = self.body(self.stem(x))
        y = torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1)
        return self.detectors(y), F.normalize(self.tower(y).float(), dim=1)


class TextTower:
    """The text half of paidiff-clip-zh, frozen: captions -> unit vectors (N, 192)."""

    def __init__(self):
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        folder = data_folder() / TEXT
        with opening("词塔读不出来", "cannot read the text tower", folder):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = CLIPTextModelWithProjection.from_pretrained(folder, local_files_only=True).float().eval()
        self.limit = self.model.config.max_position_embeddings

    @torch.no_grad()
    def __call__(self, captions, padding: bool | str = "max_length"):
        """padding: True where speed counts; then a text's last bits depend on its neighbours."""
        cut = dict(padding=padding, truncation=True, max_length=self.limit, return_tensors="pt")
        return F.normalize(self.model(input_ids=self.tokenizer(captions, **cut).input_ids).text_embeds, dim=1)


@lru_cache(1)
def curator():
    """The shipped curator, in eval mode, and its config.json."""
    config = json.loads((data_folder() / FOLDER / "config.json").read_text(encoding="utf-8"))
    model = Curator(config["width"], config["text"])
    model.load_state_dict(load_file(data_folder() / FOLDER / "model.safetensors"))
    return model.float().eval(), config


class Block(nn.Module):
    """Residual block; halves the picture when `stride` is 2. (N, C, H, W) -> (N, D, H / stride, W / stride)"""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(channels, out, 1, stride, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(out), nn.BatchNorm2d(out)])

    def forward(self, x):
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(y)) + self.skip(x))
