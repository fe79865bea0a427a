"""What a request may ask for, and what it is answered with. Every limit stands here and in the OpenAPI description.

The WebUI's clients send far more fields than are used here; fields.py says what becomes of those. A name that stands in
neither is refused.
"""

import base64
import binascii
import io
import json
import re
import secrets
from typing import Annotated, Any, Literal

from PIL import Image, ImageFilter, ImageOps
from pydantic import BaseModel, BeforeValidator, Field

from paidiff_lib.errors import PaidiffError, Refused
from paidiff_lib.generate import STEPS, check_settings
from paidiff_lib.schedulers import KARRAS, SAMPLERS

from ..engine import FORMATS, open_image
from ..infotext import png, text_in
from . import fields

MAX_PROMPT = 2000  # characters; the model reads ten times 30 or so
MIN_SIDE, MAX_SIDE = 64, 1024  # pixels, of what is drawn
MAX_SCALE = 4  # times the model's own side: beyond, no model draws anything, and one step takes minutes
MAX_STEPS = 100
MAX_PICTURES = 8  # of one request
MAX_BODY = 8 * 2**20  # bytes; a picture of 1024 x 1024 in base64 takes 4 MB at most
MAX_START = 4 * 2**20  # pixels of a picture sent in: it must be unpacked before it can be made smaller
MAX_SEED = 2**53 - 1  # the largest whole number that JSON carries between any two programs
RANDOM = 2**32  # seeds drawn for -1 lie below, as the WebUI's

Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=8)]
Count = Annotated[int, Field(ge=1, le=MAX_PICTURES)]
Sampler = Literal[tuple(["", *SAMPLERS])]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_()\-]{1,100}$")]  # the WebUI's own look like task(abc)
Task = Annotated[Name | None, BeforeValidator(lambda given: given or None)]


class Refusal(BaseModel):
    """The body of every answer that is not 200."""

    detail: str


class Asked(BaseModel, allow_inf_nan=False, extra="forbid"):
    """A request in the WebUI's shape."""

    prompt: Prompt = Field("", description="with weights, (猫:1.3), and <lora:name:scale>")
    negative_prompt: Prompt | None = ""
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED, description="-1: any")] | None = -1
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = STEPS
    cfg_scale: Annotated[float, Field(ge=0, le=50)] | None = Field(None, description="null: what suits the model")
    width: Side | None = Field(None, description="null: the model's own")
    height: Side | None = None
    batch_size: Count | None = 1
    n_iter: Count | None = 1
    sampler_name: Sampler | None = Field(None, description="null: the model's own")
    sampler_index: Sampler | None = Field(None, description="the old name of sampler_name, where that is not sent")
    scheduler: Literal["automatic", "Automatic", "karras", "Karras", ""] | None = None
    force_task_id: Task = Field(None, description="a name of your own, to ask for progress or to cancel")
    override_settings: dict[str, Any] | None = Field(None, description="as POST /options, for this request")
    alwayson_scripts: dict[str, Any] | None = Field(None, description="there are none here: empty, or switched off")

    def sampler(self):
        """The name in SAMPLERS, or None. Raises PaidiffError where there is no such schedule."""
        name = self.sampler_name or self.sampler_index
        if (self.scheduler or "").lower() != "karras" or (name or "").endswith(KARRAS):
            return name or None
        if f"{name}{KARRAS}" not in SAMPLERS:
            listed = ", ".join(one.removesuffix(KARRAS) for one in SAMPLERS if one.endswith(KARRAS))
            raise PaidiffError("Karras 只配这些采样器", "Karras goes with these samplers only", listed)
        return f"{name}{KARRAS}"

    def hints(self, no_effect):
        """What was sent and changes nothing, in one line. no_effect: the table of fields.py."""
        named = fields.without_effect(self, no_effect)
        if (self.eta, self.sampler()) in ((0, "Euler a"), (1, "DDIM")):
            named += ["eta"]
        if self.sampler_name and self.sampler_index not in (None, "", "Euler", "Euler a", self.sampler_name):
            named += ["sampler_index"]
        return fields.say_no_effect(list(dict.fromkeys(named)))


class FromImage(Asked):
    """As Txt2Img, from one picture, which is scaled to width x height."""

    init_images: list[str] = Field(min_length=1, max_length=1, description="base64 of a PNG, JPEG or WebP picture")
    denoising_strength: Annotated[float, Field(gt=0, le=1)] | None = 0.75
    mask: str | None = Field(None, description="base64 of a picture: white is drawn anew, at the model's own square")
    mask_blur: Annotated[int, Field(ge=0, le=64)] | None = Field(None, description="of the mask's edge, in pixels")
    inpainting_mask_invert: Literal[0, 1] | None = Field(0, description="1: black is drawn anew")

    def hints(self, no_effect):
        """As Asked's. What is under the mask starts from the picture, and the whole picture is looked at."""
        if self.mask:
            idle = {"inpainting_fill": (1,), "inpaint_full_res": (False,)}
        else:
            idle = {"mask_blur": (4, 0), "inpainting_mask_invert": (0,)}
        return super().hints(no_effect | idle)


