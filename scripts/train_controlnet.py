"""Train a Canny ControlNet on captioned pictures; their edges are found on the way.

    accelerate launch scripts/train_controlnet.py --pretrained_model_name_or_path mini --train_data_dir DIR \
        --resolution=128 --train_batch_size=4 --max_train_steps=500 --learning_rate=3e-4 --output_dir out/canny

The result: `paidiff_lib.load(task="controlnet", control="out/canny")`, or `ControlNetModel.from_pretrained("out/canny")`.
"""

from dataclasses import dataclass

from paidiff_app.train_cli import Flags, flag, main
from paidiff_lib.methods.controlnet import ControlNet
from paidiff_lib.models.load import load_control


@dataclass
class ControlFlags(Flags):
    """训练 Canny ControlNet · train a Canny ControlNet"""

    controlnet_model_name_or_path: str | None = flag(None, "从这个 ControlNet 接着练 · a ControlNet to go on with")


def make(pipe, flags):
    start = flags.controlnet_model_name_or_path
    return ControlNet(pipe, start and load_control(start, flags.pretrained_model_name_or_path), seed=flags.seed)


if __name__ == "__main__":
    main(ControlFlags, make, ControlNet.save)
