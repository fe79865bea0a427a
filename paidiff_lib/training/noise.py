"""How noise is added to latents in training, and how much each amount of it counts."""

from typing import Any

from ..errors import Refused


def noise_scheduler(pipe):
    """How noise is added in training, after what the pipeline draws with. Raises PaidiffError."""
    from diffusers import DDPMScheduler

    scheduler: Any = DDPMScheduler.from_config(pipe.scheduler.config)
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise Refused("不会训练这种预测目标", f"cannot train a model that predicts {kind}", "epsilon, v_prediction")
    return scheduler


def loss_weights(scheduler, timesteps, gamma):
    """min-SNR weights (B,) of each timestep's loss; ones if gamma is None. Hang et al. 2023, equation 6 ff."""
    import torch
    from diffusers.training_utils import compute_snr

    if gamma is None:
        return torch.ones(len(timesteps), device=timesteps.device)
    snr = compute_snr(scheduler, timesteps).clamp(min=1e-8)
    return snr.clamp(max=gamma) / (snr if scheduler.config.prediction_type == "epsilon" else snr + 1)
