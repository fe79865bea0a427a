"""How well a small model follows held-out prompts and how its pictures look: python -m paidiff_world.pretrain.evaluate

Prompts from (subject, background, style) triples that pre-training never saw, three seeds each. The judge says what is
in the pictures, beside the ceiling (real pictures of the same scenes) and the floor (pictures against shuffled prompts).
Distances say how they look, against real scenes of other held-out prompts; beside them the ceiling (real scenes through
the model's VAE), other real scenes, and the floor (flat pictures of the mean colour). Intervals are of 95 %, over
scenes: three seeds of one prompt are one scene.
"""

import argparse
import json
import time

import numpy as np
import torch
from PIL import Image

from paidiff_lib.generate import GUIDANCE, STEPS, run_diffusers_batch, sample
from paidiff_lib.metrics import interval, sharpness
from paidiff_lib.models.load import find, load

from ..heldout import held_out
from ..judge import batches, hits, prompt_following, rates, rates_by
from ..measures import FEATURES, frechet_distance, jackknife, kernel_distance, spread, x0_error
from ..scenes import CELLS, WORLD, WORLDS, Spec, render
from ..words import SUBJECTS
from .card import model_card

REFERENCES, AT_ONCE, TIMESTEPS = 1000, 128, (20, 50, 100)
OTHERS, FURTHER = 99, 98  # seeds of the reference's pictures, and of those that only the Fréchet distance needs


def rounded(values, digits=4):
    """The mean of some figures, to be written down."""
    return round(float(np.mean(values)), digits)


def written(values, digits=4):
    """Figures by name, to be written down; those that were not asked for (nan) are left out."""
    return {name: round(value, digits) for name, value in values.items() if value == value}


# --- pictures -----------------------------------------------------------------------------------------------------


def draw_many(pipe, captions, seed, steps=STEPS, guidance=GUIDANCE):
    """A picture a caption, as `sample` draws them; on a GPU, which eight small pictures leave idle, AT_ONCE in a batch."""
    seeds = [seed * 100_000 + i for i in range(len(captions))]
    if pipe.device.type == "cpu":
        return sample(pipe, captions, seeds, steps, guidance)
    drawn = []
    for i in range(0, len(captions), AT_ONCE):
        texts = captions[i : i + AT_ONCE]
        drawn += run_diffusers_batch(pipe, texts, [""] * len(texts), seeds[i : i + AT_ONCE], steps, guidance)
    return drawn


def real_scenes(specs, seed=0, world=WORLD):
    """A picture of the world for each spec; another seed paints another one."""
    chance = [np.random.RandomState(seed * 100_000 + 1000 + i) for i in range(len(specs))]
    return [render(spec, rs, world=world) for spec, rs in zip(specs, chance)]


def reference_scenes(count, world=WORLD):
    """Real scenes of held-out prompts, others than those that are drawn: the distances suppose independent pictures."""
    return real_scenes([spec for spec, _ in held_out(count, seed=8)], OTHERS, world)


@torch.no_grad()
def encoded(pipe, pictures):
    """PIL pictures -> the means of their latents, of unit variance, (N, 8, 16, 16) float32."""
    parts = [pipe.vae.encode(x.to(pipe.device, pipe.vae.dtype)).latent_dist.mode() for x in batches(pictures, 25)]
    return torch.cat(parts).float() * pipe.vae.config.scaling_factor


@torch.no_grad()
def decoded(pipe, latents):
    """Latents of unit variance -> PIL pictures."""
    latents = (latents / pipe.vae.config.scaling_factor).to(pipe.vae.dtype)
    parts = [pipe.vae.decode(part).sample for part in latents.split(25)]
    return pipe.image_processor.postprocess(torch.cat(parts))


def flat(picture):
    """A picture of nothing but this one's mean colour."""
    return picture.resize((1, 1), Image.BOX).resize(picture.size)


# --- figures ------------------------------------------------------------------------------------------------------


def judged(drawn, real, specs):
    """What the judge sees: drawn holds a list of pictures for each seed, real one list; specs are those of each list."""
    found, ceiling = [hits(pictures, specs) for pictures in drawn], hits(real, specs)
    floor = [hits(pictures, specs[1:] + specs[:1]) for pictures in drawn]
    together = lambda parts: {head: np.concatenate([part[head] for part in parts]) for head in ceiling}
    by_seed, everything = [written(rates(part)) for part in found], together(found)
    scenes = {head: np.mean([part[head] for part in found], 0) for head in ceiling}
    by = lambda attribute: {
        "model": _weak(rates_by(attribute, everything, specs * len(drawn))),
        "ceiling": _weak(rates_by(attribute, ceiling, specs)),
    }
    return {
        "model": written(rates(everything)),
        "by_seed": {head: [rate[head] for rate in by_seed] for head in by_seed[0]},
        "ceiling": written(rates(ceiling)),
        "floor": written(rates(together(floor))),
        "interval": {"model": _intervals(scenes), "ceiling": _intervals(ceiling)},
        "by_style": by("style"),
        "by_count": by("count"),
    }


def _weak(groups):
    return {name: written(group, 2) for name, group in groups.items()}


def _intervals(scenes):
    """{head: [low, high]} from the mean hits of each scene."""
    asked = {head: values[~np.isnan(values)] for head, values in scenes.items()}
    return {head: [round(v, 4) for v in interval(values)[1:]] for head, values in asked.items() if len(values)}


