"""The engine: one thread that owns the model, before it one queue of images. Page, playground and service draw through it.

    engine = Engine("mini", loras="../out")
    for frame in engine.draw(GenerationRequest("雪地里的两只企鹅", lora="porcelain", n=2)):
        frame.step, frame.steps, frame.image        # after every step; frame.text once the image is done
    job = Job(GenerationRequest("猫"))
    engine.submit(job)
    job.future.result(), job.images[0].image        # drawn together with others that ask for the same settings

An image depends on its own prompt and seed only (see generate.sample), so it does not matter with whom it was drawn;
but rounding may differ, so whoever watches an image has it drawn alone.
"""

import io
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from PIL import Image, ImageFilter, ImageOps

from paidiff_lib.datasets.images import read_picture, square
from paidiff_lib.errors import PaidiffError, Refused, unknown
from paidiff_lib.generate import BATCH, check_settings, sample
from paidiff_lib.metrics import canny
from paidiff_lib.models.load import TASKS
from paidiff_lib.prompts import check_prompt
from paidiff_lib.schedulers import SAMPLERS, sampler
from paidiff_lib.upscaling import sample_hires

from .infotext import infotext
from .models import Models
from .request import GenerationRequest

BATCH_PIXELS = BATCH * 512 * 512  # large images are drawn fewer at a time: memory grows with their area
FORMATS = ("PNG", "JPEG", "WEBP")  # no other decoder of Pillow is let near what a stranger sent
MAX_PIXELS = 4096 * 4096  # of a picture that is brought along
PREVIEW_SHARE = 0.2  # of the time at most goes into previews
PREVIEW_SECONDS = 0.25  # at least between two of them


@dataclass(frozen=True)
class Frame:
    """Where a drawing is. index: which of the n images. image: a preview, the finished image, or None.

    text: its settings (infotext.py), once there is no more to do on it. hints: what the model does not see in the prompt.
    """

    index: int
    n: int
    step: int
    steps: int
    seed: int
    image: object = None
    text: str | None = None
    stopped: bool = False
    hints: tuple = ()


@dataclass(eq=False)
class Job:
    """A request in the queue. `future` ends with None when nothing is left to do, or with an error.

    on_frame: is told of every Frame; such a job's images are drawn one by one. stop: once set, the drawing ends within
    a step, with what is there. id: a name, to ask for progress or to cancel.
    """

    request: GenerationRequest
    id: str | None = None
    on_frame: object = None
    stop: threading.Event = field(default_factory=threading.Event)
    hints: tuple = ()
    future: Future = field(default_factory=Future)

    def __post_init__(self):
        self.images = [None] * self.request.n  # PIL images, as they become finished
        self.future.set_running_or_notify_cancel()  # from here on only the engine ends it

    def over(self):
        return self.stop.is_set() or self.future.done()

    def shares_a_batch_with(self, other):
        if self.on_frame or other.on_frame or self.request.task == "inpaint":
            return self is other
        return self.request.settings() == other.request.settings()


class Rejected(PaidiffError):
    """A job that is not drawn. status: the HTTP number that says the same."""

    def __init__(self, status, zh, en="", detail=""):
        super().__init__(zh, en, detail)
        self.status = status


class Stopped(Exception):
    """Nobody wants more of what is being drawn."""


