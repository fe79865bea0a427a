"""Pictures in the shape of OpenAI's image API, which LobeChat, Dify and Open WebUI speak: /v1/images/generations."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from paidiff_lib.generate import STEPS

from ..engine import GenerationRequest, Job, Rejected
from . import drawing, fields, schemas
from .schemas import MAX_PROMPT, MAX_SEED, MAX_STEPS, Count, Prompt

openai = APIRouter(prefix="/v1", tags=["OpenAI"])
REFUSED = {
    **{"response_format": ("b64_json",), "output_format": ("png",), "stream": (False,), "partial_images": (0,)},
    **{"background": ("auto", "opaque")},
}
NO_EFFECT = {
    **{"quality": ("auto", "standard"), "style": ("vivid",), "moderation": ("auto",), "user": ("",)},
    **{"output_compression": (100,)},
}


class AskedOfOpenAI(BaseModel, allow_inf_nan=False, extra="forbid"):
    """OpenAI's fields, and four of the platform's that theirs lack."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT)]
    model: str | None = Field(None, description="the one of /v1/models")
    n: Count | None = 1
    size: Annotated[str, Field(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")] | None = Field(
        "auto", description="WIDTHxHEIGHT; auto: the model's own"
    )
    negative_prompt: Prompt | None = ""
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED)] | None = -1
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = STEPS
    guidance_scale: Annotated[float, Field(ge=0, le=50)] | None = Field(None, description="null: what suits the model")


Generation = fields.declare("Generation", AskedOfOpenAI, REFUSED, NO_EFFECT)


class Generated(BaseModel):
    """hints: what the model or this service passes over; OpenAI's own answer has no such field."""

    created: int
    data: list[dict[str, Any]] = Field(description='{"b64_json": a PNG picture in base64}')
    hints: list[str]


@openai.get("/models")
async def models(request: Request) -> dict:
    name = request.app.state.engine.models[0]
    return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "paidiff"}]}


@openai.post("/images/generations")
async def generations(wanted: Generation, request: Request) -> Generated:
    """文生图 · text to image"""
    engine = request.app.state.engine
    name = engine.models[0]
    if wanted.model not in (None, "", name):
        raise Rejected(404, "这里只有一个模型", "there is one model here", name)
    width, height = (None, None) if wanted.size in (None, "auto") else map(int, wanted.size.split("x"))
    size, guidance = drawing.suiting(width, height, wanted.guidance_scale, engine)
    settings = {"steps": wanted.num_inference_steps or STEPS, "n": wanted.n or 1, "size": size, "guidance": guidance}
    settings |= {"model": name, "seed": schemas.first_seed(wanted.seed)}
    settings["embeddings"] = drawing.embeddings_in(wanted.prompt, engine)
    job = Job(GenerationRequest(wanted.prompt, wanted.negative_prompt or "", **settings))
    images, _ = await drawing.draw(job, request)
    hints = [*job.hints, *fields.say_no_effect(fields.without_effect(wanted, NO_EFFECT))]
    return Generated(created=int(time.time()), data=[{"b64_json": image} for image in images], hints=hints)
