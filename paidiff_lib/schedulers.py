"""Samplers by the names that the models' own WebUI gives them -> diffusers' schedulers."""

from .errors import unknown

STEPS = 20  # of sampling, unless told otherwise
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
KARRAS = " Karras"  # the WebUI's name for noise levels after Karras et al. 2022, of those that diffusers gives them to
SAMPLERS |= {name + KARRAS: SAMPLERS[name] for name in ("DPM++ 2M", "Euler", "Heun")}


def sampler(scheduler, name=None, **settings):
    """A new scheduler, which remembers nothing: of that name in SAMPLERS, or of the kind of `scheduler`, with its settings and these.

    Raises NotFound for another name.
    """
    import diffusers

    if name and name not in SAMPLERS:
        raise unknown("采样器", "sampler", name, SAMPLERS)
    kind = getattr(diffusers, SAMPLERS[name]) if name else type(scheduler)
    extra = {"skip_prk_steps": True} if name == "PNDM" else {}  # as Stable Diffusion's; else few steps fail
    extra |= {"use_karras_sigmas": True} if name and name.endswith(KARRAS) else {}
    return kind.from_config(scheduler.config, **extra, **settings)
