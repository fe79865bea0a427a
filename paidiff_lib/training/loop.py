"""The one training loop, for every method: `Trainer.loss` is the objective, everything else keeps a run going."""

import math
import random
import time
from contextlib import nullcontext
from typing import Any

from ..datasets.shards import EncodedShards
from ..errors import PaidiffError
from ..models.encode import native_size
from .accelerator import compute_dtype, computing_in, make_accelerator, prepare
from .checkpoint import Store
from .latents import LatentCache, ShardLatents
from .noise import draw_noise, loss_weights, noise_scheduler
from .notices import (
    list_faults,
    say_cut,
    say_how_to_go_on,
    say_larger,
    say_left_out,
    say_no_samples,
    say_without_effect,
)
from .optimizer import make_optimizer, plan_passes
from .randomness import RngState, seeded
from .samples import make_average, sample_images, use_average
from .sharded import is_sharded, join, whole
from .signals import Signals
from .state import leave, resume, save
from .steps import Step

BAD_IN_A_ROW = 20  # steps without a finite gradient before a run gives up


class Trainer:
    """A training run: what is trained, on what, and how far it has come."""

    def __init__(self, method, data, config, output):
        self.method, self.data, self.config, self.pipe = method, data, config, method.pipe
        self.accelerator: Any = make_accelerator(config.mixed_precision, method)
        self.is_main = self.accelerator.is_main_process
        data.skipped and self.is_main and list_faults(data.skipped)
        self.is_main and say_left_out(data, method.condition is not None)
        self.is_main and not isinstance(data, EncodedShards) and say_cut(data, self.pipe.tokenizer)
        self.is_main and say_larger(data, native_size(self.pipe))
        self.is_main and say_without_effect(config)
        self.dtype = compute_dtype(self.accelerator)
        self.noise_scheduler = noise_scheduler(self.pipe, config.prediction_type)
        method.start(self.accelerator.device)
        self.layers = [layer for part in method.parts().values() for layer in part.modules()]
        self.frozen = [p for part in method.parts().values() for p in part.parameters() if not p.requires_grad]
        for part in method.parts().values() if config.gradient_checkpointing else ():
            part.enable_gradient_checkpointing()
        latents, text = ShardLatents if isinstance(data, EncodedShards) else LatentCache, not method.trains_text
        self.latent_cache = latents(self.pipe, data, config.cache, text, [""], method.condition, self.accelerator)
        plain, self.lr_scheduler = make_optimizer(config, list(method.parameters().values()), method.weight_decay)
        # The schedule drives the plain one, once an update: accelerate's wrapper would advance it once a process.
        self.model: Any
        self.optimizer: Any
        self.model, self.optimizer = prepare(self.accelerator, method, plain)
        self.parameters = method.parameters()  # FSDP puts others in their place
        self.trained = list(self.parameters.values())
        self.average, self.sharded = make_average(config, self.trained), is_sharded(method)
        cells = max(map(math.prod, self.latent_cache.shapes)) // self.pipe.vae_scale_factor**2
        self.pass_size, self.passes = plan_passes(config.batch_size, config.gradient_accumulation_steps, cells)
        of_all, rank = self.pass_size * self.accelerator.num_processes, self.accelerator.process_index
        self.part = slice(rank * self.pass_size, (rank + 1) * self.pass_size)  # of a pass, this process's
        self.sampler = self.latent_cache.sampler(of_all, config.seed)
        self.random, self.signals = RngState(config.seed), Signals()
        self.index = self.bad = self.skipped = 0
        self.sample_every = config.sample_every if config.sample_prompts and self.is_main else 0
        if self.sample_every and self.sharded:
            self.sample_every = 0
            say_no_samples()
        self.store = output and Store(output, config.keep)
        resume(self)

    def loss(self, examples):
        """Add noise to the pictures' latents, let the model predict it, compare: Ho et al. 2020, equation 14. A scalar.

        examples: of all processes; the loss is of this one's part. All chance comes from the CPU and is drawn for all
        of them: every device sees the same, and several processes train on what one would.
        """
        import torch

        scheduler, device, part = self.noise_scheduler, self.accelerator.device, self.part
        latents = self.latent_cache.latents(examples, part)
        noise = draw_noise((len(examples), *latents.shape[1:]), self.config.noise_offset)[part].to(device)
        timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(examples),))[part].to(device)
        latents = latents.to(device)
        noisy_latents = scheduler.add_noise(latents, noise, timesteps).to(self.dtype)
        text, conditions = self.text(examples), self.conditions(examples[part])
        with self.own_chance():
            predicted = self.model(noisy_latents, timesteps, text, conditions).float()
        if scheduler.config.prediction_type == "epsilon":
            target = noise
        else:
            target = scheduler.get_velocity(latents, noise, timesteps)
        error = (predicted - target).square().mean((1, 2, 3))
        return (loss_weights(scheduler, timesteps, self.config.snr_gamma) * error).mean()

    def next_examples(self):
        """The next (index, variant) pairs of the data, a pass of every process; variant: (place of the crop, mirrored)."""
        indices = self.sampler.take(self.pass_size * self.accelerator.num_processes)
        return [(index, random.choice(self.data.variants(index))) for index in indices]

    def text(self, examples):
        """This process's captions, some left out for classifier-free guidance (Ho & Salimans 2022): as they are, where
        the method encodes them itself, else their hidden states (B, tokens, width).
        """
        import torch

        share = self.method.caption_dropout if self.config.caption_dropout is None else self.config.caption_dropout
        dropped = torch.rand(len(examples)) < share
        captions = [_one_of(self.data.captions(index)) for index, _ in examples]
        captions = ["" if drop else self.method.caption(text) for text, drop in zip(captions, dropped)][self.part]
        if self.method.trains_text:
            return captions
        indices = [index for index, _ in examples[self.part]]
        embeddings = torch.stack(list(map(self.latent_cache.embedding, captions, indices)))
        return embeddings.to(self.accelerator.device, self.dtype)

    def conditions(self, examples):
        """What steers a ControlNet, (B, 3, H, W) in 0..1; None for every other method."""
        import torch

        if self.method.condition is None:
            return None
        images = torch.stack([self.latent_cache.condition(*example) for example in examples])
        return images.to(self.accelerator.device, self.dtype) / 255

    def own_chance(self):
        """For what the model itself leaves to chance, dropout: of several processes each has its own, and no other moves."""
        if self.accelerator.num_processes == 1:
            return nullcontext()
        return seeded(hash((self.config.seed, self.index, self.sampler.position, self.accelerator.process_index)))

    def run(self):
        """Yield a Step after every update; save on the way, at the end, and when it is interrupted."""
        self.method.running = self  # a loop that was left behind must not save what another has trained since
        first, began = self.index, time.perf_counter()
        if self.finished:
            self.finish()
        while not self.finished:
            with self.random, self.signals:
                step = self.step()
                self.signals.caught and self.accelerator.set_trigger()
                stopped = self.accelerator.check_trigger()  # in any process
                if stopped or self.finished or self.index % self.config.save_every == 0:
                    save(self)
            if self.finished:
                self.finish()
                stopped = self.signals.caught  # perhaps during the save: there is no next step to end after
            if stopped:
                say_how_to_go_on(self)
                self.signals.reraise()
            step.seconds_left = (time.perf_counter() - began) / (self.index - first) * (self.config.steps - self.index)
            try:
                if self.sample_every and self.index % self.sample_every == 0:
                    step.images = sample_images(self)
                yield step
            except (GeneratorExit, KeyboardInterrupt, SystemExit):
                leave(self)
                raise

    @property
    def finished(self):
        return self.index >= self.config.steps

    def step(self):
        """One update of the weights, from all its batches, in as few passes as there is memory for."""
        began, learning_rate = time.perf_counter(), float(self.lr_scheduler.get_last_lr()[0])
        self.set_mode(training=True)
        with computing_in(self.dtype, self.frozen):
            losses = [self.one_pass(last=number == self.passes) for number in range(1, self.passes + 1)]
        self.update()
        self.set_mode(training=False)
        self.index += 1
        loss = self.accelerator.reduce(sum(losses) / len(losses), "mean").item()
        return Step(self.index, loss, learning_rate, time.perf_counter() - began, 0.0, self.skipped, [])

    def one_pass(self, last):
        """The loss of the next examples, a scalar; their gradients are added to those that are there.

        last: of an update. Only then do the processes tell each other their gradients.
        """
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                loss = self.loss(self.next_examples())
            self.accelerator.backward(loss / self.passes)
        return loss.detach()

    def update(self):
        """Clip, then change the weights, unless a gradient is not finite: that would spoil them for good."""
        import torch

        norm = self.accelerator.clip_grad_norm_(self.trained, self.config.max_grad_norm or math.inf)
        good = bool(torch.isfinite(whole(norm)))
        if good or self.accelerator.scaler:  # the scaler of fp16 skips by itself, and has to see it to scale down
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.lr_scheduler.step()
        self.bad, self.skipped = (0, self.skipped) if good else (self.bad + 1, self.skipped + 1)
        if good:
            self.method.after_step()
            self.average and self.average.step(self.trained)
        if self.bad >= BAD_IN_A_ROW:
            zh = f"连续 {self.bad} 步的梯度不是有限数,停了,权重没有被写坏;试试更小的学习率"
            en = f"{self.bad} steps in a row gave no finite gradient; stopped, the weights are unharmed; try a smaller"
            raise PaidiffError(zh, f"{en} learning rate than {self.config.learning_rate}")

    def set_mode(self, training):
        """Dropout layers work while training only. As train() does it, which takes a twentieth of a small model's step."""
        for layer in self.layers:
            vars(layer)["training"] = training

    def finish(self):
        """What is left at the end: the running mean in the weights' place, and no optimizer."""
        if self.average:
            use_average(self)
        if self.sharded:
            join(self.method)
            self.method.after_step()
        self.model = self.optimizer = self.average = (
            None  # three times the size of what was trained, and of no more use
        )
        for part in self.method.parts().values() if self.config.gradient_checkpointing else ():
            part.disable_gradient_checkpointing()


def _one_of(captions):
    """One by chance; where there is no choice, nothing is taken from the random numbers."""
    return random.choice(captions) if len(captions) > 1 else captions[0]
