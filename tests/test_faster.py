import json
from contextlib import ExitStack

import pytest
import torch
from conftest import refused
from torch.utils.flop_counter import FlopCounterMode

import paidiff_lib as paidiff
from paidiff_lib import LoRA, acceleration as faster, load
from paidiff_lib.generate import sample
from paidiff_lib.metrics import distance

PROMPTS = ["雪地里的两只企鹅", "草地上的一只猫"]
RUNGS = {  # the rung, the share of the plain computation it leaves at 8 steps (from, to), and how far pictures may go
    "channels_last": (faster.channels_last, (), (1, 1), 1),
    "guidance_every": (faster.guidance_every, (2,), (0.74, 0.78), 8),
    "guidance_between": (faster.guidance_between, (0.25, 1), (0.87, 0.89), 12),
    "caching": (faster.caching, (2,), (0.5, 0.65), 12),
    "caching, depth 2": (faster.caching, (2, 2), (0.75, 0.9), 12),
}


def drawn(pipe, steps=8, rungs=(), prompts=PROMPTS, **settings):
    """The pictures, and the multiplications of the UNet that they took."""
    with ExitStack() as stack, FlopCounterMode(display=False) as counter:
        for rung, *arguments in rungs:
            stack.enter_context(rung(pipe, *arguments))
        pictures = sample(pipe, prompts, 1, steps, **settings)
    return pictures, sum(counter.get_flop_counts()["UNet2DConditionModel"].values())


def bytes_of(pictures):
    return [picture.tobytes() for picture in pictures]


def furthest(pictures, others):
    return max(map(distance, pictures, others))


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module")
def plain(mini):
    return drawn(mini)


@pytest.mark.parametrize("name", RUNGS)
def test_a_rung_does_less_stays_near_and_is_undone(mini, plain, name):
    rung, arguments, (low, high), limit = RUNGS[name]
    pictures, work = drawn(mini, rungs=[(rung, *arguments)])
    assert low <= work / plain[1] <= high
    assert furthest(pictures, plain[0]) < limit
    if high < 1:
        assert bytes_of(pictures) != bytes_of(plain[0])
    again, work = drawn(mini)
    assert bytes_of(again) == bytes_of(plain[0]) and work == plain[1]


def test_the_solvers_reach_the_same_picture(mini):
    with faster.solver(mini, "ddim"):
        reference = sample(mini, PROMPTS, 1, 50)
    with faster.solver(mini, "dpm"):
        assert furthest(sample(mini, PROMPTS, 1, 20), reference) < 4
    assert type(mini.scheduler).__name__ == "DPMSolverMultistepScheduler"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_caching_and_guidance_together_in_any_order(mini, plain, order):
    rungs = [(faster.caching, 2), (faster.guidance_every, 2)]
    pictures, work = drawn(mini, rungs=[rungs[i] for i in order])
    assert 0.5 < work / plain[1] < 0.6 and furthest(pictures, plain[0]) < 12
    both, _ = drawn(mini, rungs=rungs)
    assert bytes_of(both) == bytes_of(pictures)
    crossed, work = drawn(mini, rungs=[(faster.caching, 4), (faster.guidance_between, 0.25, 0.6)])
    assert work < 0.6 * plain[1]  # branches that come and go between a computed step and one that uses it again


def test_guidance_of_every_step_is_plain_and_none_is_guidance_1(mini, plain):
    assert bytes_of(drawn(mini, rungs=[(faster.guidance_every, 1)])[0]) == bytes_of(plain[0])
    assert bytes_of(drawn(mini, rungs=[(faster.guidance_between, 0, 1)])[0]) == bytes_of(plain[0])
    without, work = drawn(mini, rungs=[(faster.guidance_between, 0, 0)])
    alone, alone_work = drawn(mini, guidance=1.0)
    assert work == alone_work == plain[1] / 2 and furthest(without, alone) < 1


def test_other_sizes_batches_and_pictures_after_each_other(mini):
    with faster.caching(mini, 3), faster.guidance_every(mini, 2):
        wide = sample(mini, PROMPTS[:1], 1, 6, size=(168, 72))  # odd latents, whose halves are rounded up
        both = sample(mini, PROMPTS, 1, 6)
        alone = sample(mini, PROMPTS[1:], 1, 6)
        unguided = sample(mini, PROMPTS[1:], 1, 6, guidance=1.0)
    assert wide[0].size == (168, 72)
    assert furthest(both[1:], alone) < 1  # nothing is left from the picture before
    assert furthest(unguided, alone) > 4


