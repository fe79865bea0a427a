"""Samplers by the names that the models' own WebUI gives them -> diffusers' schedulers."""

# The samplers of the models' own WebUI, under the names its clients send -> diffusers' classes.
SAMPLERS = {
    "DPM++ 2M": "DPMSolverMultistepScheduler",
    "Euler a": "EulerAncestralDiscreteScheduler",
    "Euler": "EulerDiscreteScheduler",
    "Heun": "HeunDiscreteScheduler",
    "DDIM": "DDIMScheduler",
    "DDPM": "DDPMScheduler",
    "PNDM": "PNDMScheduler",
}


def sampler(scheduler, name=None, **settings):
    """A new scheduler, which remembers nothing: of that name in SAMPLERS, or of the kind of `scheduler`, with its settings and these."""
    import diffusers

    kind = getattr(diffusers, SAMPLERS[name]) if name else type(scheduler)
    more = {"skip_prk_steps": True} if name == "PNDM" else {}  # as Stable Diffusion's; else few steps fail
    return kind.from_config(scheduler.config, **more, **settings)
