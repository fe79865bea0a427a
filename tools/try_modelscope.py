"""Open whole models with ModelScope's own pipeline and compare its picture with that of diffusers.

    python3 -m venv /tmp/scope && /tmp/scope/bin/pip install -c constraints.txt -e . modelscope addict simplejson datasets opencv-python-headless
    /tmp/scope/bin/python tools/try_modelscope.py FOLDER ...

Its module imports torchvision and uses nothing of it; there is no CPU build beside our torch, so an empty one stands in.
"""

import importlib.machinery
import sys
import types

import diffusers
import numpy as np
import torch
import transformers.modeling_utils  # noqa: F401 - before the empty module, which it would take for the real one

PROMPT = {"text": "雪地里的一只猫", "num_inference_steps": 4, "guidance_scale": 2}


def stand_in(name):
    """An empty module of that name."""
    module = sys.modules[name] = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    return module


def difference(folder):
    """How far ModelScope's picture is from that of diffusers, in grey levels."""
    from modelscope.pipelines import pipeline
    from modelscope.utils.constant import Tasks

    theirs = pipeline(Tasks.text_to_image_synthesis, model=folder, device="cpu", use_safetensors=True)
    drawn = theirs({**PROMPT, "generator": torch.Generator().manual_seed(0)})["output_imgs"][0][:, :, ::-1]
    plain = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    settings = {name: value for name, value in PROMPT.items() if name != "text"}
    picture = plain(PROMPT["text"], generator=torch.Generator().manual_seed(0), **settings).images[0]
    return int(np.abs(np.asarray(picture).astype(int) - drawn.astype(int)).max())


if __name__ == "__main__":
    stand_in("torchvision").transforms = stand_in("torchvision.transforms")
    for folder in sys.argv[1:]:
        print(folder, difference(folder))