TXT2IMG = fields.NO_EFFECT | fields.NO_EFFECT_OF_TXT2IMG
IMG2IMG = fields.NO_EFFECT | fields.NO_EFFECT_OF_IMG2IMG
# What the answer's `parameters` repeat: not what was sent for nothing, which may be large, or no number
ECHOED = {*FromImage.model_fields} - {"init_images", "mask", "override_settings", "alwayson_scripts"}
Txt2Img = fields.declare("Txt2Img", Asked, fields.REFUSED, TXT2IMG)
Img2Img = fields.declare("Img2Img", FromImage, fields.REFUSED | fields.REFUSED_OF_IMG2IMG, IMG2IMG)


class AskedOfThePlatform(BaseModel, allow_inf_nan=False, extra="forbid"):
    """A request in the shape of the platform's own text-to-image service."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT)]
    negative_prompt: Prompt | None = ""
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = STEPS
    guidance_scale: Annotated[float, Field(ge=0, le=50)] | None = Field(None, description="null: what suits the model")
    width: Side | None = Field(None, description="null: the model's own")
    height: Side | None = None
    num_images: Count | None = 1
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED)] | None = -1


PLATFORM = fields.NO_EFFECT_OF_THE_PLATFORM
Platform = fields.declare("Platform", AskedOfThePlatform, {}, PLATFORM)


class Picture(BaseModel, extra="forbid"):
    image: str = Field(description="base64 of a PNG, JPEG or WebP picture")


class Drawn(BaseModel):
    """The WebUI's answer. info: a JSON text with the seed of every picture."""

    images: list[str] = Field(description="PNG pictures in base64")
    parameters: dict[str, Any]
    info: str


class PlatformDrawn(BaseModel):
    text: str
    num_images: int
    images_base64: list[str] = Field(description="PNG pictures in base64")
    hints: list[str] = Field(description="what the model or this service passes over")


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
    check_settings(size=size)


def check_square(size, side):
    """Raise PaidiffError unless a picture with a mask is to be drawn at the model's own size."""
    if size != (side, side):
        given = f"{size[0]}x{size[1]}"
        raise PaidiffError(f"局部重绘只画 {side}x{side}", f"with a mask only {side}x{side} is drawn", given)


def decode_picture(text, size):
    """Base64, bare or as a data: URL, -> a PIL RGB picture of `size`. Raises PaidiffError; opens no path and no URL."""
    return open_image(decode_base64(text), MAX_START).resize(size, Image.Resampling.LANCZOS)


def prepare_mask(image, wanted):
    """The mask of an img2img request as it is drawn with: grey, white to be redrawn, inverted and blurred as asked."""
    mask = image.convert("L")
    mask = ImageOps.invert(mask) if wanted.inpainting_mask_invert else mask
    return mask.filter(ImageFilter.GaussianBlur(wanted.mask_blur)) if wanted.mask_blur else mask


def decode_base64(text):
    """Bytes of base64 as it is written anywhere: in one line or in many, of either alphabet, padded or not."""
    text = re.sub(r"\s", "", text.partition(",")[2] if text.startswith("data:") else text)
    text = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("图片要用 base64", "the picture must be base64, not a path or a link") from error


def read_settings(text):
    """Base64 of a picture -> the lines that describe it, or "". Raises PaidiffError."""
    raw = decode_base64(text)
    open_image(raw, MAX_START)
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        image.load()  # PNG texts may stand behind the pixels
        return text_in(image)


def encode_picture(picture, text):
    """A PIL picture -> PNG in base64, with its settings as the WebUI writes them."""
    return base64.b64encode(png(picture, text)).decode()


def info(job, texts, hints):
    """The answer's `info`: what the WebUI says, the hints about the prompt that `paidiff draw` prints, and `hints`."""
    request, count = job.request, job.request.n
    seeds = [request.seed + index for index in range(count)]
    first = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    answer = first | {f"all_{name}s": [text] * count for name, text in first.items()}
    answer |= {"seed": request.seed, "all_seeds": seeds, "subseed": request.seed, "all_subseeds": seeds}
    answer |= {"subseed_strength": 0, "width": request.size[0], "height": request.size[1], "batch_size": count}
    answer |= {"sampler_name": request.sampler, "cfg_scale": request.guidance, "steps": request.steps}
    answer |= {"denoising_strength": request.strength, "sd_model_name": request.model, "index_of_first_image": 0}
    return json.dumps(answer | {"infotexts": texts, "hints": [*job.hints, *hints]}, ensure_ascii=False)