def test_image_to_image_starts_late_and_still_computes_its_first_step(mini, plain):
    from diffusers import StableDiffusionImg2ImgPipeline

    pipe = StableDiffusionImg2ImgPipeline(**mini.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    settings = {"images": plain[0], "strength": 0.625}  # 5 of 8 steps: the first is an odd one of the scheduler's list
    whole, all_work = drawn(pipe, **settings)
    for rung, share in ((faster.caching, 0.8), (faster.guidance_every, 0.85)):
        pictures, work = drawn(pipe, rungs=[(rung, 2)], **settings)
        assert 0.5 < work / all_work < share and furthest(pictures, whole) < 8


def test_a_controlnet_loses_its_unconditional_half_too(mini):
    pipe = load(task="controlnet")
    edges = paidiff.canny(sample(mini, PROMPTS[:1], 1, 4)[0])
    batches = []
    pipe.controlnet.conv_in.register_forward_hook(lambda module, inputs, output: batches.append(len(output)))
    whole, all_work = drawn(pipe, prompts=PROMPTS[:1], images=[edges])
    assert batches == [2] * 8
    batches.clear()
    pictures, work = drawn(
        pipe, rungs=[(faster.caching, 2), (faster.guidance_every, 2)], prompts=PROMPTS[:1], images=[edges]
    )
    assert batches == [2, 1] * 4
    assert work < 0.6 * all_work and furthest(pictures, whole) < 10


def test_with_a_lora(tiny):
    lora = LoRA(tiny, rank=4)
    for parameter in lora.parameters().values():
        parameter.data.normal_(std=0.3)
    whole, _ = drawn(tiny)
    cached, _ = drawn(tiny, rungs=[(faster.caching, 2), (faster.guidance_every, 2)])
    paidiff.set_scales(tiny, {})
    off, _ = drawn(tiny, rungs=[(faster.caching, 2), (faster.guidance_every, 2)])
    assert furthest(cached, whole) < furthest(off, whole) / 2


def test_a_training_inside_the_block_is_not_touched(tiny):
    latents, words = torch.randn(2, 4, 8, 8), torch.randn(2, 16, 16)
    sample(tiny, ["猫"], steps=2)

    def out(timestep):
        return tiny.unet(latents, torch.tensor([timestep] * 2), words, return_dict=False)[0]

    expected = [out(timestep) for timestep in (900, 5)]
    with faster.caching(tiny, 5), faster.guidance_between(tiny, 0, 0):
        assert all(torch.equal(out(timestep), value) for timestep, value in zip((900, 5), expected))


def few_steps(pipe, folder, timesteps=(999, 600, 200)):
    """A LoRA with random weights, and the note that makes it a few-step one."""
    lora = LoRA(pipe, rank=2, name="made")
    for parameter in lora.parameters().values():
        parameter.data.normal_(std=0.2)
    lora.save(folder)
    pipe.unload_lora_weights()
    (folder / faster.FEW_STEP).write_text(json.dumps({"timesteps": list(timesteps), "guidance": 1}))
    return folder


def test_few_steps_at_their_own_timesteps_without_guidance(tiny, tmp_path):
    folder, before, calls = few_steps(tiny, tmp_path / "few"), sample(tiny, ["猫"], 1, 4), []
    watch = tiny.unet.register_forward_pre_hook(lambda module, inputs: calls.append((len(inputs[0]), int(inputs[1]))))
    with faster.few_step(tiny, folder) as settings:
        assert settings == {"steps": 3, "guidance": 1}
        few = paidiff.draw(tiny, "猫", 1, **settings)
    watch.remove()
    assert calls == [(1, 999), (1, 600), (1, 200)]
    assert few.tobytes() != before[0].tobytes() == sample(tiny, ["猫"], 1, 4)[0].tobytes()
    assert not tiny.get_list_adapters()


def test_few_steps_leave_other_loras_as_they_were(tiny, tmp_path):
    folder = few_steps(tiny, tmp_path / "few")
    lora = LoRA(tiny, rank=2)
    for parameter in lora.parameters().values():
        parameter.data.normal_(std=0.2)
    paidiff.set_scales(tiny, {"lora": 0.5})
    before = sample(tiny, ["猫"], 1, 4)
    with faster.few_step(tiny, folder) as settings:
        sample(tiny, ["猫"], 1, **settings)
    assert bytes_of(sample(tiny, ["猫"], 1, 4)) == bytes_of(before)


def test_few_steps_are_first_order(mini):
    """At DDIM's timesteps it gives DDIM's picture: DPM-Solver++ of first order and DDIM are one formula."""
    with faster.solver(mini, "ddim"):
        reference = sample(mini, PROMPTS[:1], 1, 20)
        timesteps = mini.scheduler.timesteps
    mini.scheduler, before = faster.first_order(mini), mini.scheduler
    plan = mini.scheduler.set_timesteps
    mini.scheduler.set_timesteps = lambda *_, device=None, **kwargs: plan(timesteps=timesteps, device=device)
    pictures = sample(mini, PROMPTS[:1], 1, 20)
    mini.scheduler = before
    assert furthest(pictures, reference) < 1


def test_half_precision_says_that_it_wants_a_gpu(tiny, capsys):
    with faster.half(tiny):
        assert tiny.unet.dtype == (torch.float32 if tiny.device.type == "cpu" else torch.float16)
    assert ("GPU" in capsys.readouterr().out) == (tiny.device.type == "cpu")


def test_without_a_compiler_one_line_and_the_same_picture(run_python, tiny_folder):
    code = f"""
import paidiff_lib as paidiff
from paidiff_lib import acceleration as faster
pipe = paidiff.load({str(tiny_folder)!r})
plain = paidiff.draw(pipe, "猫", steps=2)
with faster.compiled(pipe):
    print(paidiff.draw(pipe, "猫", steps=2).tobytes() == plain.tobytes())
"""
    done = run_python(code, CXX="no-such-compiler", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    line, same = done.stdout.splitlines()
    assert "cannot compile here" in line and same == "True"


REFUSED = [
    (faster.solver, ["euler"], ["euler", "ddim, dpm"]),
    (faster.guidance_every, [0], ["every"]),
    (faster.guidance_between, [0.5, 0.2], ["0.5, 0.2"]),
    (faster.guidance_between, [0, float("nan")], ["nan"]),
    (faster.caching, [0], ["every"]),
    (faster.caching, [2, 2], ["depth"]),
    (faster.caching, ["2", 1], ["every", "'2'"]),
    (faster.guidance_every, [2.0], ["every"]),
    (faster.few_step, ["no-such-folder"], ["no-such-folder", "few_step.json"]),
]


@pytest.mark.parametrize("rung, arguments, words", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(tiny, rung, arguments, words):
    scheduler = tiny.scheduler
    refused(words, lambda: rung(tiny, *arguments).__enter__())
    assert tiny.scheduler is scheduler
