"""Pictures and captions through the frozen encoders of a pipeline: what drawing, training and cleaning share."""

import hashlib


def native_size(pipe):
    """The side of the square that a pipeline draws when it is not told, in pixels."""
    size = pipe.unet.config.sample_size
    return (size if isinstance(size, int) else min(size)) * pipe.vae_scale_factor


def encode_picture(pipe, picture):
    """A PIL picture -> mean and std of its latent, (2, C, h, w). In float32: a VAE in half precision makes NaN."""
    import numpy as np
    import torch

    vae, dtype = pipe.vae, next(pipe.vae.parameters()).dtype
    x = torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    # to() takes a fifth of the time even if there is nothing to do
    cast = vae.to if dtype != torch.float32 else lambda _: vae
    try:
        with torch.no_grad():
            moments = cast(torch.float32).encode(x.to(vae.device)).latent_dist
    finally:
        cast(dtype)
    return torch.stack([moments.mean[0], moments.std[0]]).cpu()


def encode_captions(pipe, captions):
    """Hidden states (B, tokens, width), made by the pipeline itself: training sees what drawing will see.

    Gradients flow where the caller has not switched them off.
    """
    return pipe.encode_prompt(list(captions), pipe.text_encoder.device, 1, False)[0]


def digest_of(module):
    """sha256 of a module's weights and configuration, the same in every precision that holds the weights exactly."""
    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()
