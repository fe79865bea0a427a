"""Draws with an exported model: ONNX Runtime, numpy and tokenizers, so that neither torch nor diffusers is imported.

    pipe = paidiff_app.open_model("out/exported")    # a folder of `paidiff export`
    picture = paidiff.draw(pipe, "雪地里的两只企鹅", seed=1)

The noise of a seed is torch's, the sampler is diffusers' DPM-Solver++; tests hold both to the originals.
"""

import json
import os
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from paidiff_lib.errors import NotFound, Refused, first_line
from paidiff_lib.models.load import EXPORT_MARK
from paidiff_lib.prompts import text_of, token_weights, weighted

from ..install import install_command

PARTS = ("text_encoder", "unet", "decoder")
FORMAT = 1


def runtime(name="onnxruntime"):
    """The module of that name. Raises PaidiffError if it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise NotFound(f"没有装 {name},装上它", "not installed, install it", install_command("export")) from error


class OnlyDraws(Refused, AttributeError):
    """Whoever asks an exported model for more than drawing; hasattr and getattr's default work as ever."""


class OnnxPipeline:
    """An exported model. `draw`, `check_prompt` and the command take it as they take a pipeline. Raises PaidiffError."""

    most_parts = 1  # its graphs take so many tokens and no more: a long prompt is cut, and check_prompt says so

    def __init__(self, folder):
        folder = Path(folder).expanduser()
        onnxruntime = runtime()
        try:
            self.note = json.loads((folder / EXPORT_MARK).read_text(encoding="utf-8"))
            if self.note["format"] != FORMAT:
                raise ValueError(f"format {self.note['format']}, {FORMAT} expected")
            self.guidance, self.images_at_once = self.note["guidance"], self.note["at_once"]
            self.scheduler = self.note["scheduler"]
            self.tokenizer = Tokenizer(folder, self.note["tokens"])
            sessions = [_session(onnxruntime, folder / f"{part}.onnx") for part in PARTS]
            self._text_encoder, self._unet, self._decoder = sessions
        except Exception as error:  # the runtime's own errors are of a dozen kinds
            what = f"cannot read the exported model {folder}"
            raise Refused("导出的模型读不出来", what, first_line(error)) from error

    def run_batch(self, prompts, negative_prompts, seeds, steps, guidance, size=None):
        """PIL images of prompts, one for each, with the negative prompt and the seed of each. size: (width, height)."""
        width, height = size or (self.note["size"],) * 2
        shape = (self.note["channels"], height // self.note["scale"], width // self.note["scale"])
        latents = np.stack([noise(seed, shape) for seed in seeds])
        guided = guidance > 1
        words = self._words([*negative_prompts, *prompts] if guided else prompts)

        def model(latents, timestep):
            twice = np.concatenate([latents] * 2) if guided else latents
            output = _run(self._unet, twice, np.array(timestep, np.float32), words)
            if not guided:
                return output
            without, along = np.split(output, 2)
            return without + np.float32(guidance) * (along - without)

        latents = solve(self.scheduler, model, latents, steps)
        pictures = [_run(self._decoder, one)[0] for one in np.split(latents, len(latents))]  # little memory
        return [Image.fromarray((picture * 255).round().astype(np.uint8)) for picture in pictures]

    def _words(self, prompts):
        """Hidden states (B, tokens, width), weighed as generate.py weighs them."""
        given = [weighted(prompt) for prompt in prompts]
        hidden = _run(self._text_encoder, self.tokenizer.ids([*map(text_of, given)]))
        weights = np.array([token_weights(self.tokenizer, parts) for parts in given], np.float32)[..., None]
        if (weights == 1).all():
            return hidden
        return hidden + (weights - 1) * (hidden - _run(self._text_encoder, self.tokenizer.ids([""])))

    def __getattr__(self, name):
        raise OnlyDraws("导出的模型只能画,别的用原来的模型", "an exported model only draws, use the model itself", name)


class Tokenizer:
    """What `check_prompt` and the text encoder ask of a tokenizer; transformers alone takes a second to import."""

    def __init__(self, folder, limit):
        from tokenizers import Tokenizer as Words

        self.name_or_path, self.model_max_length = str(folder / "tokenizer"), limit
        self.words = Words.from_file(f"{self.name_or_path}/tokenizer.json")
        self.words.no_padding()
        self.words.no_truncation()
        self.unk_token_id = self.words.token_to_id("[UNK]")

    def __call__(self, text, add_special_tokens=True, **_):
        coded = self.words.encode(text, add_special_tokens=add_special_tokens)
        return {"input_ids": coded.ids, "offset_mapping": coded.offsets}

    def get_added_vocab(self):
        return {added.content: index for index, added in self.words.get_added_tokens_decoder().items()}

    def ids(self, texts):
        """(N, limit) token ids, cut before the last token and padded with zeros."""
        ids = np.full((len(texts), self.model_max_length), self.words.token_to_id("[PAD]"), np.int64)
        for row, text in zip(ids, texts):
            found = self(text)["input_ids"]
            found = found if len(found) <= len(row) else [*found[: len(row) - 1], found[-1]]
            row[: len(found)] = found
        return ids


def noise(seed, shape):
    """The normal numbers that torch's CPU generator gives for this seed, to within rounding: (*shape,) float32.

    torch draws 24 bits a number from the Mersenne twister, and turns 16 at a time to 16 normal ones (Box and Muller). A rest
    of less than 16 draws the last 16 anew. Shapes of 16 numbers or more.
    """
    count = int(np.prod(shape))
    twister = np.random.RandomState(seed & 0xFFFFFFFF)

    def uniform(many):
        return (twister._bit_generator.random_raw(many) & 0xFFFFFF).astype(np.float32) / np.float32(2**24)

    def normal(values):
        values = values.reshape(-1, 2, 8)
        radius, angle = np.sqrt(-2 * np.log(1 - values[:, 0])), np.float32(2 * np.pi) * values[:, 1]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)

    values = uniform(count)
    whole = count - count % 16
    values[:whole] = normal(values[:whole])
    if whole < count:
        values[-16:] = normal(uniform(16))
    return values.reshape(shape)


