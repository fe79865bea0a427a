"""The five training commands, with the flags of the PAI-Diffusion article and of diffusers' own scripts.

    python -m paidiff_app.train text_to_image_lora --train_data_dir DIR --output_dir out/lora ...

`scripts/` has them under the article's file names, for `accelerate launch`.
"""

import sys
from dataclasses import dataclass

from paidiff_lib.errors import PaidiffError, unknown
from paidiff_lib.methods.controlnet import ControlNet
from paidiff_lib.methods.dreambooth import with_prior
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import ATTENTION, WIDE, LoRA
from paidiff_lib.methods.textual_inversion import TextualInversion
from paidiff_lib.models.load import load_control

from . import train_cli
from .train_cli import Flags, flag, literal

EXTENSION = "pai-webui"  # below the output: a LoRA as the models' own WebUI extension opens it
OLD_BIN = "--also_bin 只放得下 UNet 注意力层的 LoRA", "the old .bin takes a LoRA of the UNet's attention only"


@dataclass(kw_only=True)
class LoraFlags(Flags):
    """LoRA 微调 · LoRA fine-tuning on captioned pictures"""

    results, bins = ("pytorch_lora_weights.safetensors",), ("pytorch_model.bin",)
    rank: int = flag(4, "LoRA 的秩 · rank")
    alpha: float | None = flag(None, "LoRA 的 alpha,默认等于秩 · alpha; the rank unless given")
    wide: bool = flag(False, "卷积层也加,小模型要这样 · beside the convolutions too, which a small model needs")
    train_text_encoder: bool = flag(False, "文本编码器也加 LoRA · a LoRA in the text encoder too")

    def check(self):
        super().check()
        if self.alpha is not None and not 0 < self.alpha <= 1e6:
            raise PaidiffError("--alpha 要大于 0,最多 1e6", "must be above 0, at most 1e6", str(self.alpha))
        if self.also_bin and (self.wide or self.train_text_encoder):
            raise PaidiffError(*OLD_BIN, "--also_bin, --wide, --train_text_encoder")

    def opening(self):
        return open_lora(self)


def make_lora(pipe, flags):
    layers = WIDE if flags.wide else ATTENTION
    text, seed = flags.train_text_encoder, flags.seed
    lora = LoRA(pipe, flags.rank, flags.alpha, layers=layers, text_encoder=text, seed=seed)
    lora.also_bin = flags.also_bin
    return lora


def save_lora(lora, folder, also_bin):
    lora.save(folder)
    if also_bin:
        lora.export(folder / EXTENSION / "pytorch_lora_weights.bin")
        zh, en = "PAI 的 WebUI 插件用的,放进 Chinese_Lora", "for PAI's WebUI extension, goes into Chinese_Lora"
        print(f"{folder / EXTENSION}: {zh} · {en}")


def open_lora(flags):
    model, folder = literal(flags.pretrained_model_name_or_path), literal(flags.output_dir)
    return (
        f"import paidiff_lib; pipe = paidiff_lib.load({model})",
        f'pipe.load_lora_weights({folder}, weight_name="pytorch_lora_weights.safetensors")',
    )


@dataclass(kw_only=True)
class InversionFlags(Flags):
    """Textual Inversion: 用几张图片教模型一个新词 · teach a new word from a few pictures"""

    learnable_property: str = flag("object", "object, style: 事物还是风格 · a thing or a style")
    placeholder_token: str = flag("<小奶猫>", "新词 · the new word")
    initializer_token: str = flag("猫", "从哪个词开始,要是一个词元 · the word it starts as, one token")
    num_vectors: int = flag(1, "新词占几个词元 · tokens that the new word takes")
    repeats: int = flag(1, "一遍里每张图几次 · times each picture comes in an epoch")
    results = ("learned_embeds.safetensors", "model_index.json")


def make_inversion(pipe, flags):
    word, start = flags.placeholder_token, flags.initializer_token
    return TextualInversion(pipe, word, start, flags.num_vectors, flags.learnable_property)