def rivals(pipe, drawn, real):
    """The sets whose distance to real scenes is measured, each with a list of pictures a seed."""
    through = [decoded(pipe, encoded(pipe, pictures)) for pictures in real]
    return {"model": drawn, "ceiling": through, "real": real, "floor": [list(map(flat, each)) for each in real]}


def distances(measure, sets, reference):
    """{features: {set: measure([features of each seed's pictures], features of the reference)}}."""
    found = {}
    for name, features in FEATURES.items():
        known = features(reference)
        found[name] = {title: measure(list(map(features, groups)), known) for title, groups in sets.items()}
    return found


def kernel_distances(groups, known):
    """The mean over seeds and its interval over scenes."""
    over = lambda kept: np.mean([kernel_distance(group[kept], known) for group in groups])
    by_seed = [round(kernel_distance(group, known), 4) for group in groups]
    mean, error = np.mean(by_seed), 2 * jackknife(over, len(groups[0]))
    return {"mean": rounded(mean), "interval": [rounded(mean - error), rounded(mean + error)], "by_seed": by_seed}


def frechet_distances(groups, known):
    return round(frechet_distance(groups[0], known), 3)


def spreads(by_seed):
    """[mean, low, high] of the grey levels between the pictures of one prompt; by_seed holds a list a seed."""
    return [round(value, 2) for value in interval([spread(pictures) for pictures in zip(*by_seed)])]


@torch.no_grad()
def x0_errors(pipe, real, captions):
    """{timestep: error of the denoiser's x_0}, given the caption, without guidance."""
    hidden = pipe.encode_prompt(captions, pipe.device, 1, False)[0].split(50)

    def predict(noisy, t):
        parts = zip(noisy.to(pipe.unet.dtype).split(50), hidden)
        return torch.cat([pipe.unet(x, t, text).sample for x, text in parts])

    latents = encoded(pipe, real)
    return {str(t): rounded(x0_error(predict, latents, pipe.scheduler.alphas_cumprod, t)) for t in TIMESTEPS}


def evaluate(
    pipe,
    prompts=300,
    seeds=(0, 1, 2),
    steps=STEPS,
    guidance=GUIDANCE,
    pictures=0,
    references=REFERENCES,
    report=print,
    world=WORLD,
):
    """All figures and the settings, ready for JSON.

    pictures: how many for the Fréchet distance, 0 for none. world: which of `scenes.WORLDS` that real scenes are of.
    """
    specs, captions = map(list, zip(*held_out(max(prompts, pictures))))
    drawn, began = [], time.time()
    for seed in seeds:
        drawn.append(draw_many(pipe, captions[:prompts], seed, steps, guidance))
        report(f"seed {seed}: {written(prompt_following(drawn[-1], specs[:prompts]))}")
    seconds = (time.time() - began) / prompts / len(seeds)
    real = [real_scenes(specs[:prompts], seed, world) for seed in seeds]
    result = {"world": world, "prompts": prompts, "seeds": len(seeds), "steps": steps, "guidance": guidance}
    result |= {"seconds_per_picture": round(seconds, 2)} | judged(drawn, real[0], specs[:prompts])
    sharp = {"model": sum(drawn, []), "real": real[0]}
    result["sharpness"] = {name: rounded(list(map(sharpness, group)), 2) for name, group in sharp.items()}
    if len(seeds) > 1:
        result["spread"] = {"model": spreads(drawn), "real": spreads(real)}
    result["x0_error"] = x0_errors(pipe, real[0], captions[:prompts])
    sets = rivals(pipe, drawn, real)
    result["kernel_distance"] = distances(kernel_distances, sets, reference_scenes(references, world))
    if pictures:
        further = draw_many(pipe, captions[prompts:pictures], FURTHER, steps, guidance)
        sets = rivals(pipe, [(drawn[0] + further)[:pictures]], [real_scenes(specs[:pictures], world=world)])
        found = distances(frechet_distances, sets, reference_scenes(pictures, world))
        result["frechet_distance"] = {"pictures": pictures} | found
    return result


def plain(pipe, seeds=(0, 1, 2), steps=STEPS, guidance=GUIDANCE):
    """Share of all subjects that the judge recognises in the plainest scene, one flat picture each on grass."""
    specs = [Spec(name, "草地", size=12 / CELLS, grid=True) for name in SUBJECTS]
    captions = [f"{spec.subject},{spec.background}" for spec in specs]
    drawn = [draw_many(pipe, captions, seed, steps, guidance) for seed in seeds]
    return rounded([prompt_following(pictures, specs)["subject"] for pictures in drawn])


def keep(folder, result):
    """Write the figures into a model's folder, and its card anew with them."""
    (folder / "prompt_following.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    run = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    (folder / "README.md").write_text(model_card(run["config"], run["record"], result), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="a folder of another model of this family")
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--pictures", type=int, default=0, help="the Fréchet distance too, of so many: 2048")
    parser.add_argument("--world", default=WORLD, choices=WORLDS, help="how varied the real scenes are")
    parser.add_argument("--keep", action="store_true", help="write the result into the model's folder")
    args = parser.parse_args()
    pipe, seeds = load(args.model), range(args.seeds)
    result = evaluate(pipe, args.prompts, seeds, args.steps, args.guidance, args.pictures, world=args.world)
    result["plain_subject"] = plain(pipe, seeds, args.steps, args.guidance)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if args.keep:
        keep(find(args.model), result)


if __name__ == "__main__":
    main()
