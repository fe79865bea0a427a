"""Records of a training in TensorBoard, Weights & Biases, SwanLab or Comet: accelerate's trackers."""

from importlib.util import find_spec
from pathlib import Path

from paidiff_lib.errors import NotFound, unknown

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "swanlab": "swanlab", "comet_ml": "comet_ml"}


def check_trackers(name):
    """Raise PaidiffError if `name` is no tracker, or its package is not installed. Nothing heavy is imported."""
    if name in (None, "none", "all"):
        return
    if name not in PACKAGES:
        raise unknown("报告的去处", "place to report to", name, ["none", *PACKAGES, "all"])
    if not find_spec(PACKAGES[name]):
        raise NotFound(f"没有装 {name}", f"{name} is not installed", f"pip install {PACKAGES[name]}")


def start_trackers(flags):
    """log(step, last) for the trackers that were asked for; it does nothing where none were."""
    if flags.report_to in (None, "none"):
        return lambda step, last: None
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    from paidiff_lib.models.load import device

    place = ProjectConfiguration(flags.output_dir, str(Path(flags.output_dir) / flags.logging_dir))
    accelerator = Accelerator(cpu=device() == "cpu", log_with=flags.report_to, project_config=place)
    plain = {name: value for name, value in vars(flags).items() if isinstance(value, (int, float, str))}
    accelerator.init_trackers(flags.tracker_project_name, plain)

    def log(step, last):
        accelerator.log({"loss": step.loss, "lr": step.learning_rate}, step=step.index)
        for tracker in accelerator.trackers if step.images else ():
            tracker.log_images({"validation": _as_arrays(step.images)}, step=step.index)
        if last:
            accelerator.end_training()

    return log


def _as_arrays(images):
    import numpy as np

    return np.stack([np.asarray(image) for image in images])
