"""Records of a training in TensorBoard, Weights & Biases, SwanLab or Comet: accelerate's trackers."""

from importlib.util import find_spec
from pathlib import Path

from paidiff_lib.errors import NotFound, Refused, first_line, unknown

# What each calls the folder of its records; by itself it takes the current one.
PLACE = {"wandb": "dir", "swanlab": "logdir"}
OFFLINE = "; 不联网 offline: WANDB_MODE=offline, SWANLAB_MODE=offline"
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "swanlab": "swanlab", "comet_ml": "comet_ml"}


def check_trackers(name):
    """Raise PaidiffError if `name` is no tracker, or its package is not installed. Nothing heavy is imported."""
    if name in (None, "none") or (name == "all" and any(map(find_spec, PACKAGES))):
        return
    if name == "all":
        raise NotFound("一个都没有装", "none of them is installed", f"pip install tensorboard; {', '.join(PACKAGES)}")
    if name not in PACKAGES:
        raise unknown("报告的去处", "place to report to", name, ["none", *PACKAGES, "all"])
    if not find_spec(PACKAGES[name]):
        raise NotFound(f"没有装 {name}", f"{name} is not installed", f"pip install {PACKAGES[name]}")


def start_trackers(flags):
    """log(step, last) for the trackers that were asked for; it does nothing where none were. Raises Refused."""
    if flags.report_to in (None, "none"):
        return lambda step, last: None
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    from paidiff_lib.models.load import device

    place = str(Path(flags.output_dir) / flags.logging_dir)
    folders = ProjectConfiguration(flags.output_dir, place)
    accelerator = Accelerator(cpu=device() == "cpu", log_with=flags.report_to, project_config=folders)
    plain = {name: value for name, value in vars(flags).items() if isinstance(value, (int, float, str))}
    Path(place).mkdir(parents=True, exist_ok=True)
    try:  # each of them has its own errors: no account, no network, another version
        accelerator.init_trackers(
            flags.tracker_project_name, plain, {name: {key: place} for name, key in PLACE.items()}
        )
    except Exception as error:
        raise Refused(f"{flags.report_to} 没有开始", "cannot start", f"{first_line(error)}{OFFLINE}") from error

    def log(step, last):
        accelerator.log({"loss": step.loss, "lr": step.learning_rate}, step=step.index)
        for tracker in accelerator.trackers if step.images else ():
            _log_images(tracker, step)
        if last:
            accelerator.end_training()

    return log


def _log_images(tracker, step):
    """Sample pictures, to those that take pictures: accelerate hands them on to some only, each in its own shape."""
    import numpy as np

    if hasattr(tracker, "log_images"):
        options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"validation": np.stack([np.asarray(i) for i in step.images])}, step.index, **options)
