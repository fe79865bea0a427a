"""Drawing faster: rungs over a loaded stock pipeline. Each is one `with`; when the block ends, the pipeline is as it was.

    from paidiff_lib import acceleration as faster

    with acceleration.solver(pipe, "dpm"), acceleration.guidance_every(pipe, 2), acceleration.caching(pipe, 2):
        picture = draw(pipe, "雪地里的两只企鹅", steps=20)

They combine, in any order but one: `compiled` comes first. They work under guidance, in batches, at any size, in img2img and
inpainting, with LoRAs and ControlNets. What diffusers offers for this is made for transformers, or does nothing to a UNet.
"""

import json
from contextlib import contextmanager
from pathlib import Path

from .arguments import require_int
from .errors import PaidiffError, Refused, first_line, unknown
from .schedulers import sampler

SOLVERS = {"ddim": ("DDIM", {"timestep_spacing": "leading"}), "dpm": ("DPM++ 2M", {"algorithm_type": "dpmsolver++"})}
FEW_STEP = "few_step.json"  # beside a distilled LoRA: {"timesteps": [999, 749, 499, 249], "guidance": 1}


@contextmanager
def solver(pipe, name="dpm"):
    """Another sampler: "ddim", first order, which wants about 50 steps; "dpm", DPM-Solver++ 2M, which wants 10 to 20."""
    if name not in SOLVERS:
        raise unknown("采样器", "solver", name, SOLVERS)
    kind, settings = SOLVERS[name]
    with _instead("scheduler", {pipe: sampler(pipe.scheduler, kind, **settings)}):
        yield


@contextmanager
def guidance_every(pipe, every=2):
    """The unconditional branch is computed at every `every`-th step; in between, its last difference from the other is kept.

    That difference changes slowly from step to step (Lv et al. 2024, FasterCache). A step without the branch has half the batch,
    in the UNet and in a ControlNet. It costs far less of the picture than leaving guidance out.
    """
    require_int(every, 1, 1000, "every ", "every")
    with _branch_left_out(pipe, lambda step, steps: step % every == 0, kept=True):
        yield


@contextmanager
def guidance_between(pipe, first=0.0, last=1.0):
    """Guidance in the steps from the share `first` to the share `last` (0..1); no unconditional branch before and after.

    Too early it does harm, too late it does little (Kynkäänniemi et al. 2024): how little depends on the model, so measure it.
    """
    if not 0 <= first <= last <= 1:
        raise PaidiffError("要在 0 到 1 之间,先小后大", "from 0 to 1, the smaller one first", f"{first}, {last}")
    with _branch_left_out(pipe, lambda step, steps: first * steps <= step < last * steps):
        yield


@contextmanager
def caching(pipe, every=2, depth=1):
    """The UNet's deep blocks are computed at every `every`-th step, and their output used again at the others.

    depth: how many of its levels, from the outside, are computed at every step. After DeepCache (Ma et al. 2023): what the
    deep blocks say changes slowly from step to step.
    """
    unet, state, kept = pipe.unet, {"again": False}, {}
    require_int(every, 1, 1000, "every ", "every")
    require_int(depth, 1, len(unet.down_blocks) - 1, "depth ", "depth")

    def whole(forward):
        def run(sample, timestep, *inputs, **kwargs):
            state["again"] = _sampling(kwargs) and _step(pipe, timestep) % every > 0
            return forward(sample, timestep, *inputs, **kwargs)

        return run

    def deep(block, forward):
        def run(*inputs, **kwargs):
            batch = len(kwargs.get("hidden_states", *inputs[:1]))
            size, output = kept.get(block, (0, None))
            if not state["again"] or size not in (batch, 2 * batch):
                size, output = kept[block] = batch, forward(*inputs, **kwargs)
            return output if size == batch else _second_half(output)  # the step before had both branches

        return run

    blocks = [*unet.down_blocks[depth:], unet.mid_block, *unet.up_blocks[:-depth]]
    with _instead("forward", {unet: whole(unet.forward), **{block: deep(block, block.forward) for block in blocks}}):
        yield


@contextmanager
def channels_last(pipe):
    """Weights and pictures in memory with the channels innermost, as a GPU's half-precision convolutions want them."""
    import torch

    with _weights_back(pipe.unet, pipe.vae):
        for module in (pipe.unet, pipe.vae):
            module.to(memory_format=torch.channels_last)
        yield


@contextmanager
def half(pipe):
    """Half precision, on a GPU; on a CPU one line, and nothing changes: it would have to convert at every step."""
    import torch

    parts = [pipe.unet, pipe.vae, pipe.text_encoder, *filter(None, [getattr(pipe, "controlnet", None)])]
    if pipe.device.type == "cpu":
        print("半精度只在 GPU 上更快,这里不变 · half precision is faster on a GPU only: nothing changed")
        parts = []
    with _weights_back(*parts):
        for module in parts:
            module.to(torch.float16)
        yield


