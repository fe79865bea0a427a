"""DreamBooth: a rare word comes to mean one particular thing, with the flags of diffusers' own script.

    accelerate launch scripts/train_dreambooth.py --pretrained_model_name_or_path mini --instance_data_dir data/bear \
        --with_prior_preservation --class_prompt="一只熊" --class_data_dir out/bears \
        --num_class_images=100 --train_text_encoder --train_batch_size=4 --max_train_steps=150 --learning_rate=3e-4 \
        --output_dir out/dreambooth

The result is a whole model: `StableDiffusionPipeline.from_pretrained("out/dreambooth")`; with --rank it is a LoRA,
`pipe.load_lora_weights("out/dreambooth")`.
"""

from dataclasses import dataclass

from paidiff_app.train_cli import Flags, flag, main
from paidiff_lib.errors import PaidiffError
from paidiff_lib.methods.dreambooth import with_prior
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import WIDE, LoRA


@dataclass
class DreamBoothFlags(Flags):
    """DreamBooth: 用几张图教模型认识一个东西 · teach a model one particular thing from a few pictures"""

    instance_prompt: str | None = flag(
        None, "每张图的说明,默认用文件夹里的 · every picture's caption; the folder's own unless given"
    )
    with_prior_preservation: bool = flag(
        False, "同时练模型自己画的同类图 · the model's own pictures of the class beside"
    )
    class_prompt: str | None = flag(None, "同类叫什么 · what the class is called")
    class_data_dir: str | None = flag(None, "同类图放在哪里,没有就画 · where the class pictures are; drawn if missing")
    num_class_images: int = flag(100, "同类图几张 · number of class pictures")
    prior_loss_weight: float = flag(1.0, "同类图的分量 · weight of the class pictures against the thing's")
    train_text_encoder: bool = flag(
        False, "文本编码器也练,才分得清生僻字 · the text encoder too, to tell the rare word apart"
    )
    rank: int | None = flag(None, "只练这个秩的 LoRA · a LoRA of this rank instead of all weights")

    def data(self, captions=True):
        if self.with_prior_preservation and not (self.class_prompt and self.class_data_dir):
            raise PaidiffError("先验保持需要 · prior preservation needs --class_prompt, --class_data_dir")
        return super().data(self.instance_prompt or captions)

    def complete(self, pipe, data):
        if not self.with_prior_preservation:
            return data
        share = self.prior_loss_weight / (1 + self.prior_loss_weight)
        return with_prior(pipe, data, self.class_prompt, self.class_data_dir, self.num_class_images, share)


def make(pipe, flags):
    if flags.rank:
        return LoRA(pipe, flags.rank, layers=WIDE, text_encoder=flags.train_text_encoder, seed=flags.seed)
    return FullTuning(pipe, flags.train_text_encoder)


def save(method, folder):
    method.save_model(folder) if isinstance(method, FullTuning) else method.save(folder)


if __name__ == "__main__":
    main(DreamBoothFlags, make, save)