@dataclass(kw_only=True)
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
    lora_dropout: float = flag(0.0, "LoRA 里丢掉多少 · dropout in the LoRA")
    offset_noise: bool = flag(False, "同 --noise_offset=0.1 · the same as --noise_offset=0.1")
    results = ("pytorch_lora_weights.safetensors", "model_index.json")

    def settings(self):
        settings = super().settings()
        return settings | {"noise_offset": settings["noise_offset"] or 0.1} if self.offset_noise else settings

    def check(self):
        super().check()
        if not 0 < self.prior_loss_weight <= 1000:
            zh, en = "--prior_loss_weight 要大于 0,最多 1000", "must be above 0, at most 1000"
            raise PaidiffError(zh, en, str(self.prior_loss_weight))
        if not 0 <= self.lora_dropout < 1:
            zh, en = "--lora_dropout 要从 0 到不足 1", "must be from 0 to below 1"
            raise PaidiffError(zh, en, str(self.lora_dropout))

        if self.also_bin and self.rank:
            raise PaidiffError(*OLD_BIN, "--also_bin, --rank")

    def opening(self):
        return open_lora(self) if self.rank else super().opening()

    def needs(self):
        yield from super().needs()
        of_class = "class_prompt", "class_data_dir", "num_class_images", "prior_loss_weight"
        yield (
            self.with_prior_preservation,
            "要有 --with_prior_preservation · without --with_prior_preservation",
            of_class,
        )
        yield self.rank, "要有 --rank · without --rank", ("lora_dropout",)

    def data(self, captions=True):
        if self.with_prior_preservation and not (self.class_prompt and self.class_data_dir):
            raise PaidiffError("先验保持需要", "prior preservation needs --class_prompt, --class_data_dir")
        return super().data(self.instance_prompt or captions)

    def complete(self, pipe, data):
        if not self.with_prior_preservation:
            return data
        share = self.prior_loss_weight / (1 + self.prior_loss_weight)
        return with_prior(pipe, data, self.class_prompt, self.class_data_dir, self.num_class_images, share)


def make_dreambooth(pipe, flags):
    if flags.rank:
        text, dropout = flags.train_text_encoder, flags.lora_dropout
        return LoRA(pipe, flags.rank, layers=WIDE, text_encoder=text, dropout=dropout, seed=flags.seed)
    return FullTuning(pipe, flags.train_text_encoder)


def save_dreambooth(method, folder, also_bin):
    method.save_model(folder, also_bin) if isinstance(method, FullTuning) else method.save(folder)


@dataclass(kw_only=True)
class ControlFlags(Flags):
    """训练 Canny ControlNet · train a Canny ControlNet"""

    controlnet_model_name_or_path: str | None = flag(None, "从这个 ControlNet 接着练 · a ControlNet to go on with")
    conditioning_image_column: str | None = flag(
        None, "清单里条件图那一列,没有就用边缘 · the column of conditions; edges where there are none"
    )
    results, bins = ("config.json", "diffusion_pytorch_model.safetensors"), ("diffusion_pytorch_model.bin",)

    def opening(self):
        model, folder = literal(self.pretrained_model_name_or_path), literal(self.output_dir)
        return "import paidiff_lib", f'pipe = paidiff_lib.load({model}, task="controlnet", control={folder})'


def make_controlnet(pipe, flags):
    start = flags.controlnet_model_name_or_path
    return ControlNet(pipe, start and load_control(start, flags.pretrained_model_name_or_path), seed=flags.seed)


@dataclass(kw_only=True)
class FullFlags(Flags):
    """全量微调 · full fine-tuning on captioned pictures"""

    results = ("model_index.json",)
    use_ema: bool = flag(False, "最后用权重的滑动平均 · end with a running mean of the weights")

    def settings(self):
        return {**super().settings(), "ema": 0.9999 if self.use_ema else None}


def make_full(pipe, flags):
    return FullTuning(pipe)


COMMANDS = {  # name: flags, the method, how it is saved, whether pictures need captions
    "text_to_image_lora": (LoraFlags, make_lora, save_lora, True),
    "textual_inversion": (InversionFlags, make_inversion, TextualInversion.save_model, False),
    "dreambooth": (DreamBoothFlags, make_dreambooth, save_dreambooth, True),
    "controlnet": (ControlFlags, make_controlnet, ControlNet.save, True),
    "text_to_image": (FullFlags, make_full, FullTuning.save_model, True),
}


def main(name, arguments=None):
    """One of the five commands, by its name; ends the program. arguments: None takes the program's own."""
    train_cli.main(*COMMANDS[name], arguments)


def choose(arguments):
    """As main, the name being the first argument. Exit code 2 if it is none of the five."""
    name = arguments[0].removeprefix("train_") if arguments else "--help"
    if name in COMMANDS:
        sys.argv[0] = name  # what --help calls the program
        return main(name, arguments[1:])
    usage = f"python -m paidiff_app.train {{{','.join(COMMANDS)}}} --..."
    if name in ("--help", "-h"):
        print(f"{usage}\n一个命令的参数 · the flags of one: python -m paidiff_app.train dreambooth --help")
        sys.exit(0 if arguments else 2)
    print(f"{usage}\n{unknown('训练命令', 'training command', name, COMMANDS)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    choose(sys.argv[1:])
