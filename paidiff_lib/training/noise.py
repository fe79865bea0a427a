"""How noise is added to latents in training, and how much each amount of it counts."""

from typing import Any

from ..errors import Refused
from .config import PREDICTIONS


def noise_scheduler(pipe, prediction_type=None):
    """How noise is added in training, after what the pipeline draws with. Raises PaidiffError.

    prediction_type: what the model is to predict from now on; the pipeline then draws so too. None leaves it as it is.
    """
    from diffusers import DDPMScheduler

    if prediction_type not in (None, pipe.scheduler.config.prediction_type):
        pipe.scheduler.register_to_config(prediction_type=prediction_type)
    scheduler: Any = DDPMScheduler.from_config(pipe.scheduler.config)
    kind = scheduler.config.prediction_type
    if kind not in PREDICTIONS:
        raise Refused("不会训练这种预测目标", f"cannot train a model that predicts {kind}", "epsilon, v_prediction")
    return scheduler


def draw_noise(shape, offset=0.0):
    """Noise of a shape (B, C, h, w), on the CPU. offset: how far each channel is shifted as a whole, so that very dark
    and very light pictures can be learnt (Guttenberg 2023).
    """
    import torch

    noise = torch.randn(shape)
    return noise + offset * torch.randn(*shape[:2], 1, 1) if offset else noise


def loss_weights(scheduler, timesteps, gamma):
    """min-SNR weights (B,) of each timestep's loss; ones if gamma is None. Hang et al. 2023, equation 6 ff."""
    import torch
    from diffusers.training_utils import compute_snr

    if gamma is None:
        return torch.ones(len(timesteps), device=timesteps.device)
    snr = compute_snr(scheduler, timesteps).clamp(min=1e-8)
    return snr.clamp(max=gamma) / (snr if scheduler.config.prediction_type == "epsilon" else snr + 1)
