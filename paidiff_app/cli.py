"""The command `paidiff`. Exit codes: 0 fine, 1 a fault or refused input (one line, no traceback), 2 wrong usage."""

import json
import re
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from paidiff_lib.environment import set_defaults
from paidiff_lib.errors import NotFound, PaidiffError
from paidiff_lib.schedulers import STEPS

# Nothing else at the top: what a command needs is imported when it runs, so that --help and a typing error are quick.

HELP = "中文文生图 · Chinese text-to-image diffusion"
app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
MODEL_HELP = "模型名或文件夹 · model name or folder"
GUIDANCE_HELP = "引导强度 · guidance scale; 2 for mini, 5 for the published"
LORA_HELP = "LoRA 的文件夹、文件或名字,可加强度,可写几个 · a LoRA folder, file or name, with a scale or not; several"
OUTPUT_HELP = "写到哪个 PNG 文件;画很多张时是文件夹 · the PNG file to write; of many, the folder"
KEEP_HELP = "每张图连同设置存进这个文件夹 · keep every picture with its settings in this folder"
LORAS_HELP = "放 LoRA 和词向量的文件夹 · a folder of LoRAs and embeddings"
STARTING = "在装载库和模型,忙的机器上要等一会儿 · loading libraries and the model; a busy machine takes a while"
Model = Annotated[str | None, typer.Option(help=MODEL_HELP)]
Loras = Annotated[list[str] | None, typer.Option("--lora", metavar="LORA[:SCALE]", help=LORA_HELP)]
Negative = Annotated[str, typer.Option(help="反向提示词 · what not to draw")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="训练图片的文件夹 · a folder of training pictures")]
Manifest = Annotated[
    str | None,
    typer.Option("-o", "--output", help="新清单叫什么,默认 kept.jsonl · name of the new manifest; kept.jsonl"),
]
Host = Annotated[str, typer.Option(help="在哪里监听 · where to listen")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="端口,0 任选 · 0: any free one")]


@app.command()
def draw(
    output: Annotated[Path, typer.Option("-o", "--output", help=OUTPUT_HELP)],
    prompt: Annotated[str | None, typer.Argument(help="提示词,{猫|狗} 任选 · the prompt; {a|b} is either")] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="一行一句提示词 · a prompt a line")] = None,
    n: Annotated[int, typer.Option("-n", help="每句画几张 · pictures of each prompt")] = 1,
    negative: Negative = "",
    seed: Annotated[int, typer.Option(help="种子 · same seed, same picture")] = 0,
    steps: Annotated[int, typer.Option(help="采样步数 · sampling steps")] = STEPS,
    guidance: Annotated[float | None, typer.Option(help=GUIDANCE_HELP)] = None,
    sampler: Annotated[str | None, typer.Option(help="采样器 · sampler, such as Euler")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="宽x高 · width x height in pixels")] = None,
    hires: Annotated[bool, typer.Option("--hires", help="先画小的,放大了再画 · small first, then enlarged")] = False,
    model: Model = None,
    lora: Loras = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="学来的词 · a Textual Inversion; several")] = None,
    init: Annotated[Path | None, typer.Option(metavar="PICTURE", help="从这张图画起 · begin with this one")] = None,
    strength: Annotated[float | None, typer.Option(help="改动多少,0 到 1 · how much of it changes")] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="PICTURE", help="--init 的白处重画 · where white, redraw")
    ] = None,
    control: Annotated[Path | None, typer.Option(metavar="PICTURE", help="沿它的轮廓 · along its edges")] = None,
):
    """画图,一张或很多 · draw a picture, or many"""
    from .draw_command import run
    from .request import GenerationRequest

    if (prompt is None) == (prompts is None):
        raise typer.BadParameter("PROMPT 或 or --prompts FILE")
    request = GenerationRequest(
        prompt or "", negative, model=model, sampler=sampler, seed=seed, steps=steps, guidance=guidance, n=n
    )
    request = replace(request, size=_parse_size(size), strength=strength, hires=hires)
    if run(request, prompts, output, lora or (), embedding or (), init, mask, control, typer.echo):
        raise typer.Exit(1)


