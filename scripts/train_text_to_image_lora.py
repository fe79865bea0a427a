"""Train a LoRA on captioned pictures, with the PAI-Diffusion article's flags.

    accelerate launch scripts/train_text_to_image_lora.py --pretrained_model_name_or_path mini --train_data_dir DIR \
        --resolution=128 --center_crop --random_flip --train_batch_size=1 --gradient_accumulation_steps=4 \
        --max_train_steps=200 --learning_rate=1e-03 --max_grad_norm=1 --lr_scheduler="cosine" --lr_warmup_steps=0 \
        --output_dir out/lora

The result: `pipe.load_lora_weights("out/lora")`, or `load_lora_weights("out/lora/checkpoint-500")` on the way.
"""

from dataclasses import dataclass

from paidiff_app.train_cli import Flags, flag, main
from paidiff_lib.methods.lora import ATTENTION, WIDE, LoRA


@dataclass
class LoraFlags(Flags):
    """LoRA 微调 · LoRA fine-tuning on captioned pictures"""

    rank: int = flag(4, "LoRA 的秩 · rank")
    alpha: float | None = flag(None, "LoRA 的 alpha,默认等于秩 · alpha; the rank unless given")
    wide: bool = flag(False, "卷积层也加,小模型要这样 · beside the convolutions too, which a small model needs")
    train_text_encoder: bool = flag(False, "文本编码器也加 LoRA · a LoRA in the text encoder too")


def make(pipe, flags):
    layers = WIDE if flags.wide else ATTENTION
    return LoRA(pipe, flags.rank, flags.alpha, layers=layers, text_encoder=flags.train_text_encoder, seed=flags.seed)


if __name__ == "__main__":
    main(LoraFlags, make, LoRA.save)
