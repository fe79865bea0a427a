"""Teach a model a new word from a few pictures, with the PAI-Diffusion article's flags.

    accelerate launch scripts/textual_inversion.py --pretrained_model_name_or_path mini --train_data_dir DIR \
        --learnable_property="object" --placeholder_token="<小奶猫>" --initializer_token="猫" --resolution=128 \
        --train_batch_size=1 --gradient_accumulation_steps=4 --max_train_steps=100 --learning_rate=5.0e-04 --scale_lr \
        --lr_scheduler="constant" --lr_warmup_steps=0 --output_dir out/kitten

The result is a whole model: `StableDiffusionPipeline.from_pretrained("out/kitten")`; the word alone is in
out/kitten/learned_embeds.safetensors.
"""

from dataclasses import dataclass

from paidiff_app.train_cli import Flags, flag, main
from paidiff_lib.methods.textual_inversion import TextualInversion


@dataclass
class InversionFlags(Flags):
    """Textual Inversion: 用几张图片教模型一个新词 · teach a new word from a few pictures"""

    learnable_property: str = flag("object", "object, style: 事物还是风格 · a thing or a style")
    placeholder_token: str = flag("<小奶猫>", "新词 · the new word")
    initializer_token: str = flag("猫", "从哪个词开始,要是一个词元 · the word it starts as, one token")
    num_vectors: int = flag(1, "新词占几个词元 · tokens that the new word takes")


def make(pipe, flags):
    word, start = flags.placeholder_token, flags.initializer_token
    return TextualInversion(pipe, word, start, flags.num_vectors, flags.learnable_property)


if __name__ == "__main__":
    main(InversionFlags, make, TextualInversion.save_model, captions=False)
