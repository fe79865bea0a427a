"""How much memory there is, and about how much a piece of work needs: asked before the work, not after it has died.

The figures are estimates from the number of weights and the size of the pictures. What a backward pass keeps was counted on
the full-size UNet: 313 numbers for each latent cell and channel of its first level with a LoRA, 367 where all is trained, 57
with gradient checkpointing. They are taken with a margin for what comes and goes, and a tenth of what is free is left alone.
"""

import math

SMALL = 100e6  # weights of a UNet: below, a laptop draws and trains with it as it likes
ADAM = 16  # bytes of a weight in training: itself, its gradient and AdamW's two means, in single precision
KEPT, KEPT_AGAIN = 500, 150  # numbers for each cell and channel, without and with gradient checkpointing
DRAWN, DECODED = 500, 1000  # numbers for each pixel of a picture in the UNet, and of the one that is in the VAE
SHARES = {"lora": 0.03, "word": 0.0, "control": 0.42, "full": 1.0}  # trained weights, in UNets


def size(module):
    """The number of a module's weights."""
    return sum(parameter.numel() for parameter in module.parameters())


def is_small(pipe):
    """True for models like the one in this repository."""
    return size(pipe.unet) < SMALL


def free(device):
    """Bytes that can be used on this device now."""
    import psutil
    import torch

    if device.type != "cuda":
        return psutil.virtual_memory().available
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # held by torch, but free
    return torch.cuda.mem_get_info(device)[0] + unused


def pictures_at_once(pipe, side, most):
    """How many pictures of about `side` x `side` pixels can be drawn in one batch: at least 1, at most `most`.

    Large ones then go through the VAE one by one.
    """
    if is_small(pipe):
        return most
    pipe.vae.enable_slicing()
    pixels = side**2 * pipe.unet.dtype.itemsize
    return max(1, min(most, int((0.9 * free(pipe.device) - DECODED * pixels) / (DRAWN * pixels))))


def needed(pipe, method, batch_size, side, checkpointing=False):
    """Bytes that a step of training needs beside the loaded model. method: a key of SHARES."""
    stored = pipe.unet.dtype.itemsize  # bytes of a number as it is computed with
    copy = 2 if stored == 2 else 0  # in half precision, a copy of what is trained is computed with
    weights = SHARES[method] * size(pipe.unet) * (ADAM + copy)
    if method == "full":  # everything turns to single precision, and a lesson has another copy beside it
        weights += 4 * (size(pipe.vae) + size(pipe.text_encoder))
    cells = (side // pipe.vae_scale_factor) ** 2
    kept = KEPT_AGAIN if checkpointing else KEPT
    return weights + batch_size * cells * pipe.unet.config.block_out_channels[0] * kept * stored


def fitting(pipe, method, images, side):
    """(settings of `train`, bytes needed): the quickest way to train on so many images an update.

    Fewer images at once come first, gradient checkpointing second; None in place of the settings if nothing fits.
    """
    available = 0.9 * free(pipe.device)
    for checkpointing in (False, True):
        for at_once in [n for n in range(images, 0, -1) if images % n == 0]:
            need = needed(pipe, method, at_once, side, checkpointing)
            if need <= available:
                settings = {"batch_size": at_once, "gradient_accumulation_steps": images // at_once}
                return {**settings, "gradient_checkpointing": checkpointing}, need
    return None, math.ceil(need)