class Engine:
    """Draws requests, one batch after the other. Its methods may be called from any thread.

    model, loras, fixed, name: see Models. queue_size: images that may wait. on_batch(size, seconds) is told of every batch
    that was drawn. Raises PaidiffError.
    """

    def __init__(self, model=None, loras=None, fixed=False, name=None, queue_size=None, on_batch=lambda *_: None):
        self._models = models = Models(model, loras, fixed, name)
        self.models, self.loras, self.embeddings = models.names, models.loras, models.embeddings
        self.folder, self.queue_size, self.on_batch = loras, queue_size, on_batch
        self._lock, self._closed = threading.RLock(), False
        self._waiting, self._batch = [], []  # of (job, index of one of its images)
        self._step, self._steps, self._begun = 0, 0, 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="paidiff-engine")

    def suits(self, model=None):
        """(side, guidance) that suit a model; loads it the first time."""
        name = model or self.models[0]
        return self._models.suits.get(name) or self._thread.submit(self._models.use, name).result()

    def words(self, model=None):
        """What a model has learnt, by kind, as `paidiff.words`."""
        return self._models.words(model or self.models[0])

    def drawable(self, prompts, model=None):
        """[whether a model can be expected to draw it] of prompts; loads it as `suits` does."""
        return self._thread.submit(self._models.drawable, model or self.models[0], prompts).result()

    def draw(self, request, stop=None):
        """Yield a Frame after every step; the last one of an image has `text`. Raises PaidiffError.

        stop: a threading.Event that ends the drawing within a step. Leaving the loop stops it as well.
        """
        check(request)
        frames = queue.SimpleQueue()
        job = Job(request, on_frame=frames.put, stop=stop or threading.Event())
        job.future.add_done_callback(lambda _: frames.put(None))
        self.submit(job)
        try:
            while (frame := frames.get()) is not None:
                yield frame
            job.future.result()
        finally:
            job.stop.set()

    def submit(self, job):
        """Queue a job. Raises Rejected where there is no room, or a job of that name is under way; PaidiffError on its tags."""
        job.request.check_tags()
        self._models.require_loras(job.request.loras())
        with self._lock:
            if self._closed:
                raise Rejected(503, "服务正在关闭", "the service is closing")
            if self.queue_size is not None and len(self._waiting) + job.request.n > self.queue_size:
                raise Rejected(503, "排队满了,等一会儿再试", f"the queue of {self.queue_size} is full, try again later")
            if job.id and self._named(job.id):
                raise Rejected(409, "同名的任务还没画完", "a task of this name is under way")
            for index in range(job.request.n):
                self._waiting.append((job, index))
                self._thread.submit(self._draw_next)  # once for each: enough, also if none is drawn with another

    def cancel(self, job):
        """End a job: what waits is dropped, what is being drawn is dropped when nobody else shares its batch."""
        with self._lock:
            if not job.future.done():
                job.future.set_exception(Rejected(409, "已取消", "cancelled"))
            self._waiting = [place for place in self._waiting if place[0] is not job]

    def cancel_task(self, name):
        """As cancel, by the name that the client gave. False if there is no such task."""
        with self._lock:
            jobs = self._named(name)
            for job in jobs:
                self.cancel(job)
        return bool(jobs)

    def interrupt(self):
        """End every job that is being drawn now; what waits is not touched."""
        with self._lock:
            for job, _ in self._batch:
                self.cancel(job)

    def close(self):
        """Draw no more. Waits until the thread has stopped."""
        with self._lock:
            self._closed = True
            for job, _ in [*self._waiting, *self._batch]:
                self.cancel(job)
        self._thread.shutdown()

    def alive(self):
        return not self._closed

    def waiting(self):
        return len(self._waiting)

    def progress(self):
        """(images being drawn, step, steps, seconds since they were begun, images waiting)."""
        with self._lock:
            seconds = time.monotonic() - self._begun if self._batch else 0.0
            return len(self._batch), self._step, self._steps, seconds, len(self._waiting)

    def task(self, name):
        """(being drawn?, step, steps, images before it) of a job of that name, or None."""
        with self._lock:
            jobs = self._named(name)
            if any(job in jobs for job, _ in self._batch):
                return True, self._step, self._steps, 0
            places = (i for i, (job, _) in enumerate(self._waiting) if job in jobs)
            return next(((False, 0, self._waiting[i][0].request.steps, i) for i in places), None)

    def _named(self, name):
        everyone = [*self._waiting, *self._batch]
        return {job for job, _ in everyone if job.id == name and not job.future.done()}

    # --- in the thread that owns the model ---

    def _draw_next(self):
        batch, begun, error = self._take(), time.monotonic(), None
        try:
            if batch and not batch[0][0].over():
                self._draw(batch)
                self.on_batch(len(batch), time.monotonic() - begun)
        except Exception as raised:
            error = None if isinstance(raised, Stopped) else raised
        self._end(error)

    def _take(self):
        """Move the next batch out of the queue: the oldest image, and those that may be drawn with it."""
        with self._lock:
            batch = [place for place in self._waiting if place[0].shares_a_batch_with(self._waiting[0][0])]
            if batch and not batch[0][0].on_frame:
                width, height = batch[0][0].request.size or (1, 1)
                batch = batch[: max(1, min(BATCH, BATCH_PIXELS // (width * height)))]
            self._waiting = [place for place in self._waiting if place not in batch]
            self._batch, self._step, self._begun = batch, 0, time.monotonic()
            self._steps = batch[0][0].request.steps if batch else 0
            return batch

    def _draw(self, batch):
        first = batch[0][0]
        with self._models.prepared(first.request) as (pipe, scheduler, request):
            for job in {job for job, _ in batch}:
                texts = [job.request.words(), *filter(None, [job.request.negative_prompt])]
                job.hints = tuple(dict.fromkeys(hint for text in texts for hint in check_prompt(pipe, text)))
            if first.on_frame:
                return self._draw_watched(pipe, scheduler, request, first)
            requests = [_one(job.request, index) for job, index in batch]
            images = sample_requests(pipe, scheduler, request, requests, self._after_step)
            for (job, index), image in zip(batch, images):
                job.images[index] = image

    def _after_step(self, pipe, index, timestep, state):
        self._step, self._steps = index + 1, pipe.num_timesteps
        if all(job.over() for job, _ in self._batch):
            raise Stopped
        return state

    def _draw_watched(self, pipe, scheduler, request, job):
        """Draw the images of one job, one by one, telling every step. One that is stopped is kept as it is then."""
        job.on_frame(Frame(0, request.n, 0, request.steps, request.seed, hints=job.hints))
        for index in range(request.n):
            if job.over():
                return
            watch, extra = Watch(job, index, request, self._after_step), extra_settings(request)
            try:
                one = _one(request, index)
                image, step = sample_requests(pipe, scheduler, request, [one], watch.after_step)[0], request.steps
            except Stopped:
                image, step, extra = watch.preview, watch.step, extra | {"Stopped at": watch.step}
            text = infotext(request, watch.frame.seed, extra)
            watch.tell(step, image, text, stopped="Stopped at" in extra)

    def _end(self, error):
        """Answer the jobs of this batch: all of them on an error, else those of which nothing is left to draw."""
        with self._lock:
            for job in {job for job, _ in self._batch if not job.future.done()}:
                if error:
                    job.future.set_exception(error)
                    self.cancel(job)
                elif job.stop.is_set() or job.on_frame or all(job.images):
                    job.future.set_result(None)
            self._batch = []


class Watch:
    """Tells who watches an image of every step of it, with a preview now and then."""

    def __init__(self, job, index, request, after_step):
        self._job, self._request, self._after_step = job, request, after_step
        self.frame = Frame(index, request.n, 0, request.steps, request.seed + index, hints=job.hints)
        self.step, self.preview, self._due = 0, None, 0.0

    def tell(self, step, image, text=None, **changes):
        self._job.on_frame(replace(self.frame, step=step, image=image, text=text, **changes))

    def after_step(self, pipe, index, timestep, state):
        self.step, begun = index + 1, time.monotonic()
        last = self.step >= pipe.num_timesteps
        if self._job.over() or (begun >= self._due and not last):
            self.preview = _preview(pipe, state["latents"], self._request)
            took = time.monotonic() - begun
            self._due = time.monotonic() + max(PREVIEW_SECONDS, took * (1 / PREVIEW_SHARE - 1))
        self.tell(self.step, self.preview, steps=pipe.num_timesteps)
        return state if last else self._after_step(pipe, index, timestep, state)


def check(request):
    """Raise PaidiffError, in one line, on a request that cannot be drawn."""
    request.check_tags()
    if not request.words().strip():
        raise PaidiffError("提示词是空的", "the prompt is empty")
    check_settings(request.seed, request.steps, request.guidance, request.size, request.n)
    if request.sampler and request.sampler not in SAMPLERS:
        raise unknown("采样器", "sampler", request.sampler, SAMPLERS)
    if request.task not in TASKS:
        raise unknown("任务", "task", request.task, TASKS)
    if request.hires and (request.task != "text2img" or request.size is None):
        raise PaidiffError("放大重画只用于文生图,要给出尺寸", "hires is of text to image, and needs a size")
    if request.task != "text2img":
        _check_pictures(request)
    if request.hires or request.task in ("img2img", "inpaint"):
        _check_strength(request)


def _check_pictures(request):
    if request.image is None:
        raise PaidiffError("先放一张图", "a picture is needed first")
    if request.task == "inpaint" and (request.mask is None or not request.mask.convert("L").getbbox()):
        raise PaidiffError("先在图上涂出要重画的地方", "paint over the part that is to be redrawn first")


def _check_strength(request):
    strength = request.strength
    if strength is not None and not 0 < strength <= 1:
        raise PaidiffError("强度要大于 0、不超过 1", "the strength must be above 0, at most 1", str(strength))
    if strength is not None and int(request.steps * strength) < 1:
        raise PaidiffError("步数 x 强度至少要是 1", "steps x strength must be 1 or more")


def _one(request, index):
    """The request of one image of it."""
    return replace(request, seed=request.seed + index, n=1)


def open_image(raw, max_pixels=MAX_PIXELS):
    """The bytes of a picture that somebody sent -> a PIL RGB image of at most `max_pixels`. Raises PaidiffError."""
    try:  # the header only: the size is known before anything is unpacked
        with Image.open(io.BytesIO(raw), formats=FORMATS) as head:
            pixels = head.width * head.height
    except Exception as error:  # decoders meet hostile bytes here and raise what they like
        raise Refused("图片读不出来", f"not a picture of {', '.join(FORMATS)}") from error
    if pixels > max_pixels:
        raise Refused(f"图片太大,最多 {max_pixels} 像素", f"the picture has {pixels} pixels, at most {max_pixels}")
    return read_picture(raw, "picture")  # turns whatever a decoder raises into a PaidiffError


def fit_image(image, size):
    """A PIL image cut about its middle and scaled to `size`."""
    return ImageOps.fit(image.convert("RGB"), size, Image.Resampling.LANCZOS)


def sample_requests(pipe, scheduler, request, requests, after_step):
    """PIL images, drawn at once: of each of `requests` its prompts, seed and beginning; all else is that of `request`."""
    pipe.scheduler = sampler(scheduler, request.sampler)
    prompts, negatives = [one.words() for one in requests], [one.negative_prompt for one in requests]
    seeds = [one.seed for one in requests]
    if request.task == "inpaint":
        return [_inpaint(pipe, request, *one, after_step) for one in zip(prompts, negatives, seeds)]
    kwargs = {"callback_on_step_end": after_step}
    if request.task == "img2img":
        kwargs |= {"images": [fit_image(one.image, request.size) for one in requests], "strength": request.strength}
    elif request.task == "controlnet":
        edges = [canny(fit_image(one.image, request.size)) for one in requests]
        kwargs |= {"images": edges, "controlnet_conditioning_scale": float(request.control_scale)}
    else:
        kwargs |= {"size": request.size}
    if request.hires:
        return sample_hires(
            pipe, prompts, seeds, request.steps, request.guidance, negatives, strength=request.strength, **kwargs
        )
    return sample(pipe, prompts, seeds, request.steps, request.guidance, negatives, **kwargs)


def _inpaint(pipe, request, prompt, negative_prompt, seed, after_step):
    from paidiff_lib.inpainting import inpaint

    settings = {"steps": request.steps, "guidance": request.guidance}
    settings |= {"negative_prompt": negative_prompt or None, "watch": after_step}
    radius = request.mask_blur * min(request.mask.size) / request.size[0]
    mask = request.mask.convert("L").filter(ImageFilter.GaussianBlur(radius)) if radius else request.mask
    return inpaint(pipe, prompt, request.image, mask, seed, request.strength, **settings)


def _preview(pipe, latents, request):
    """What the sampler believes the finished image to be, where it remembers that, else the noisy image."""
    import torch

    believed = getattr(pipe.scheduler, "model_outputs", None)  # of another sampler's settings, algorithm_type remains
    if believed and pipe.scheduler.config.get("algorithm_type") == "dpmsolver++":
        latents = believed[-1].to(latents)
    with torch.no_grad():
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
    drawn = pipe.image_processor.postprocess(decoded, output_type="pil")[0]
    if request.task != "inpaint":
        return drawn
    outside, mask = request.image.convert("RGB"), request.mask.convert("L")  # outside the mask, as inpaint leaves it
    return Image.composite(drawn, square(outside, drawn.width), square(mask, drawn.width))


def extra_settings(request):
    """What is written into an image beside the settings that every image has."""
    extra = {} if request.task == "text2img" else {"Task": request.task}
    extra |= {"Control scale": f"{request.control_scale:g}"} if request.task == "controlnet" else {}
    extra |= {"Mask blur": f"{request.mask_blur:g}"} if request.mask_blur else {}
    extra |= {"Hires resize": "x".join(map(str, request.size))} if request.hires else {}
    return extra | ({"TI": " | ".join(request.embeddings)} if request.embeddings else {})
