"""All that a training run has to remember, in a checkpoint: written, compared, read back."""

import json
import sys

from ..datasets.folder import hash_of
from ..errors import Refused
from ..models.save import require_finite
from .config import OLD_NAMES, TrainingConfig
from .notices import say_how_to_go_on
from .sharded import divide_state, divided, undivided, whole
from .together import agree, require_alike


def save(trainer):
    """Make a checkpoint of a run, if it has a place for them. Raises PaidiffError."""
    if trainer.store:
        weights, state = whole(trainer.parameters), whole(_state(trainer))
        with undivided(trainer.method):
            if trainer.is_main:
                require_finite(weights)
                trainer.store.save(trainer.index, lambda folder: _write(trainer, folder, weights, state))
        trainer.accelerator.wait_for_everyone()


def resume(trainer):
    """Put a run where its newest checkpoint left it, or the one that its settings name. Raises PaidiffError."""
    require_alike(trainer.accelerator, hash_of(identity(trainer)))
    found = trainer.store and agree(trainer.accelerator, trainer.store, trainer.config.resume)
    if found:
        _require_same_run(found, identity(trainer))
        _read(trainer, found)


def leave(trainer):
    """Save a run whose caller left the loop, with `break` or an exception of its own."""
    if trainer.finished or trainer.method.running is not trainer or sys.is_finalizing():
        return
    if trainer.accelerator.num_processes == 1:  # the others may be anywhere
        with trainer.random:
            save(trainer)
    say_how_to_go_on(trainer)


def identity(trainer):
    """What a run must agree on with the run that it continues."""
    settings, method = trainer.config.identity(), trainer.method.settings()
    data, processes = trainer.data.fingerprint, trainer.accelerator.num_processes
    return {"settings": settings, "method": method, "data": data, "processes": processes}


def _state(trainer):
    """Everything but the weights that a run goes on from. Chance is the same in every process."""
    return {
        "index": trainer.index,
        "bad": trainer.bad,
        "skipped": trainer.skipped,
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.lr_scheduler.state_dict(),
        "average": trainer.average and trainer.average.state_dict(),
        "scaler": trainer.accelerator.scaler and trainer.accelerator.scaler.state_dict(),
        "order": vars(trainer.sampler),
        "random": [trainer.random.now()],
    }


def _write(trainer, folder, weights, state):
    """Write the weights and the state of a run into `folder`, and what a reader of it wants to know."""
    import torch
    from safetensors.torch import save_file

    save_file({name: p.detach().cpu().contiguous() for name, p in weights.items()}, folder / "weights.safetensors")
    torch.save(state, folder / "state.pt")
    of_run = json.dumps(identity(trainer), ensure_ascii=False, indent=1)
    (folder / "run.json").write_text(of_run, encoding="utf-8")
    trainer.method.save(folder)


def _read(trainer, folder):
    """Put a run where _write left it."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder / "weights.safetensors")
    for name, parameter in trainer.parameters.items():
        parameter.data.copy_(divided(weights[name], parameter))
    state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    trainer.optimizer.load_state_dict(divide_state(state["optimizer"], trainer.trained))
    trainer.lr_scheduler.load_state_dict(state["schedule"])
    if trainer.average:
        means = [divided(mean, p) for mean, p in zip(state["average"]["shadow_params"], trainer.trained)]
        trainer.average.load_state_dict({**state["average"], "shadow_params": means})
        trainer.average.to(trainer.accelerator.device)
    if trainer.accelerator.scaler:
        trainer.accelerator.scaler.load_state_dict(state["scaler"])
    vars(trainer.sampler).update(state["order"])
    trainer.random.inside = state["random"][0]
    trainer.index, trainer.bad, trainer.skipped = state["index"], state["bad"], state["skipped"]
    trainer.method.after_step()


def _require_same_run(folder, identity):
    """Raise Refused, which names what differs, if the checkpoint in `folder` is not of a run with this identity."""
    before = _flat(json.loads((folder / "run.json").read_text(encoding="utf-8")))
    now = _flat(json.loads(json.dumps(identity)))
    differ = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if differ:
        changes = ", ".join(f"{name}: {str(before.get(name))[:20]} -> {str(now.get(name))[:20]}" for name in differ)
        advice = "换一个 output 文件夹,或改回来 · choose another output folder, or change it back"
        en = "is of another run and cannot be continued"
        raise Refused(f"{folder} 是另一次训练的,接不上", en, f"{changes}; {advice}")


def _flat(identity):
    """{name: value} of a run, under the names of today; what an earlier version did not know has its default."""
    settings = TrainingConfig().identity() | {
        OLD_NAMES.get(name, name): value for name, value in identity["settings"].items()
    }
    return {"data": identity["data"], "processes": identity["processes"], **settings, **identity["method"]}