@contextmanager
def compiled(pipe):
    """torch.compile for the UNet's blocks. Where it cannot work, one line, and nothing changes.

    The first picture of each size waits for the compiler, minutes on a CPU: it pays over many pictures of one size, if at all.
    """
    import torch

    reason, unet = _no_compiler(), pipe.unet
    if reason:
        print(f"这里不能编译,照常画 · cannot compile here, nothing changed: {reason}")
    blocks = [] if reason else [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    with _instead("forward", {block: torch.compile(block.forward) for block in blocks}):
        yield


@contextmanager
def few_step(pipe, folder):
    """A model distilled to a few steps, for a while; gives the settings that `draw` wants.

    with acceleration.few_step(pipe, "mini-4-steps") as settings:
        draw(pipe, "雪地里的两只企鹅", **settings)
    """
    from .methods.adapters import scales, set_scales

    active = scales(pipe)
    with _weights_back(pipe.unet), _instead("scheduler", {pipe: pipe.scheduler}):
        settings = load_few_step(pipe, folder, "few_step")
        if not active:  # as part of the weights it costs nothing; beside other LoRAs it cannot be that
            pipe.fuse_lora(adapter_names=["few_step"], safe_fusing=True)
        try:
            yield settings
        finally:
            if active:
                pipe.delete_adapters("few_step")
                set_scales(pipe, active)
            else:
                pipe.unfuse_lora()
                pipe.unload_lora_weights()


def load_few_step(pipe, folder, name="few_step"):
    """Load a distilled LoRA and its solver, first order at the timesteps it was trained for. Returns draw's settings.

    folder: a LoRA as diffusers saves it, and few_step.json beside the weights. Raises PaidiffError.
    """
    from .methods.lora_files import load_lora

    try:
        note = json.loads((Path(folder) / FEW_STEP).read_text(encoding="utf-8"))
        timesteps, guidance = [int(t) for t in note["timesteps"]], float(note["guidance"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused("不是少步 LoRA", "not a few-step LoRA", f"{folder}: {FEW_STEP}: {first_line(error)}") from error
    load_lora(pipe, folder, name)
    pipe.scheduler = first_order(pipe)
    plan = pipe.scheduler.set_timesteps
    pipe.scheduler.set_timesteps = lambda steps=None, device=None, **_: plan(timesteps=timesteps, device=device)
    return {"steps": len(timesteps), "guidance": guidance}


def first_order(pipe):
    """A scheduler that makes DDIM's steps, at any timesteps, down to the clean latents."""
    return sampler(
        pipe.scheduler, "DPM++ 2M", algorithm_type="dpmsolver++", solver_order=1, timestep_spacing="trailing"
    )


def _sampling(kwargs):
    """True if a pipeline is asking, not a training or somebody else's own loop."""
    import torch

    return kwargs.get("return_dict") is False and not torch.is_grad_enabled()


def _step(pipe, timestep):
    """How many steps of this picture are done: img2img begins somewhere in the scheduler's list."""
    plan = pipe.scheduler.timesteps
    return int((plan == timestep).nonzero()[0]) - (len(plan) - pipe.num_timesteps)


@contextmanager
def _branch_left_out(pipe, wanted, kept=False):
    """The conditional half of the batch alone goes through UNet and ControlNet, except at the wanted(step, steps).

    The pipeline gets a whole batch all the same: that half, and in place of the other the same again (no guidance) or,
    with `kept`, the same and the last difference of the branches.
    """

    def halved(module, forward):
        difference = 0.0

        def run(sample, timestep, *inputs, **kwargs):
            nonlocal difference
            guided = _sampling(kwargs) and not kwargs.get("guess_mode") and pipe.do_classifier_free_guidance
            if not guided or wanted(_step(pipe, timestep), pipe.num_timesteps):
                output = forward(sample, timestep, *inputs, **kwargs)
                if guided and kept and module is pipe.unet:
                    unconditional, conditional = output[0].chunk(2)
                    difference = unconditional - conditional
                return output
            inputs, kwargs = _second_half(inputs), {key: _second_half(value) for key, value in kwargs.items()}
            return _twice(forward(_second_half(sample), timestep, *inputs, **kwargs), difference)

        return run

    modules = filter(None, (pipe.unet, getattr(pipe, "controlnet", None)))
    with _instead("forward", {module: halved(module, module.forward) for module in modules}):
        yield


def _second_half(value):
    """The conditional half of a batch, or of each in a list."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_second_half, value))
    return value.chunk(2)[1] if getattr(value, "ndim", 0) else value


def _twice(value, difference):
    """A half batch, or each in a list -> a whole one: the same with `difference` added, then the same."""
    import torch

    if isinstance(value, (list, tuple)):
        return type(value)(_twice(part, difference) for part in value)
    return torch.cat([value + difference, value])


@contextmanager
def _instead(name, values):
    """Another attribute `name` for a while. values: {module or pipeline: what it has then}."""
    before = {owner: vars(owner).get(name) for owner in values}
    for owner, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, value in before.items():
            delattr(owner, name) if value is None else setattr(owner, name, value)


@contextmanager
def _weights_back(*modules):
    """Whatever form the weights are brought into, the very same tensors are put back."""
    kept = [(weight, weight.data) for module in modules for weight in (*module.parameters(), *module.buffers())]
    try:
        yield
    finally:
        for weight, data in kept:
            weight.data = data


def _no_compiler():
    """Why torch.compile cannot work here, as one line; None if it can. Takes seconds the first time."""
    import torch

    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2))
    except Exception as error:  # no compiler, no headers, an unknown system: torch has a dozen ways to say so
        return first_line(error)
