"""The command `paidiff`. Exit codes: 0 fine, 1 a fault or refused input (one line, no traceback), 2 wrong usage."""

import json
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from paidiff_lib.environment import set_defaults
from paidiff_lib.errors import NotFound, PaidiffError
from paidiff_lib.files import atomic_file
from paidiff_lib.generate import STEPS, check_settings
from paidiff_lib.models.load import is_export, model_name
from paidiff_lib.models.registry import short_name
from paidiff_lib.prompts import refuse_tags

from . import open_model
from .doctor import examine
from .infotext import infotext, png
from .install import install_command
from .request import GenerationRequest

HELP = "中文文生图 · Chinese text-to-image diffusion"
app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
MODEL_HELP = "模型名或文件夹 · model name or folder"
GUIDANCE_HELP = "引导强度 · guidance scale; 2 for mini, 5 for the published"
LORAS_HELP = "放 LoRA 和词向量的文件夹 · a folder of LoRAs and embeddings"
Model = Annotated[str | None, typer.Option(help=MODEL_HELP)]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="训练图片的文件夹 · a folder of training pictures")]
Manifest = Annotated[
    str | None,
    typer.Option("-o", "--output", help="新清单叫什么,默认 kept.jsonl · name of the new manifest; kept.jsonl"),
]
Host = Annotated[str, typer.Option(help="在哪里监听 · where to listen")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="端口,0 任选 · 0: any free one")]


@app.command()
def draw(
    prompt: Annotated[str, typer.Argument(help="提示词 · the prompt")],
    output: Annotated[Path, typer.Option("-o", "--output", help="写到哪个 PNG 文件 · the PNG file to write")],
    negative: Annotated[str, typer.Option(help="反向提示词 · what not to draw")] = "",
    seed: Annotated[int, typer.Option(help="种子 · same seed, same picture")] = 0,
    steps: Annotated[int, typer.Option(help="采样步数 · sampling steps")] = STEPS,
    guidance: Annotated[float | None, typer.Option(help=GUIDANCE_HELP)] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="宽x高 · width x height in pixels")] = None,
    model: Model = None,
    lora: Annotated[Path | None, typer.Option(help="LoRA 的文件夹、文件或名字 · a LoRA folder, file or name")] = None,
):
    """画一张图 · draw a picture"""
    started = time.perf_counter()
    shape = _parse_size(size)
    _check_before_loading(prompt, negative, output, lora, dict(seed=seed, steps=steps, guidance=guidance, size=shape))

    from paidiff_lib.generate import guidance_of, sample
    from paidiff_lib.methods.lora_files import load_lora
    from paidiff_lib.prompts import check_prompt

    name = model_name(model)
    if lora and is_export(name):
        raise PaidiffError("导出的模型装不了 LoRA,导出时加上", "give --lora to paidiff export, not here", name)
    pipe = open_model(name)
    guidance = guidance_of(pipe) if guidance is None else guidance
    if lora:
        load_lora(pipe, lora)
    for hint in dict.fromkeys(check_prompt(pipe, prompt) + (check_prompt(pipe, negative) if negative else [])):
        typer.echo(hint, err=True)
    before = time.perf_counter()
    image = sample(pipe, [prompt], seed, steps, guidance, negative or None, shape)[0]
    seconds = time.perf_counter() - before
    settings = {"seed": seed, "steps": steps, "guidance": guidance, "size": image.size, "lora": lora and str(lora)}
    _write_png(image, output, infotext(GenerationRequest(prompt, negative, model=name, **settings), seed))
    took = f"采样 sampling {seconds:.1f} s · 全程 altogether {time.perf_counter() - started:.1f} s"
    typer.echo(
        f"{output} · {image.width}x{image.height} · seed {seed} · {steps} steps · guidance {guidance:g} · {took}"
    )


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
    if sheet:
        _check_writable(sheet)

    from paidiff_lib.cleaning.audit import audit as examine_folder

    report = examine_folder(folder, model)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=1))
    else:
        _print(report)
        typer.echo(report.summary())
    if sheet and report.findings:
        _write_png(report.sheet(), sheet)
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
):
    """给图片打分,留下合格的;只写新清单,不动图片 · score pictures, keep the good ones: a new manifest, no file is moved"""
    from paidiff_lib.cleaning.filter import curate as keep_best, require_output

    require_output(folder, output)  # before the work
    found = keep_best(folder, keep, clip, nsfw)
    typer.echo(found.summary())
    typer.echo(f"写到 written to {found.write(output)}")


@app.command()
def doctor():
    """检查安装 · check this installation"""
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
):
    """网页:文生图、图生图、局部重绘、ControlNet · a page to draw on"""
    with _extra("web"):
        from .web.app import run
    run(host, port, model, loras, token, say=typer.echo)


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
        raise NotFound(f"缺 {error.name},装上它", "install it", install_command(name)) from error


def _parse_size(size):
    """ "768x512" -> (768, 512); None -> None."""
    if size is None:
        return None
    match = re.fullmatch(r"(\d{1,6})[x×*](\d{1,6})", size.strip().lower())
    if not match:
        raise PaidiffError("尺寸要写成 宽x高,例如 128x128", "the size is written WxH, such as 128x128", size)
    return int(match[1]), int(match[2])


def _check_before_loading(prompt, negative, output, lora, settings):
    """Everything that can be refused without a model: nobody waits ten seconds for a typing error."""
    if not prompt.strip():
        raise PaidiffError("提示词是空的", "the prompt is empty")
    refuse_tags(prompt, negative)
    check_settings(**settings)
    _check_writable(output)
    if lora is not None and not lora.exists() and not short_name(str(lora)):
        raise NotFound("没有这个 LoRA", "no such LoRA", str(lora))


def _check_writable(path):
    if path.suffix.lower() != ".png":
        raise PaidiffError("输出文件名要以 .png 结尾", "the output must end in .png", str(path))
    if not path.parent.is_dir():
        raise NotFound("没有这个文件夹", "no such folder", str(path.parent))
    if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        raise PaidiffError("不能写这个文件", "cannot write this file", str(path))
    try:
        tempfile.TemporaryFile(dir=path.parent).close()  # the only sure test: permissions do not tell the whole truth
    except OSError as error:
        raise PaidiffError(f"不能写到 {path.parent}", "cannot write there", error.strerror) from error


def _write_png(image, path, text=None):
    """Write the whole picture or nothing. text: its settings."""
    try:
        with atomic_file(path) as staging:
            staging.write_bytes(png(image, text))
    except OSError as error:
        raise PaidiffError(f"写不了 {path}", "cannot write it", error.strerror) from error


if __name__ == "__main__":
    main()
