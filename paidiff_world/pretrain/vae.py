"""Stage 1: the autoencoder. Crops of scenes in, the same crops out, through 1/8 of the width and height.

Small crops and many steps beat whole pictures at equal cost on a CPU. Kingma & Welling 2013; Rombach et al. 2022.
"""

import numpy as np
import torch
from diffusers import AutoencoderKL

from .loop import autocast

CROP = 64


def build(channels, layers):
    blocks = dict(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4)
    shape = dict(block_out_channels=channels, layers_per_block=layers, latent_channels=8, sample_size=128)
    return AutoencoderKL(**blocks, **shape, norm_num_groups=8, mid_block_add_attention=False)


def freeze_encoder(vae):
    """Leave only the decoder to be trained; returns the same model."""
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    return vae


def to_tensor(pictures, device="cpu"):
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float in -1..1."""
    return torch.from_numpy(np.array(pictures)).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def crops(pictures, count, generator, step=1):
    """`count` random CROP x CROP pieces, each of another picture, cut at multiples of `step` pixels."""
    which = torch.randint(len(pictures), (count,), generator=generator).tolist()
    corners = torch.randint((pictures.shape[1] - CROP) // step + 1, (count, 2), generator=generator).mul(step).tolist()
    return np.stack([pictures[i, y : y + CROP, x : x + CROP] for i, (y, x) in zip(which, corners)])


def slopes(x):
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def disturbed(latents, most, generator):
    """Latents of which half have noise of 0 to `most` of their standard deviation."""
    draw = dict(generator=generator, device=generator.device)
    strength = most * torch.rand(len(latents), 1, 1, 1, **draw) * (torch.rand(len(latents), 1, 1, 1, **draw) < 0.5)
    noise = torch.randn(latents.shape, **draw)
    return latents + (strength * noise).to(latents.device) * latents.detach().std()


def objective(vae, pictures, batch, step=1, noise=0.0):
    """step=8 cuts at whole latent cells, as in a drawn picture: the squares of 像素画 then lie where a decoder can learn them.

    noise: half of the latents get some, of up to `noise` of their own standard deviation, so that a decoder learns to
    make a clean picture of what a denoiser leaves.
    """
    device = next(vae.parameters()).device

    def loss(_, generator):
        x = to_tensor(crops(pictures, batch, generator, step), device)
        latents = vae.encode(x).latent_dist
        y = vae.decode(disturbed(latents.sample(generator), noise, generator)).sample
        mse = torch.nn.functional.mse_loss(y, x)
        edge = sum((a - b).abs().mean() for a, b in zip(slopes(y), slopes(x)))
        kl = latents.kl().mean() / latents.mean[0].numel()
        return 2 * mse + 0.5 * (y - x).abs().mean() + 0.25 * edge + 2e-4 * kl, {"mse": mse, "kl": kl}

    return loss


@torch.no_grad()
def psnr(vae, pictures, noise=0.0, batch=25):
    """Mean peak signal-to-noise ratio (dB) of pictures (N, H, W, 3) uint8 through the autoencoder.

    noise: added to the latents, in units of their standard deviation.
    """
    device, values, generator = next(vae.parameters()).device, [], torch.Generator().manual_seed(0)
    for i in range(0, len(pictures), batch):
        x = to_tensor(pictures[i : i + batch], device)
        latents = vae.encode(x).latent_dist.mode()
        latents += noise * latents.std() * torch.randn(latents.shape, generator=generator).to(device)
        y = vae.decode(latents).sample.clamp(-1, 1)
        values.append(10 * torch.log10(4 / (y - x).square().mean((1, 2, 3))))
    return torch.cat(values).mean().item()


@torch.no_grad()
def encode(vae, pictures, batch=4):
    """Unscaled latent means, (N, 8, H/8, W/8) float16. Small batches stay in a CPU's cache: a third of the time of 50."""
    vae = vae.to(memory_format=torch.channels_last)
    device, out = next(vae.parameters()).device, []
    batch = batch if device.type == "cpu" else 256
    for i in range(0, len(pictures), batch):
        with autocast(device.type):
            out.append(vae.encode(to_tensor(pictures[i : i + batch], device)).latent_dist.mode().half().cpu())
    return torch.cat(out)