@app.command()
def sweep(
    prompts: Annotated[
        list[str], typer.Argument(metavar="PROMPT...", help="提示词,一句或几句 · one prompt or several")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="写到哪个 PNG 文件 · the PNG file to write")],
    guidance: Annotated[str | None, typer.Option(metavar="X,X,...", help=GUIDANCE_HELP)] = None,
    seed: Annotated[str, typer.Option(metavar="N,N,...", help="种子 · seeds")] = "0",
    steps: Annotated[str, typer.Option(metavar="N,N,...", help="采样步数 · sampling steps")] = str(STEPS),
    size: Annotated[str | None, typer.Option(metavar="WxH,...", help="宽x高 · width x height in pixels")] = None,
    negative: Negative = "",
    model: Model = None,
    lora: Loras = None,
):
    """一格一种设置,画成一张带名字的表(XYZ 图)· one picture for every setting, in a table with names (XYZ plot)"""
    from paidiff_lib.comparison import sweep as draw_sweep
    from paidiff_lib.models.load import model_name

    from .drawing import open_with
    from .output import check_writable, write_png
    from .prompt_list import name_and_scale

    check_writable(output)
    settings = {"guidance": _listed(guidance, _number), "seed": _listed(seed, int), "steps": _listed(steps, int)}
    settings |= {"size": _listed(size, _parse_size), "negative_prompt": negative or None}

    pipe = open_with(model_name(model), [name_and_scale(one) for one in lora or ()])
    write_png(draw_sweep(pipe, prompts[0] if len(prompts) == 1 else prompts, **settings), output)
    typer.echo(output)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="写到哪个文件夹 · the folder to write")],
    lora: Annotated[Path | None, typer.Option(help="合进去的 LoRA · a LoRA to merge into it")] = None,
):
    """导出成 ONNX:画得更快,不用 torch · export as ONNX, which draws faster and without torch"""
    from paidiff_lib.models.load import load

    from .onnx.export import check_target, export as write

    check_target(output)
    found = write(load(name), output, name, lora)
    draws = f"用它画 draw with it: paidiff draw … --model {output}"
    typer.echo(f"{output} · 和原来最多差 at most {found}/255 off · {draws}")


@app.command()
def skeleton(
    name: Annotated[str, typer.Argument(help="真模型的名字,如 artist-large · a published model's name")],
    output: Annotated[Path, typer.Option("-o", "--output", help="写到哪个新文件夹 · the new folder to write")],
    tiny: Annotated[bool, typer.Option("--tiny", help="几 MB,64x64,测试用 · some MB, 64x64, for tests")] = False,
    seed: Annotated[int, typer.Option(help="种子 · same seed, same weights")] = 0,
):
    """写一个文件布局和真模型一样、权重随机的模型 · write a model with random weights, laid out as a published one"""
    from .skeleton import known, write

    size = f"{write(name, output, tiny, seed) / 1e6:,.1f} MB"
    typer.echo(f"{output} · {known(name)} · {size} · 权重是随机的,只会画噪声 random weights: it draws noise")


@app.command()
def audit(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="写成 JSON · as JSON")] = False,
    sheet: Annotated[Path | None, typer.Option(help="把有问题的图拼成一张 PNG · a contact sheet, a PNG file")] = None,
    model: Annotated[str | None, typer.Option(help="谁来读说明文字 · the model that is to read the captions")] = None,
):
    """检查训练图片,什么都不改 · look for faults in training pictures; changes nothing"""
    from .output import check_writable, write_png

    if sheet:
        check_writable(sheet)

    from paidiff_lib.cleaning.audit import audit as examine_folder

    report = examine_folder(folder, model)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=1))
    else:
        _print(report)
        typer.echo(report.summary())
    if sheet and report.findings:
        write_png(report.sheet(), sheet)
    if report.faults:
        raise typer.Exit(1)