def plan(config, steps):
    """The timesteps and noise levels of diffusers' DPMSolverMultistepScheduler: (steps,) and (steps + 1,), the last 0."""
    count, spacing = config["num_train_timesteps"], config["timestep_spacing"]
    if spacing == "linspace":
        timesteps = np.linspace(0, count - 1, steps + 1).round()[::-1][:-1]
    elif spacing == "leading":
        timesteps = (np.arange(steps + 1) * (count // (steps + 1)))[::-1][:-1] + config["steps_offset"]
    else:
        timesteps = np.arange(count, 0, -count / steps).round() - 1
    edges = config["beta_start"], config["beta_end"]
    if config["beta_schedule"] == "scaled_linear":
        betas = np.linspace(*np.sqrt(edges), count) ** 2
    else:
        betas = np.linspace(*edges, count)
    kept = np.cumprod(1 - betas)
    levels = np.interp(timesteps, np.arange(count), np.sqrt((1 - kept) / kept))
    return timesteps, np.append(levels, 0.0)


def solve(config, model, latents, steps):
    """DPM-Solver++ 2M (Lu et al. 2022): from noise to latents. model(latents, timestep) -> what the UNet predicts."""
    timesteps, levels = plan(config, steps)
    alphas = 1 / np.sqrt(1 + levels**2)
    sigmas = levels * alphas
    with np.errstate(divide="ignore"):
        lambdas = -np.log(levels)
    before = None
    for i, timestep in enumerate(timesteps):
        output = model(latents, timestep)
        if config["prediction_type"] == "v_prediction":
            clean = np.float32(alphas[i]) * latents - np.float32(sigmas[i]) * output
        else:
            clean = (latents - np.float32(sigmas[i]) * output) / np.float32(alphas[i])
        h = lambdas[i + 1] - lambdas[i]
        weight = -alphas[i + 1] * np.expm1(-h)
        latents = np.float32(sigmas[i + 1] / sigmas[i]) * latents + np.float32(weight) * clean
        if i > 0 and i + 1 < steps:  # the first and the last step are of first order
            ratio = (lambdas[i] - lambdas[i - 1]) / h
            latents += np.float32(weight / ratio / 2) * (clean - before)
        before = clean
    return latents


def _session(onnxruntime, path):
    """Its threads wait without spinning: that made drawing slow on cores shared with another busy program."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: one for each core
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session, *inputs):
    return session.run(None, {into.name: value for into, value in zip(session.get_inputs(), inputs)})[0]
