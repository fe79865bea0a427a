"""Stage 3: the denoiser, on cached latents and cached embeddings of the frozen text encoder.

v-prediction (Salimans & Ho 2022), less weight on almost clean latents (the idea of min-SNR, Hang et al. 2023),
timesteps from the whole range (logit-normal: Esser et al. 2024), 10 % of the captions dropped (Ho & Salimans 2022). The noise goes on to beta 0.02, so that the last step holds almost no signal: with 0.012 a 16 x 16
latent still shows its mean colour there, and plain backgrounds come out grey.
"""

import shutil

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import compute_snr

from .loop import autocast

DROPOUT, GAMMA, FOCUS, NOISY, CLEAN = 0.1, 20.0, 2.0, 600, 450


def build(channels, layers=1):
    """The UNet. The pooled text joins the time embedding (`addition_embed_type`): styles and colours follow sooner."""
    attending = len(channels) - 1  # levels; the first, of 16 x 16 cells, does without
    shape = dict(sample_size=16, in_channels=8, out_channels=8, block_out_channels=channels, layers_per_block=layers)
    text = dict(cross_attention_dim=192, addition_embed_type="text", addition_embed_type_num_heads=8)
    return UNet2DConditionModel(
        **shape,
        **text,
        down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * attending,
        up_block_types=["CrossAttnUpBlock2D"] * attending + ["UpBlock2D"],
        attention_head_dim=[c // 32 for c in channels],
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
    )


def quicken(unet, steps):
    """The same UNet with faster training steps; parameters keep their names.

    On a CPU the backward pass of the fused attention takes a third of a step: plain attention does 1.3 times the
    steps, compiling 1.2 times on top of it (AMX, batch 32). Compiling needs a C++ compiler and about two minutes, so a
    short run does without. A GPU does without too: larger batches fill it sooner than a compiler that runs for minutes.
    """
    if next(unet.parameters()).device.type == "cuda":
        return unet.to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())
    if steps >= 1000 and shutil.which("g++"):
        unet.compile()
    return unet


def scheduler():
    betas = dict(beta_start=0.00085, beta_end=0.02, beta_schedule="scaled_linear")
    return DDPMScheduler(**betas, prediction_type="v_prediction", clip_sample=False)


@torch.no_grad()
def embed(encoder, ids, batch=256):
    """Token ids (..., 32) -> hidden states (..., 32, 192) float16, on the CPU."""
    device, flat = next(encoder.parameters()).device, ids.flatten(0, -2)
    with autocast(device.type):
        out = [encoder(flat[i : i + batch].to(device))[0].half().cpu() for i in range(0, len(flat), batch)]
    return torch.cat(out).unflatten(0, ids.shape[:-1])


def generator_on(device, generator):
    """A generator there whose numbers follow from `generator`: drawing noise on the CPU would keep a GPU waiting."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def order_of_teaching(upto, progress, generator, batch):
    """Indices of a batch: single plain scenes first, then styles and colours, then everything."""
    pool = upto[0 if progress < 0.06 else 1 if progress < 0.25 else 2]
    return pool[torch.randint(len(pool), (batch,), generator=generator)]


def timesteps(batch, generator):
    """40 % from a logit-normal, 25 % from the noisy end, where it is decided what is drawn, 35 % below CLEAN: what is
    left there of an error stays in the picture.
    """
    draw = dict(generator=generator, device=generator.device)
    shaped = (1000 * torch.sigmoid(torch.randn(batch, **draw) - 0.3)).long()
    noisy, clean = torch.randint(NOISY, 1000, (batch,), **draw), torch.randint(CLEAN, (batch,), **draw)
    chance = torch.rand(batch, **draw)
    return torch.where(chance < 0.4, shaped, torch.where(chance < 0.65, noisy, clean))


def loss_weights(noise_scheduler):
    """How much each timestep counts, (1000,)."""
    return (GAMMA / (compute_snr(noise_scheduler, torch.arange(1000)) + 1)).clamp(max=1)


def denoising_loss(unet, noise_scheduler, x, text, masks, t, noise, weights):
    """(weighted loss, plain error): x, noise (N, 8, 16, 16), text (N, 32, 192), masks (N, 16, 16), t (N,), weights (1000,)."""
    noisy, target = noise_scheduler.add_noise(x, noise, t), noise_scheduler.get_velocity(x, noise, t)
    focus = 1 + FOCUS * masks
    error = (unet(noisy, t, text).sample.float() - target).square().mean(1)
    error = (error * focus / focus.mean((1, 2), keepdim=True)).mean((1, 2))
    return (weights[t] * error).mean(), error.mean()


def objective(unet, latents, embeddings, masks, levels, empty, steps, batch, start=False):
    """latents (N, 8, 16, 16) scaled to unit std; embeddings (N, 2, 32, 192); levels (N,); empty (1, 32, 192).

    masks (N, 16, 16) in 0..1: where the subjects are. A cell of a subject counts 1 + FOCUS times: backgrounds fill
    two thirds of a picture and would drown what is hard to learn. start: go on from weights that know the plainest
    scenes, without them.
    """
    device, noise_scheduler = next(unet.parameters()).device, scheduler()
    weights = loss_weights(noise_scheduler).to(device)
    upto = [(levels > 0 if start else levels <= allowed).nonzero()[:, 0] for allowed in range(3)]

    latents, embeddings, masks, empty = (each.to(device) for each in (latents, embeddings, masks, empty))

    def loss(step, generator):
        which = order_of_teaching(upto, step / steps, generator, batch).to(device)
        here = generator_on(device, generator)
        chance = dict(generator=here, device=device)
        x, mask = latents[which].float(), masks[which].float()
        text = embeddings[which, torch.randint(2, (batch,), **chance)].float()
        text = torch.where(torch.rand(batch, 1, 1, **chance) < DROPOUT, empty.float(), text)
        noise, t = torch.randn(x.shape, **chance), timesteps(batch, here)
        value, error = denoising_loss(unet, noise_scheduler, x, text, mask, t, noise, weights)
        return value, {"v": error}

    return loss