@app.command()
def curate(
    folder: Folder,
    keep: Annotated[str | None, typer.Option(help="留下什么,一个式子 · what to keep, one expression")] = None,
    output: Manifest = None,
    clip: Annotated[str | None, typer.Option(help="真的中文 CLIP,名字或文件夹 · a real Chinese CLIP")] = None,
    nsfw: Annotated[
        str | None,
        typer.Option(help="真的安全检查器:模型名或文件夹 · the real safety checker: a published model or a folder"),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml", help="只写 Data-Juicer 的配方,在集群上清洗 · only write a recipe, for a cluster"
        ),
    ] = None,
):
    """给图片打分,留下合格的;只写新清单,不动图片 · score pictures, keep the good ones: a new manifest, no file is moved"""
    from paidiff_lib.cleaning.filter import curate as keep_best, require_output

    if recipe:
        return _write_recipe(folder, recipe, keep, clip, nsfw, output)
    require_output(folder, output)  # before the work
    found = keep_best(folder, keep, clip, nsfw)
    typer.echo(found.summary())
    typer.echo(f"写到 written to {found.write(output)}")


def _write_recipe(folder, recipe, keep, clip, nsfw, output):
    from paidiff_lib.cleaning.recipe import write_recipe

    manifest, faults = write_recipe(folder, recipe, keep, clip, nsfw, output)
    for fault in faults:
        typer.echo(f"✗ {fault}", err=True)
    typer.echo(f"配方 recipe {recipe} · dj-process --config {recipe} · 会写到 will write {manifest}")


@app.command()
def encode(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="训练图片 · training pictures: a folder, .tar, .parquet")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="写到哪个文件夹 · the folder to write")],
    model: Model = None,
    size: Annotated[int | None, typer.Option(help="边长,默认是模型的 · side in pixels; the model's own")] = None,
    random_crop: Annotated[bool, typer.Option("--random-crop", help="三处方块都编码 · all three squares")] = False,
    random_flip: Annotated[bool, typer.Option("--random-flip", help="左右翻转的也编码 · mirrored ones too")] = False,
    skip_faults: Annotated[
        bool, typer.Option("--skip-faults", help="跳过有问题的 · leave out what is at fault")
    ] = False,
):
    """把图片和说明编码成一片片的文件,训练直接读;可以很多进程一起 · encode pictures once, into shards to train on"""
    from paidiff_lib.models.load import load, model_name
    from paidiff_lib.training.encoding import encode as write, process

    settings = {"size": size, "center_crop": not random_crop, "random_flip": random_flip, "skip_faults": skip_faults}
    number, count = process()
    for there, of in write(load(model_name(model)), data, output, **settings, number=number, count=count):
        typer.echo(f"{output}: {there}/{of}")


@app.command()
def caption(
    folder: Folder,
    output: Annotated[str | None, typer.Option("-o", "--output", help="清单叫什么 · its name; captions.jsonl")] = None,
    words: Annotated[Path | None, typer.Option(metavar="FILE", help="自己的词表,JSON · a list of words")] = None,
    clip: Annotated[str | None, typer.Option(help="真的中文 CLIP,名字或文件夹 · a real Chinese CLIP")] = None,
    model: Model = None,
):
    """给图片提议说明和标签,写成新清单 · propose captions and tags for pictures: a new manifest"""
    from paidiff_lib.cleaning import captions
    from paidiff_lib.cleaning.scorers import Embedded, RealClip
    from paidiff_lib.known_words import words as known_words

    captions.require_free(folder, output)  # before the work
    known = captions.read_list(words) if words else known_words(model)
    captioner = captions.Captioner(known, RealClip(clip) if clip else Embedded())
    found = [*captions.caption_folder(folder, captioner, lambda fault: typer.echo(f"✗ {fault}", err=True))]
    for name, proposal in found:
        typer.echo(f"{name}: {proposal.caption}")
    typer.echo(f"{len(found)} 张图 pictures · 写到 written to {captions.write(folder, found, output)}")


