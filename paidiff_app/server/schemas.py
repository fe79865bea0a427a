"""What a request may ask for, and what it is answered with. Every limit stands here and in the OpenAPI description.

The WebUI's clients send far more fields than are listed: what would not change the picture is passed over, what
would and cannot be done here is refused, so that nobody gets another picture than the one asked for.
"""

import base64
import binascii
import json
import secrets
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, Field

from paidiff_lib.errors import PaidiffError, Refused
from paidiff_lib.generate import STEPS
from paidiff_lib.schedulers import SAMPLERS

from ..engine import open_image
from ..infotext import png

MAX_PROMPT = 2000  # characters; the model reads 30 or so
MAX_SIDE = 1024  # pixels, of what is drawn
MAX_SCALE = 4  # times the model's own side: beyond, no model draws anything, and one step takes minutes
MAX_STEPS = 100
MAX_PICTURES = 8  # of one request
MAX_BODY = 8 * 2**20  # bytes; a picture of 1024 x 1024 in base64 takes 4 MB at most
MAX_START = 4 * 2**20  # pixels of a picture sent in: it must be unpacked before it can be made smaller
MAX_SEED = 2**53 - 1  # the largest whole number that JSON carries between any two programs
RANDOM = 2**32  # seeds drawn for -1 lie below, as the WebUI's

Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Side = Annotated[int, Field(ge=64, le=MAX_SIDE, multiple_of=8)]
Count = Annotated[int, Field(ge=1, le=MAX_PICTURES)]
Sampler = Literal[tuple(["", *SAMPLERS])]
Task = Annotated[str, Field(pattern=r"^[A-Za-z0-9_()\-]{1,100}$")]  # the WebUI's own look like task(abc)


class Refusal(BaseModel):
    """The body of every answer that is not 200."""

    detail: str


class Txt2Img(BaseModel, allow_inf_nan=False):
    """A request in the WebUI's shape. Other fields are allowed and have no effect."""

    prompt: Prompt = ""
    negative_prompt: Prompt | None = ""
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED, description="-1: any")] | None = -1
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = STEPS
    cfg_scale: Annotated[float, Field(ge=0, le=50)] | None = Field(None, description="null: what suits the model")
    width: Side | None = Field(None, description="null: the model's own")
    height: Side | None = None
    batch_size: Count | None = 1
    n_iter: Count | None = 1
    sampler_name: Sampler | None = Field(None, description="null: the model's own")
    scheduler: Literal["automatic", "Automatic", ""] | None = None
    force_task_id: Task | None = Field(None, description="a name of your own, to ask for progress or to cancel")
    enable_hr: Literal[False] | None = False
    restore_faces: Literal[False] | None = False
    tiling: Literal[False] | None = False
    styles: Annotated[list[str], Field(max_length=0)] | None = None
    subseed_strength: Annotated[float, Field(ge=0, le=0)] | None = 0
    script_name: Literal[""] | None = None
    send_images: Literal[True] | None = True


class Img2Img(Txt2Img):
    """As Txt2Img, from one picture, which is scaled to width x height."""

    init_images: list[str] = Field(min_length=1, max_length=1, description="base64 of a PNG, JPEG or WebP picture")
    denoising_strength: Annotated[float, Field(gt=0, le=1)] | None = 0.75
    mask: None = Field(None, description="inpainting is not offered here")


class Platform(BaseModel, allow_inf_nan=False):
    """A request in the shape of the platform's own text-to-image service."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT)]
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = STEPS
    num_images: Count = 1
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED)] = -1


class Drawn(BaseModel):
    """The WebUI's answer. info: a JSON text with the seed of every picture."""

    images: list[str] = Field(description="PNG pictures in base64")
    parameters: dict[str, Any]
    info: str


class PlatformDrawn(BaseModel):
    text: str
    num_images: int
    images_base64: list[str] = Field(description="PNG pictures in base64")


class State(BaseModel):
    """The WebUI's progress, with `state` as its clients read it. waiting: pictures in the queue."""

    progress: float
    eta_relative: float
    state: dict[str, Any]
    current_image: str | None = None
    textinfo: str | None = None
    waiting: int


class TaskState(BaseModel):
    """step: of the picture being drawn. before: pictures that were asked for earlier and are not yet begun."""

    state: Literal["waiting", "drawing"]
    step: int
    steps: int
    before: int


def first_seed(seed):
    """The seed asked for, or a new one for -1 and nothing."""
    return secrets.randbelow(RANDOM) if seed in (None, -1) else seed


def check_size(size, side):
    """Raise PaidiffError on a (width, height) that a model of that side cannot draw in a minute."""
    most, given = min(MAX_SIDE, MAX_SCALE * side), f"{size[0]}x{size[1]}"
    if max(size) > most:
        raise PaidiffError(f"这个模型宽和高最多 {most}", f"width and height are at most {most} with this model", given)


def decode_picture(text, size):
    """Base64, bare or as a data: URL, -> a PIL RGB picture of `size`. Raises PaidiffError; opens no path and no URL."""
    try:
        raw = base64.b64decode(text.partition(",")[2] if text.startswith("data:image/") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("图片要用 base64", "the picture must be base64, not a path or a link") from error
    return open_image(raw, MAX_START).resize(size, Image.Resampling.LANCZOS)


def encode_picture(picture, text):
    """A PIL picture -> PNG in base64, with its settings as the WebUI writes them."""
    return base64.b64encode(png(picture, parameters=text)).decode()


def info(job, texts):
    """The answer's `info`: what the WebUI says, and the hints about the prompt that `paidiff draw` prints."""
    request, count = job.request, job.request.n
    seeds = [request.seed + index for index in range(count)]
    first = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    answer = first | {f"all_{name}s": [text] * count for name, text in first.items()}
    answer |= {"seed": request.seed, "all_seeds": seeds, "subseed": request.seed, "all_subseeds": seeds}
    answer |= {"subseed_strength": 0, "width": request.size[0], "height": request.size[1], "batch_size": count}
    answer |= {"sampler_name": request.sampler, "cfg_scale": request.guidance, "steps": request.steps}
    answer |= {"denoising_strength": request.strength, "sd_model_name": request.model, "index_of_first_image": 0}
    return json.dumps(answer | {"infotexts": texts, "hints": job.hints}, ensure_ascii=False)
