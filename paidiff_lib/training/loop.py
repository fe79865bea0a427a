"""The one training loop, for every method.

    for step in train(method, data, steps=200, lr=1e-3, seed=0, output="out/run"):
        print(step.index, step.loss)

With an `output` a run continues from its newest checkpoint by itself, and ends with the same weights as one that was
never stopped: bit for bit on one machine with a CPU.
"""

import json
import math
import os
import random
import sys
import time
from dataclasses import dataclass

from ..errors import PaidiffError
from ..models.load import device
from ..models.save import require_finite
from .checkpoint import Store
from .config import Settings
from .latents import LatentCache
from .state import Order, RandomState, Signals

ROOM = 64 * 64  # latent cells in one pass: no more than a single picture of 512 x 512 has
BAD_IN_A_ROW = 20  # steps without a finite gradient before a run gives up
TOLD = 20  # lines about pictures that were left out


@dataclass
class Step:
    """What `train` yields after every update."""

    index: int  # 1 is the first
    loss: float
    lr: float
    seconds: float
    left: float  # seconds until the end, at the pace so far
    skipped: int  # updates left out so far, because something was not finite
    pictures: list  # samples, where they were asked for


@dataclass
class Batch:
    """One batch of a run, on the device."""

    noisy: object  # (B, C, h, w) latents with noise
    timesteps: object  # (B,)
    hidden: object  # (B, tokens, width)
    target: object  # (B, C, h, w) what the UNet should say
    weights: object  # (B,) of each picture's loss
    conditions: object  # (B, 3, H, W) in 0..1, None unless the method has a condition


def train(method, data, steps=1000, lr=1e-4, seed=0, output=None, **more):
    """Train `method` on `data`; a generator that yields a Step after every update. More settings: see Settings.

    output: a folder for checkpoints; a run that finds some there goes on from the newest intact one.
    An interrupt (Ctrl-C, SIGTERM, leaving the loop) ends after the current step and saves. Raises PaidiffError, at once
    where a setting or the data are at fault.
    """
    settings = Settings(steps=steps, lr=lr, seed=seed, **more)
    settings.check()
    return Run(method, data, settings, output).go()


