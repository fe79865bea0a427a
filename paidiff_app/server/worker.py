"""The queue, and the one thread that owns the model.

The queue holds pictures, not requests: the thread takes the oldest and every other one with the same settings, as
many as fit, and draws them at once. A picture depends on its own prompt and seed only (see draw.sample), so it does
not matter with whom it was drawn.
"""

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from paidiff_lib.generate import BATCH, guidance_of, sample
from paidiff_lib.models.encode import native_size
from paidiff_lib.prompts import check_prompt
from paidiff_lib.schedulers import sampler

from .schemas import Refused

BATCH_PIXELS = BATCH * 512 * 512  # large pictures are drawn fewer at a time: memory grows with their area


@dataclass(frozen=True)
class Settings:
    """What pictures must share to be drawn at once. size: (width, height). strength: None is text to image."""

    steps: int
    guidance: float
    size: tuple
    sampler: str | None = None
    strength: float | None = None


@dataclass(eq=False)
class Picture:
    """One picture wanted. start: the PIL picture it begins from, drawn: the one it became."""

    job: "Job"
    prompt: str
    negative: str
    seed: int
    start: object = None
    drawn: object = None


@dataclass(eq=False)
class Job:
    """One request: n pictures with seeds seed, seed + 1, ... `future` ends with None, or with a Refused."""

    settings: Settings
    prompt: str
    negative: str
    seed: int
    n: int = 1
    id: str | None = None
    hints: list = field(default_factory=list)
    future: Future = field(default_factory=Future)

    def __post_init__(self):
        self.pictures = [Picture(self, self.prompt, self.negative, self.seed + i) for i in range(self.n)]
        self.future.set_running_or_notify_cancel()  # from here on only the worker ends it


class Stopped(Exception):
    """Nobody waits for this batch any more."""


class Worker:
    """A queue of at most `room` pictures before one drawing thread. Its methods may be called from any thread."""

    def __init__(self, pipe, name, room=64, watch=lambda size, seconds: None):
        """watch(size, seconds) is told of every batch that was drawn."""
        from diffusers import StableDiffusionImg2ImgPipeline

        self.name, self.room, self.watch = name, room, watch
        self.side, self.guidance = native_size(pipe), guidance_of(pipe)
        self._pipe, self._scheduler = pipe, pipe.scheduler
        safety = bool(pipe.config.requires_safety_checker)
        self._img2img = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=safety)
        self._img2img.set_progress_bar_config(disable=True)
        self._changed = threading.Condition()
        self._waiting, self._batch = deque(), []
        self._step, self._steps, self._begun = 0, 0, 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="paidiff-worker", daemon=True)
        self._thread.start()

    def submit(self, job):
        """Queue a job. Raises Refused where there is no room, or a task of that name is under way."""
        with self._changed:
            if self._closed or not self._thread.is_alive():
                raise Refused(503, "服务正在关闭 · the service is closing")
            if len(self._waiting) + job.n > self.room:
                raise Refused(503, f"排队满了,等一会儿再试 · the queue of {self.room} is full, try again later")
            if job.id and self._find(job.id):
                raise Refused(409, "同名的任务还没画完 · a task of this name is under way")
            self._waiting.extend(job.pictures)
            self._changed.notify()

    def cancel(self, job):
        """End a job: what waits is dropped, what is being drawn is dropped when nobody else shares its batch."""
        with self._changed:
            if not job.future.done():
                job.future.set_exception(Refused(409, "已取消 · cancelled"))
            self._waiting = deque(picture for picture in self._waiting if picture.job is not job)

    def cancel_task(self, name):
        """As cancel, by the name that the client gave. False if there is no such task."""
        with self._changed:
            jobs = self._find(name)
            for job in jobs:
                self.cancel(job)
        return bool(jobs)

    def interrupt(self):
        """End every job that is being drawn now; what waits is not touched."""
        with self._changed:
            for job in {picture.job for picture in self._batch}:
                self.cancel(job)

    def close(self):
        """Draw no more. Waits until the thread has stopped."""
        with self._changed:
            self._closed = True
            for job in {picture.job for picture in [*self._waiting, *self._batch]}:
                self.cancel(job)
            self._changed.notify()
        self._thread.join()

    def alive(self):
        return self._thread.is_alive() and not self._closed

    def waiting(self):
        return len(self._waiting)

    def progress(self):
        """(pictures being drawn, step, steps, seconds since they were begun, pictures waiting)."""
        with self._changed:
            seconds = time.monotonic() - self._begun if self._batch else 0.0
            return len(self._batch), self._step, self._steps, seconds, len(self._waiting)

    def task(self, name):
        """(being drawn?, step, steps, pictures before it) of a task, or None."""
        with self._changed:
            jobs = self._find(name)
            if not jobs:
                return None
            if any(picture.job in jobs for picture in self._batch):
                return True, self._step, self._steps, 0
            before = next(i for i, picture in enumerate(self._waiting) if picture.job in jobs)
            return False, 0, next(iter(jobs)).settings.steps, before

    def _find(self, name):
        everyone = {picture.job for picture in [*self._waiting, *self._batch]}
        return {job for job in everyone if job.id == name and not job.future.done()}

    def _run(self):
        while self._take():
            begun = time.monotonic()
            try:
                self._draw(self._batch)
                self.watch(len(self._batch), time.monotonic() - begun)
            except Stopped:
                pass
            except Exception:
                logging.getLogger(__name__).exception("画不出来 · a batch failed")
                self._end(Refused(500, "画的时候出错了,看服务的日志 · drawing failed, see the service's log"))
            else:
                self._end()

    def _take(self):
        """Wait for work and move the next batch out of the queue. False when closed."""
        with self._changed:
            self._batch = []
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return False
            settings = self._waiting[0].job.settings
            room = max(1, min(BATCH, BATCH_PIXELS // (settings.size[0] * settings.size[1])))
            self._batch = [picture for picture in self._waiting if picture.job.settings == settings][:room]
            taken = set(self._batch)
            self._waiting = deque(picture for picture in self._waiting if picture not in taken)
            self._step, self._steps, self._begun = 0, settings.steps, time.monotonic()
            return True

    def _draw(self, batch):
        settings = batch[0].job.settings
        pipe, more = self._pipe, {"size": settings.size}
        if settings.strength is not None:
            pipe, more = self._img2img, {"images": [p.start for p in batch], "strength": settings.strength}
        pipe.scheduler = sampler(self._scheduler, settings.sampler)
        for job in {picture.job for picture in batch}:
            texts = [job.prompt, job.negative] if job.negative else [job.prompt]
            job.hints = list(dict.fromkeys(hint for text in texts for hint in check_prompt(pipe, text)))
        pictures = sample(
            pipe,
            [p.prompt for p in batch],
            [p.seed for p in batch],
            settings.steps,
            settings.guidance,
            [p.negative for p in batch],
            callback_on_step_end=self._after_step,
            **more,
        )
        for picture, drawn in zip(batch, pictures):
            picture.drawn = drawn

    def _after_step(self, pipe, index, timestep, state):
        self._step, self._steps = index + 1, pipe.num_timesteps
        if all(picture.job.future.done() for picture in self._batch):
            raise Stopped
        return state

    def _end(self, refusal=None):
        """Answer the jobs of this batch: all of them on a refusal, else those of which nothing is left to draw."""
        with self._changed:
            for job in {picture.job for picture in self._batch}:
                if job.future.done():
                    continue
                if refusal:
                    job.future.set_exception(refusal)
                    self.cancel(job)
                elif all(picture.drawn for picture in job.pictures):
                    job.future.set_result(None)