@app.command()
def words(model: Model = None):
    """模型认得哪些词 · the words that a model has learnt"""
    from paidiff_lib.known_words import words as known_words
    from paidiff_lib.models.load import model_name

    from .labels import KINDS

    known = known_words(model)
    if not known:
        typer.echo(f"{model_name(model)} 没有词表,想写什么写什么 · has no list of words: write what you like")
    for kind in filter(known.get, KINDS):
        names = known[kind]
        typer.echo(f"{KINDS[kind]} ({len(names)}): {' '.join(map(_with_others, names, names.values()))}")


def _with_others(name, also):
    """猫(小猫,猫咪): a word, and what else it may be called."""
    others = ",".join(word for word in dict.fromkeys(also) if word != name)
    return f"{name}({others})" if others else name


@app.command()
def doctor():
    """检查安装 · check this installation"""
    from .doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(finding.line())
    if any(finding.fault for finding in findings):
        raise typer.Exit(1)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 7860,
    model: Model = None,
    lora: Annotated[Path | None, typer.Option(help="LoRA 的文件夹或文件 · a LoRA folder or file")] = None,
    token: Annotated[str | None, typer.Option(envvar="PAIDIFF_TOKEN", help="令牌 · who asks must send it")] = None,
    queue: Annotated[int, typer.Option(help="最多几张图排队 · how many pictures may wait")] = 64,
    loras: Annotated[Path | None, typer.Option(metavar="DIR", help=LORAS_HELP)] = None,
):
    """HTTP 接口:WebUI 和 PAI-EAS 的写法 · an HTTP API in the WebUI's and PAI-EAS' shape"""
    typer.echo(STARTING, err=True)
    with _extra("serve"):
        from .server.run import run
    run(host, port, model, lora, token, queue, typer.echo, loras)


@app.command()
def web(
    host: Host = "127.0.0.1",
    port: Port = 7861,
    model: Model = None,
    loras: Annotated[Path | None, typer.Option(metavar="DIR", help=LORAS_HELP)] = None,
    token: Annotated[str | None, typer.Option(envvar="PAIDIFF_TOKEN", help="令牌,当密码 · the page's password")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help=KEEP_HELP)] = None,
):
    """网页:文生图、图生图、局部重绘、ControlNet · a page to draw on"""
    typer.echo(STARTING, err=True)
    with _extra("web"):
        from .web.app import run
    run(host, port, model, loras, token, output, typer.echo)


def main():
    """The entry point: refused input becomes one line on stderr and exit code 1."""
    set_defaults()
    try:
        app()
    except PaidiffError as error:
        typer.echo(f"paidiff: {error}", err=True)
        sys.exit(1)


def _print(report):
    """A table on a terminal; a line a finding where another program reads it."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal and report.findings:
        console.print(report.table())
    else:
        typer.echo("".join(finding.line() + "\n" for finding in report.findings), nl=False)


@contextmanager
def _extra(name):
    """What is imported in the block may not be installed: it is an extra of the package."""
    try:
        yield
    except ModuleNotFoundError as error:
        from .install import install_command

        raise NotFound(f"缺 {error.name},装上它", "install it", install_command(name)) from error


def _listed(text, kind):
    """ "1,3,7" -> [1, 3, 7]; "1" -> 1; None -> None."""
    try:
        values = [kind(one.strip()) for one in text.split(",")] if text is not None else [None]
    except ValueError:
        raise PaidiffError("要写成 1,3,7", "write such a list as 1,3,7", text) from None
    return values[0] if len(values) == 1 else values


def _number(text):
    """ "3" -> 3, "7.5" -> 7.5: the names in a table are as they were written."""
    return int(text) if text.isdigit() else float(text)


def _parse_size(size):
    """ "768x512" -> (768, 512); "256" -> (256, 256); None -> None."""
    if size is None:
        return None
    match = re.fullmatch(r"(\d{1,6})([x×*](\d{1,6}))?", size.strip().lower())
    if not match:
        raise PaidiffError("尺寸要写成 宽x高,例如 128x128", "the size is written WxH, such as 128x128", size)
    return int(match[1]), int(match[3] or match[1])


if __name__ == "__main__":
    main()