class Run:
    """The state of a training run."""

    def __init__(self, method, data, settings, output):
        import torch
        from diffusers import DDPMScheduler

        self.method, self.data, self.settings, self.pipe = method, data, settings, method.pipe
        self.accelerator = _accelerator(settings.precision, self.pipe)
        self._say_what_is_skipped()
        self.dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(
            self.accelerator.mixed_precision, torch.float32
        )
        self.noise = DDPMScheduler.from_config(self.pipe.scheduler.config)
        _check_prediction(self.noise)
        method.start(self.accelerator.device, self.dtype)
        self.parameters = method.parameters()
        self.layers = [layer for network in method.networks() for layer in network.modules()]
        if settings.checkpointing:
            for network in method.networks():
                network.enable_gradient_checkpointing()
        self.encoded = LatentCache(self.pipe, data, settings.cache, not method.trains_text, [""], method.condition)
        self._make_optimizer()
        self.batch, self.passes = joined(
            settings.batch, settings.accumulate, (self.encoded.size // self.pipe.vae_scale_factor) ** 2
        )
        self.order = Order(len(data), settings.seed)
        self.random, self.signals = RandomState(settings.seed + self.accelerator.process_index), Signals()
        self.index = self.bad = self.skipped = 0
        self.store = output and Store(output, settings.keep)
        self._resume()

    def _say_what_is_skipped(self):
        faults = self.data.skipped
        if faults and self.accelerator.is_main_process:
            print(f"跳过 {len(faults)} 处有问题的 · left out {len(faults)} at fault:")
            print("\n".join(f"    {fault}" for fault in faults[:TOLD]) + ("\n    …" if len(faults) > TOLD else ""))

    def _make_optimizer(self):
        import torch
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel

        s, trained = self.settings, list(self.parameters.values())
        decay = self.method.weight_decay if s.weight_decay is None else s.weight_decay
        # Fused: a third of the time on a CPU.
        plain = torch.optim.AdamW(trained, s.lr, weight_decay=decay, fused=True)
        # Built on the plain optimizer, and advanced once an update: accelerate's wrapper would advance it once a process.
        self.schedule = get_scheduler(
            s.schedule, plain, num_warmup_steps=s.warmup, num_training_steps=s.steps, num_cycles=s.cycles, power=s.power
        )
        self.optimizer = self.accelerator.prepare_optimizer(plain)
        self.average = None if s.ema is None else EMAModel(trained, decay=s.ema)

    # --- the loop -----------------------------------------------------------------------------------------------

    def go(self):
        self.method.running = self  # a loop that was left behind must not save what another has trained since
        first, began = self.index, time.perf_counter()
        if self.index >= self.settings.steps:
            self._finish()
        while self.index < self.settings.steps:
            with self.random, self.signals:
                step = self._step()
                stopped = self._anywhere(self.signals.caught)
                if stopped or self.index % self.settings.every == 0 or self.index == self.settings.steps:
                    self._save()
            if self.index == self.settings.steps:
                self._finish()
                stopped = self.signals.caught  # perhaps during the save: there is no next step to end after
            if stopped:
                self._say_how_to_go_on()
                self.signals.reraise()
            step.left = (time.perf_counter() - began) / (self.index - first) * (self.settings.steps - self.index)
            try:
                step.pictures = self._pictures()
                yield step
            except (GeneratorExit, KeyboardInterrupt, SystemExit):
                self._left()
                raise

    def _step(self):
        """One update of the weights, from `accumulate` batches, in as few passes as there is room for."""
        began, rate = time.perf_counter(), self.schedule.get_last_lr()[0]
        self._mode(training=True)
        losses = []
        for _ in range(self.passes):
            with self.accelerator.autocast():
                loss = self.method.loss(self._batch())
            self.accelerator.backward(loss / self.passes)
            losses.append(loss.detach())
        self._update()
        self._mode(training=False)
        self.index += 1
        loss = self.accelerator.reduce(sum(losses) / len(losses), "mean").item()
        return Step(self.index, loss, rate, time.perf_counter() - began, 0.0, self.skipped, [])

    def _batch(self):
        """The next pictures of the order, with fresh noise. All chance comes from the CPU: every device sees the same."""
        import torch

        device, size = self.accelerator.device, self.batch
        rank, everyone = self.accelerator.process_index, self.accelerator.num_processes
        chosen = self.order.take(size * everyone)[rank * size : (rank + 1) * size]
        pictures = [(i, random.choice(self.data.variants(i))) for i in chosen]
        moments = torch.stack([self.encoded.moments(*picture) for picture in pictures])
        clean = moments[:, 0] + moments[:, 1] * torch.randn(moments[:, 0].shape)
        clean = (clean * self.pipe.vae.config.scaling_factor).to(device)
        noise = torch.randn(clean.shape).to(device)
        t = torch.randint(self.noise.config.num_train_timesteps, (len(chosen),)).to(device)
        target = noise if self.noise.config.prediction_type == "epsilon" else self.noise.get_velocity(clean, noise, t)
        noisy = self.noise.add_noise(clean, noise, t).to(self.dtype)
        weights = loss_weights(self.noise, t, self.settings.min_snr)
        return Batch(noisy, t, self._hidden(chosen), target, weights, self._conditions(pictures))

    def _conditions(self, pictures):
        import torch

        if self.method.condition is None:
            return None
        return torch.stack([self.encoded.condition(*p) for p in pictures]).to(self.accelerator.device, self.dtype) / 255

    def _hidden(self, chosen):
        import torch

        share = self.method.caption_dropout if self.settings.dropout is None else self.settings.dropout
        dropped = torch.rand(len(chosen)) < share
        captions = [self.data.caption(i) for i in chosen]
        captions = ["" if drop else self.method.caption(text) for text, drop in zip(captions, dropped)]
        if self.method.trains_text:
            return self.method.hidden(captions).to(self.dtype)
        return torch.stack([self.encoded.embedding(c) for c in captions]).to(self.accelerator.device, self.dtype)

    def _update(self):
        """Clip, then change the weights, unless a gradient is not finite: that would spoil them for good."""
        import torch

        trained = list(self.parameters.values())
        for parameter in trained:
            if parameter.grad is not None and self.accelerator.num_processes > 1:
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        norm = self.accelerator.clip_grad_norm_(trained, self.settings.clip or math.inf)
        good = bool(torch.isfinite(norm))
        if good or self.accelerator.scaler:  # the scaler of fp16 skips by itself, and has to see it to scale down
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.bad, self.skipped = (0, self.skipped) if good else (self.bad + 1, self.skipped + 1)
        if good:
            self.method.after_step()
            self.average and self.average.step(trained)
        if self.bad >= BAD_IN_A_ROW:
            raise PaidiffError(
                f"连续 {self.bad} 步的梯度不是有限数,停了,权重没有被写坏;试试更小的学习率 · {self.bad} steps in a row gave no "
                f"finite gradient; stopped, the weights are unharmed; try a smaller learning rate than {self.settings.lr}"
            )

    def _pictures(self):
        s = self.settings
        if not (s.sample_every and s.prompts and self.index % s.sample_every == 0 and self.accelerator.is_main_process):
            return []
        trained = list(self.parameters.values())
        if self.average and self.index < s.steps:
            self.average.store(trained)
            self._use_average()
        try:
            return self.method.sample(s.prompts, s.seed, self.data)
        finally:
            if self.average and self.index < s.steps:
                self.average.restore(trained)
                self.method.after_step()

    def _use_average(self):
        self.average.copy_to(list(self.parameters.values()))
        self.method.after_step()

    def _finish(self):
        if self.average:
            self._use_average()
        self.optimizer = self.average = None  # three times the size of what was trained, and of no more use
        if self.settings.checkpointing:
            for network in self.method.networks():
                network.disable_gradient_checkpointing()

    def _mode(self, training):
        """Dropout layers work while training only. As train() does it, which takes a twentieth of a small model's step."""
        for layer in self.layers:
            vars(layer)["training"] = training

    # --- stopping, saving, going on -----------------------------------------------------------------------------

    def _anywhere(self, flag):
        """True in every process if `flag` is true in any."""
        import torch

        return self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum").item() > 0

    def _left(self):
        """The caller left the loop, with `break` or an exception of its own."""
        if self.index < self.settings.steps and self.method.running is self and not sys.is_finalizing():
            if self.accelerator.num_processes == 1:  # the others may be anywhere
                with self.random:
                    self._save()
            self._say_how_to_go_on()

    def _say_how_to_go_on(self):
        if not self.accelerator.is_main_process:
            return
        done = f"{self.index}/{self.settings.steps}"
        if self.store:
            print(
                f"停在第 {done} 步,已存到 {self.store.folder};再运行一次就接着训练 · "
                f"stopped at step {done}, saved in {self.store.folder}; run it again to go on"
            )
        else:
            print(
                f"停在第 {done} 步,没有存;给出 output= 才能接着训练 · stopped at step {done}, not saved: that needs output="
            )

    def identity(self):
        return {
            "settings": self.settings.identity(),
            "method": self.method.settings(),
            "data": self.data.fingerprint,
            "processes": self.accelerator.num_processes,
        }

    def _save(self):
        if not self.store:
            return
        everyone = _gather(self.accelerator, self.random.now())
        if self.accelerator.is_main_process:
            require_finite(self.parameters)
            self.store.save(self.index, lambda folder: self._write(folder, everyone))
        self.accelerator.wait_for_everyone()

    def _write(self, folder, random_states):
        import torch
        from safetensors.torch import save_file

        weights = {name: p.detach().cpu().contiguous() for name, p in self.parameters.items()}
        save_file(weights, folder / "weights.safetensors")
        state = {
            "index": self.index,
            "bad": self.bad,
            "skipped": self.skipped,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average and self.average.state_dict(),
            "scaler": self.accelerator.scaler and self.accelerator.scaler.state_dict(),
            "order": vars(self.order),
            "random": random_states,
        }
        torch.save(state, folder / "state.pt")
        (folder / "run.json").write_text(json.dumps(self.identity(), ensure_ascii=False, indent=1), encoding="utf-8")
        self.method.save(folder)

    def _resume(self):
        if not self.store:
            return
        if self.settings.resume is False and self.store.names():
            raise PaidiffError(
                f"{self.store.folder} 里已有检查点,换一个文件夹或先移走 · {self.store.folder} already holds checkpoints: "
                f"choose another folder or move them away"
            )
        named = isinstance(self.settings.resume, str)
        found = self.store.find(self.settings.resume) if named else self.store.newest()
        if found:
            _require_same(json.loads((found / "run.json").read_text(encoding="utf-8")), self.identity(), found)
            self._read(found)

    def _read(self, folder):
        import torch
        from safetensors.torch import load_file

        weights = load_file(folder / "weights.safetensors")
        for name, parameter in self.parameters.items():
            parameter.data.copy_(weights[name])
        state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.load_state_dict(state["average"])
            self.average.to(self.accelerator.device)
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        vars(self.order).update(state["order"])
        self.random.inside = state["random"][self.accelerator.process_index]
        self.index, self.bad, self.skipped = state["index"], state["bad"], state["skipped"]
        self.method.after_step()


# --- the parts of a run -----------------------------------------------------------------------------------------


def joined(batch, accumulate, cells):
    """(pictures in a pass, passes to an update): the gradient of `accumulate` batches of `batch` pictures of `cells` latents.

    Several batches go through the UNet at once where they are small together: the same mean, in less time.
    """
    fits = [n for n in range(1, accumulate + 1) if accumulate % n == 0 and (n == 1 or n * batch * cells <= ROOM)]
    return batch * fits[-1], accumulate // fits[-1]


def loss_weights(noise, timesteps, gamma):
    """min-SNR weights (B,) of each timestep's loss; ones if gamma is None. Hang et al. 2023, equation 6 ff."""
    import torch
    from diffusers.training_utils import compute_snr

    if gamma is None:
        return torch.ones(len(timesteps), device=timesteps.device)
    snr = compute_snr(noise, timesteps).clamp(min=1e-8)
    return snr.clamp(max=gamma) / (snr if noise.config.prediction_type == "epsilon" else snr + 1)


def _check_prediction(noise):
    kind = noise.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise PaidiffError(f"不会训练这种预测目标 · cannot train a model that predicts {kind}: epsilon, v_prediction")


def _accelerator(precision, pipe):
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    if precision is None and not launched:
        half = torch.cuda.is_available() and pipe.unet.dtype == torch.float16
        precision = "fp16" if half else "no"
    # One process may train twice; accelerate remembers the first precision and refuses another.
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        # The device that the rest of the library uses; accelerate by itself would take others, and in a CPU's case alone.
        accelerator = Accelerator(mixed_precision=precision, cpu=device() == "cpu")
    except ValueError as error:
        raise PaidiffError(
            f"这台机器不能用 {precision} 精度 · this machine cannot compute in {precision}: {error}"
        ) from error
    if (
        accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu"
    ):  # accelerate takes it and computes nonsense
        raise PaidiffError("CPU 不能用 fp16 精度,用 no 或 bf16 · a CPU cannot compute in fp16: use no or bf16")
    return accelerator


def _gather(accelerator, value):
    """[value of process 0, value of process 1, ...]"""
    from accelerate.utils import gather_object

    return gather_object([value]) if accelerator.num_processes > 1 else [value]


def _require_same(before, now, place):
    """Raise PaidiffError that names what differs between a checkpoint's run and this one."""
    flat = [{**d, **d["settings"], **d["method"]} for d in (before, json.loads(json.dumps(now)))]
    names = {"data", "processes", *before["settings"], *before["method"], *now["settings"], *now["method"]} - {
        "settings"
    }
    differ = [n for n in sorted(names) if flat[0].get(n) != flat[1].get(n)]
    if differ:
        shown = ", ".join(f"{n}: {str(flat[0].get(n))[:20]} -> {str(flat[1].get(n))[:20]}" for n in differ)
        raise PaidiffError(
            f"{place} 是另一次训练的,接不上 · is of another run and cannot be continued: {shown}; "
            f"换一个 output 文件夹,或改回来 · choose another output folder, or change it back"
        )
