"""The routes. Handlers only translate: a request into a Job, a finished Job into the answer's shape."""

import asyncio
from dataclasses import replace
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Match

from paidiff_lib import __version__
from paidiff_lib.errors import PaidiffError, one_line
from paidiff_lib.generate import STEPS
from paidiff_lib.schedulers import SAMPLERS

from ..engine import GenerationRequest, Job, Rejected, check
from ..infotext import parse
from . import drawing, fields, schemas
from .openai import openai
from .schemas import (
    IMG2IMG,
    PLATFORM,
    TXT2IMG,
    Drawn,
    Img2Img,
    Platform,
    PlatformDrawn,
    Refusal,
    State,
    TaskState,
    Txt2Img,
)
from .security import refuse

STATUSES = {
    400: "not JSON",
    401: "wrong token",
    403: "another page or another host",
    404: "no such thing",
    405: "wrong method",
    408: "too slow",
    409: "cancelled, or a task of that name is under way",
    413: "too large",
    422: "refused",
    503: "the queue is full",
}
ABOUT = (
    "中文文生图 · Chinese text-to-image. 出错时 `detail` 是一行说明 · when refused, `detail` is one line that says why."
)
EMPTY = ("upscalers", "latent-upscale-modes", "sd-vae", "hypernetworks", "prompt-styles", "face-restorers")
EMPTY += ("realesrgan-models",)  # asked for at start
NO_TASK = 404, "没有这个任务,或者已经画完", "no such task, or it is done"
PAGE = Path(__file__).with_name("index.html").read_text(encoding="utf-8")
SAFE = {
    "content-security-policy": "default-src 'self'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
}
EVENT_SECONDS, QUIET_SECONDS = 0.25, 10  # between two looks at the engine; between two lines to a silent client
DECODERS = 2  # pictures unpacked at once: each takes 12 MB or more

webui = APIRouter(prefix="/sdapi/v1", tags=["WebUI"])
own = APIRouter(tags=["paidiff"])


def make_app(engine, metrics):
    """The FastAPI application before an Engine, without the Guard."""
    responses = {status: {"model": Refusal, "description": text} for status, text in STATUSES.items()}
    pages = {"docs_url": None, "redoc_url": None}  # both would load scripts from the network
    app = FastAPI(title="paidiff serve", version=__version__, description=ABOUT, responses=responses, **pages)
    app.state.engine, app.state.metrics, app.state.decoders = engine, metrics, CapacityLimiter(DECODERS)
    app.include_router(webui)
    app.include_router(openai)
    app.include_router(own)
    for kind, answer in ANSWERS.items():
        app.add_exception_handler(kind, answer)
    return app


