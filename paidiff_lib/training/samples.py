"""Pictures to watch a training by, and the running mean of the weights that they are drawn with, where there is one."""


def sample_images(trainer):
    """The sample pictures of this step, as PIL. The weights are afterwards as before."""
    average = None if trainer.finished else trainer.average
    if average:
        average.store(trainer.trained)
        use_average(trainer)
    try:
        prompts = list(trainer.config.sample_prompts)
        return trainer.method.sample(prompts, seeds_of(prompts, trainer.config.seed), trainer.data)
    finally:
        if average:
            average.restore(trainer.trained)
            trainer.method.after_step()


def seeds_of(prompts, seed):
    """`seed` for each prompt; a prompt that comes again has the next one."""
    return [seed + prompts[:i].count(prompt) for i, prompt in enumerate(prompts)]


def make_average(config, parameters):
    """The running mean of a list of parameters, as the config has it; None if it has none."""
    from diffusers.training_utils import EMAModel

    return None if config.ema is None else EMAModel(parameters, decay=config.ema)


def use_average(trainer):
    """Put the running mean in the weights' place."""
    trainer.average.copy_to(trainer.trained)
    trainer.method.after_step()
