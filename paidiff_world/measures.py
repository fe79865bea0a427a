"""How pictures look, beside what the judge sees in them: distances of two sets of pictures, variety, the denoiser's error.

A set's distance means little alone: it stands beside that of real pictures (about 0) and of what cannot be right.
"""

from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from paidiff_lib.files import data_folder
from paidiff_lib.metrics import distance
from paidiff_lib.models.opening import opening

from .judge import batches, judge

CLIP = Path("models/paidiff-clip-zh")  # below the data folder


@lru_cache(1)
def picture_encoder():
    """The picture half of the embedded Chinese CLIP, in eval mode."""
    from transformers import CLIPVisionModel

    folder = data_folder() / CLIP
    with opening("图塔读不出来", "cannot read the picture tower", folder):
        return CLIPVisionModel.from_pretrained(folder, local_files_only=True).float().eval()


@torch.no_grad()
def clip_features(pictures):
    """PIL pictures -> pooled output of the embedded CLIP's picture encoder, (N, 192) numpy."""
    return torch.cat([picture_encoder()(pixel_values=x).pooler_output for x in batches(pictures)]).numpy()


@torch.no_grad()
def judge_features(pictures):
    """PIL pictures -> what the judge's heads look at, (N, 384) numpy."""
    return torch.cat([judge().features(x) for x in batches(pictures)]).numpy()


FEATURES = {"clip": clip_features, "judge": judge_features}


def choose(pictures, candidates, features=clip_features):
    """Which of some things each picture is nearest to, as a list of names: forced choice among `candidates`.

    candidates: {name: as many pictures}, the i-th with that thing in the place where the i-th of `pictures` should be.
    """
    seen, *known = map(features, (pictures, *candidates.values()))
    length = lambda x: np.linalg.norm(x, axis=1)
    cosines = [(seen * x).sum(1) / length(seen) / length(x) for x in known]  # (names, N)
    return [list(candidates)[i] for i in np.argmax(cosines, 0)]


def frechet_distance(features, reference):
    """Fréchet distance of the Gaussians that fit two sets of features, (N, D) and (M, D). Heusel et al. 2017.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). It falls with the number of pictures: compare equal numbers only,
    2,048 or so. The trace of the root is the sum of the singular values of C1^(1/2) C2^(1/2), which no rounding turns
    into a complex number.
    """
    (m1, c1), (m2, c2) = (_gaussian(each) for each in (features, reference))
    shared = np.linalg.norm(_root(c1) @ _root(c2), "nuc")
    return float(((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * shared)


def _gaussian(features):
    features = np.asarray(features, np.float64)
    return features.mean(0), np.atleast_2d(np.cov(features, rowvar=False))


def _root(covariance):
    """The symmetric square root of a covariance (D, D)."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T


def kernel_distance(features, reference):
    """Squared maximum mean discrepancy of two sets of features, (N, D) and (M, D). KID, Bińkowski et al. 2018.

    The unbiased estimate (0 on average for two samples of the same, so also a little below) with the cubic kernel
    (x y / D + 1)^3, on features of which the reference has mean 0 and deviation 1: no feature counts for its scale.
    Right for a hundred pictures too, if the reference has some hundreds, for its deviations are estimates. The pictures
    of one set must not depend on each other: one seed a prompt.
    """
    features, reference = (np.asarray(each, np.float64) for each in (features, reference))
    mean, deviation = reference.mean(0), reference.std(0)
    x, y = ((each - mean) / np.where(deviation > 0, deviation, 1) for each in (features, reference))
    return float(_others(_kernel(x, x)) + _others(_kernel(y, y)) - 2 * _kernel(x, y).mean())


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _others(kernel):
    """The mean of a square kernel matrix without its diagonal: a picture's likeness to itself says nothing."""
    return (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))


def spread(pictures):
    """How far the pictures of ONE prompt, drawn from several seeds, lie apart: mean `distance` of two, in grey levels.

    nan for fewer than two.
    """
    pairs = [distance(a, b) for a, b in combinations(pictures, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


@torch.no_grad()
def x0_error(predict, latents, alphas_cumprod, t, seed=0):
    """Root mean square error of a denoiser's x_0 at timestep t, in deviations of a latent (they have unit variance).

    predict(noisy (N, C, H, W), t) -> v = a noise - s x_0 for noisy = a x_0 + s noise with a^2 = alphas_cumprod[t] and
    s^2 = 1 - a^2 (Salimans & Ho 2022), so x_0 = a noisy - s v. One that says 0 errs by s.
    """
    a = float(alphas_cumprod[t]) ** 0.5
    s = (1 - a * a) ** 0.5
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents)
    noisy = a * latents + s * noise
    return (a * noisy - s * predict(noisy, t).to(latents) - latents).square().mean().sqrt().item()


def jackknife(measure, count, groups=20):
    """Standard error of measure(kept), kept (count,) a mask of scenes: each time a group of them is left out. Tukey 1958.

    For what is no mean of scenes, as a distance of two sets; pictures of one scene go or stay together.
    """
    groups = min(groups, count)
    left = [measure(np.arange(count) % groups != group) for group in range(groups)]
    return float(np.sqrt((groups - 1) * np.var(left)))
