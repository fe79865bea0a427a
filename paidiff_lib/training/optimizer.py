"""What changes the weights: AdamW, the schedule of its learning rate; and how many pictures go at once."""

MAX_CELLS = 64 * 64  # latent cells in one pass: no more than a single picture of 512 x 512 has


def make_optimizer(config, parameters, weight_decay):
    """(AdamW, the schedule of its learning rate) for a list of parameters.

    weight_decay: the method's own, where the config has none.
    """
    import torch
    from diffusers.optimization import get_scheduler

    decay = weight_decay if config.weight_decay is None else config.weight_decay
    # Fused: a third of the time on a CPU.
    momenta = {"betas": (config.adam_beta1, config.adam_beta2), "eps": config.adam_epsilon}
    optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=decay, fused=True, **momenta)
    end = max(config.steps, config.warmup_steps + 1)  # polynomial divides by what is left after the warmup
    lengths = {"num_warmup_steps": config.warmup_steps, "num_training_steps": end}
    shape = {"num_cycles": config.lr_cycles, "power": config.lr_power}
    return optimizer, get_scheduler(config.lr_scheduler, optimizer, **lengths, **shape)


def plan_passes(batch_size, batches, cells):
    """(pictures in a pass, passes to an update): the gradient of `batches` batches of pictures of `cells` latent cells.

    Several batches go through the UNet at once where they are small together: the same mean, in less time.
    """
    fits = [
        n
        for n in range(1, max(1, min(batches, MAX_CELLS)) + 1)
        if batches % n == 0 and (n == 1 or n * batch_size * cells <= MAX_CELLS)
    ]
    return batch_size * fits[-1], batches // fits[-1]
