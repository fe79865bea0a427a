"""Pictures to watch a training by, and the running mean of the weights that they are drawn with, where there is one."""


def sample_images(trainer):
    """The sample pictures of this step, as PIL. The weights are afterwards as before."""
    average = None if trainer.finished else trainer.average
    if average:
        average.store(trainer.trained)
        use_average(trainer)
    try:
        return trainer.method.sample(trainer.config.sample_prompts, trainer.config.seed, trainer.data)
    finally:
        if average:
            average.restore(trainer.trained)
            trainer.method.after_step()


def use_average(trainer):
    """Put the running mean in the weights' place."""
    trainer.average.copy_to(trainer.trained)
    trainer.method.after_step()