class Metrics:
    """What /metrics tells, in Prometheus' text."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.answers = Counter("paidiff_answers", "HTTP answers", ["status"], registry=self.registry)
        self.pictures = Counter("paidiff_pictures", "Pictures drawn", registry=self.registry)
        self.seconds = Histogram("paidiff_batch_seconds", "Time to draw a batch", registry=self.registry)
        sizes = (1, 2, 3, 4, 6, 8)
        self.sizes = Histogram("paidiff_batch_size", "Pictures in a batch", buckets=sizes, registry=self.registry)
        self.waiting = Gauge("paidiff_waiting", "Pictures in the queue", registry=self.registry)

    def batch(self, size, seconds):
        self.pictures.inc(size)
        self.sizes.observe(size)
        self.seconds.observe(seconds)

    def answer(self, status):
        self.answers.labels(status).inc()


# --- the WebUI's ------------------------------------------------------------------------------------------------


@webui.post("/txt2img")
async def txt2img(wanted: Txt2Img, request: Request) -> Drawn:
    """文生图 · text to image"""
    return await _webui_answer(wanted, _wanted(wanted, request.app.state.engine), request, wanted.hints(TXT2IMG))


@webui.post("/img2img")
async def img2img(wanted: Img2Img, request: Request) -> Drawn:
    """图生图 · image to image"""
    strength = 0.75 if wanted.denoising_strength is None else wanted.denoising_strength
    asked = _wanted(wanted, request.app.state.engine, strength)
    image, hints = await _decoded(wanted.init_images[0], asked.size, request), wanted.hints(IMG2IMG)
    asked = replace(asked, task="img2img", image=image)
    if wanted.mask:
        schemas.check_square(asked.size, request.app.state.engine.suits()[0])
        mask = schemas.prepare_mask(await _decoded(wanted.mask, asked.size, request), wanted)
        asked = replace(asked, task="inpaint", mask=mask)
        check(asked)
    wanted.init_images, wanted.mask = [], None
    return await _webui_answer(wanted, asked, request, hints)


async def _decoded(text, size, request):
    decode = schemas.decode_picture, text, size
    return await to_thread.run_sync(*decode, limiter=request.app.state.decoders)


@webui.get("/progress")
async def progress(request: Request) -> State:
    """正在画的这一批 · the batch that is being drawn"""
    drawing, step, steps, seconds, waiting = request.app.state.engine.progress()
    part = step / steps if drawing and steps else 0.0
    left = seconds / part - seconds if part else 0.0
    state = {"skipped": False, "interrupted": False, "job": "drawing" if drawing else "", "job_count": drawing}
    state |= {"job_timestamp": "0", "job_no": 0, "sampling_step": step, "sampling_steps": steps}
    return State(progress=min(part, 1), eta_relative=left, state=state, waiting=waiting)


@webui.post("/interrupt")
@webui.post("/skip")
async def interrupt(request: Request) -> dict:
    """停下正在画的这一批,不管是谁的 · stop the batch that is being drawn, whoever asked for it"""
    request.app.state.engine.interrupt()
    return {}


@webui.get("/sd-models")
async def sd_models(request: Request) -> list[dict]:
    name = request.app.state.engine.models[0]
    return [{"title": name, "model_name": name, "hash": "", "sha256": "", "filename": name, "config": None}]


@webui.get("/options")
async def options(request: Request) -> dict:
    standing = {name: values[0] for name, values in fields.OPTIONS.items()}
    return {"sd_model_checkpoint": request.app.state.engine.models[0], **standing}


@webui.post("/options")
async def set_options(wanted: dict, request: Request) -> None:
    """设置只能是现在的样子 · the settings can only be what they are"""
    fields.check_options(wanted, request.app.state.engine.models[0])


@webui.get("/loras")
async def loras(request: Request) -> list[dict]:
    """能写进 <lora:名字:强度> 的 · what <lora:name:scale> may name"""
    names = request.app.state.engine.loras()
    return [{"name": name, "alias": name, "path": name, "metadata": {}} for name in names]


@webui.get("/embeddings")
async def embeddings(request: Request) -> dict:
    """词:写进提示词就用上 · words that a prompt may hold"""
    words = filter(None, request.app.state.engine.embeddings().values())
    return {
        "loaded": {word: {"step": None, "sd_checkpoint": None, "shape": 0, "vectors": 0} for word in words},
        "skipped": {},
    }


@webui.post("/refresh-checkpoints")
@webui.post("/refresh-loras")
async def refresh() -> None:
    """不用做什么:文件夹每次都重新看 · nothing to do: the folder is looked at each time"""


@webui.post("/png-info")
async def png_info(wanted: schemas.Picture, request: Request) -> dict:
    """一张图里的设置 · the settings in a picture"""
    text = await to_thread.run_sync(schemas.read_settings, wanted.image, limiter=request.app.state.decoders)
    return {"info": text, "items": {"parameters": text} if text else {}, "parameters": parse(text)}


def _always(path, answer):
    """A route that answers the same to everyone."""

    async def same() -> type(answer):
        return answer

    webui.add_api_route(path, same, operation_id=path.strip("/"))


_always("/samplers", [{"name": name, "aliases": [], "options": {}} for name in SAMPLERS])
SCHEDULE = {"aliases": [], "default_rho": -1, "need_inner_model": False}
_always("/schedulers", [{"name": name, "label": name.title(), **SCHEDULE} for name in ("automatic", "karras")])
_always("/cmd-flags", {})
_always("/scripts", {"txt2img": [], "img2img": []})
for _name in EMPTY:
    _always(f"/{_name}", [])


# --- the platform's and our own ---------------------------------------------------------------------------------


@own.post("/")
async def platform(wanted: Platform, request: Request) -> PlatformDrawn:
    """PAI-EAS 的写法:服务的根地址 · as PAI-EAS calls a service, at its root"""
    engine = request.app.state.engine
    size, guidance = drawing.suiting(wanted.width, wanted.height, wanted.guidance_scale, engine)
    settings = {"steps": wanted.num_inference_steps or STEPS, "n": wanted.num_images or 1, "size": size}
    settings |= {"guidance": guidance, "model": engine.models[0], "seed": schemas.first_seed(wanted.seed)}
    job = Job(GenerationRequest(wanted.text, wanted.negative_prompt or "", **settings))
    images, _ = await drawing.draw(job, request)
    hints = [*job.hints, *fields.say_no_effect(fields.without_effect(wanted, PLATFORM))]
    return PlatformDrawn(text=wanted.text, num_images=len(images), images_base64=images, hints=hints)


@own.get("/", response_class=HTMLResponse)
async def index() -> HTMLResponse:
    """一页:试一句话 · a page to try a prompt on"""
    return HTMLResponse(PAGE, headers=SAFE)


@own.get("/events", response_class=StreamingResponse)
async def events(request: Request) -> StreamingResponse:
    """进度,一变就推送 · as /sdapi/v1/progress, sent whenever it changes (server-sent events)"""
    return StreamingResponse(_events(request), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(request):
    last, quiet = None, 0.0
    while request.app.state.engine.alive():
        state = await progress(request)
        state.eta_relative = round(state.eta_relative)  # changes with the clock, and would be sent for that alone
        line = state.model_dump_json()
        if line != last or quiet >= QUIET_SECONDS:
            yield f"data: {line}\n\n" if line != last else ":\n\n"
            last, quiet = line, 0.0
        await asyncio.sleep(EVENT_SECONDS)
        quiet += EVENT_SECONDS


@own.get("/tasks/{name}")
async def task(name: schemas.Name, request: Request) -> TaskState:
    """画到哪里了 · how far a task is"""
    found = request.app.state.engine.task(name)
    if not found:
        raise Rejected(*NO_TASK)
    drawing, step, steps, before = found
    return TaskState(state="drawing" if drawing else "waiting", step=step, steps=steps, before=before)


@own.delete("/tasks/{name}")
async def cancel(name: schemas.Name, request: Request) -> dict:
    """取消一个任务 · cancel a task"""
    if not request.app.state.engine.cancel_task(name):
        raise Rejected(*NO_TASK)
    return {}


@own.get("/health")
async def health(request: Request) -> dict[str, str]:
    """活着吗;不用令牌 · alive? no token is needed"""
    if not request.app.state.engine.alive():
        raise Rejected(503, "画图的线程停了", "the drawing thread has stopped")
    return {"status": "ok"}


@own.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> str:
    """Prometheus 的格式 · in Prometheus' format"""
    kept = request.app.state.metrics
    kept.waiting.set(request.app.state.engine.waiting())
    return generate_latest(kept.registry).decode()


# --- between the two --------------------------------------------------------------------------------------------


def _wanted(wanted, engine, strength=None):
    """A WebUI request -> a GenerationRequest. Raises Rejected on what the schema cannot say."""
    count, most = (wanted.batch_size or 1) * (wanted.n_iter or 1), schemas.MAX_PICTURES
    steps = wanted.steps or STEPS
    if count > most:
        raise Rejected(422, f"一次最多 {most} 张", f"at most {most} pictures", str(count))
    if strength is not None and int(steps * strength) < 1:
        raise Rejected(422, "steps x denoising_strength 要至少是 1", "must be 1 or more")
    fields.check_options(wanted.override_settings or {}, engine.models[0], "override_settings.")
    fields.check_scripts(wanted.alwayson_scripts or {})
    size, guidance = drawing.suiting(wanted.width, wanted.height, wanted.cfg_scale, engine)
    settings = {"model": engine.models[0], "sampler": wanted.sampler(), "strength": strength}
    settings |= {"steps": steps, "guidance": guidance, "size": size, "seed": schemas.first_seed(wanted.seed)}
    settings["embeddings"] = drawing.embeddings_in(wanted.prompt, engine)
    return GenerationRequest(wanted.prompt, wanted.negative_prompt or "", n=count, **settings)


async def _webui_answer(wanted, asked, request, hints):
    job = Job(asked, id=wanted.force_task_id)
    images, texts = await drawing.draw(job, request)
    parameters = wanted.model_dump(include=schemas.ECHOED)
    parameters |= {"seed": asked.seed, "width": asked.size[0], "height": asked.size[1]}
    return Drawn(images=images, parameters=parameters, info=schemas.info(job, texts, hints))


def _allowed(request, error):
    """The headers of an error; on 405 with every method of the address, Starlette names only one route's."""
    if error.status_code != 405:
        return error.headers
    routes = [
        route for route in (*webui.routes, *openai.routes, *own.routes) if route.matches(request.scope)[0] != Match.NONE
    ]
    return {"allow": ", ".join(sorted({method for route in routes for method in route.methods}))}


def _first_fault(error):
    """One line about the first fault; what was sent is not repeated."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"] if part != "body")[:100] or "body"
    if fault["type"] == "extra_forbidden":
        return f"请求不对 · bad request: {one_line(where)}: 没有这个字段 · no such field"
    return f"请求不对 · bad request: {where}: {fault['msg']}"


def _plain(error):
    known = {400: "请求不是 JSON · the body is not JSON", 404: "没有这个地址 · no such address"}
    known[405] = "这个地址不能这样用 · wrong method for this address"
    return known.get(error.status_code, f"请求不对 · bad request: {error.detail}")


ANSWERS = {
    Rejected: lambda request, error: refuse(error.status, str(error)),
    PaidiffError: lambda request, error: refuse(422, str(error)),
    RequestValidationError: lambda request, error: refuse(422, _first_fault(error)),
    HTTPException: lambda request, error: refuse(error.status_code, _plain(error), _allowed(request, error)),
    Exception: lambda request, error: refuse(500, "服务出错了,看它的日志 · an error, see the service's log"),
}
