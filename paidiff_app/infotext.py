"""The settings of a picture as text in its PNG file, in the lines that the WebUI writes and reads."""

import io
import json
import re

PAIR = re.compile(r'\s*([\w /-]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
LORA = re.compile(r"\s*<lora:([^:>]+):([-+.\d]+)>")
NEGATIVE = "Negative prompt: "


def infotext(prompt, negative, seed, settings, model, more=None):
    """settings: an object with steps, sampler, guidance, size (width, height), strength. more: further {key: value}."""
    width, height = settings.size
    lines = [prompt] + ([NEGATIVE + negative] if negative else [])
    listed = {"Steps": settings.steps, "Sampler": settings.sampler, "CFG scale": f"{settings.guidance:g}", "Seed": seed}
    listed |= {"Size": f"{width}x{height}", "Model": model}
    listed |= {} if settings.strength is None else {"Denoising strength": f"{settings.strength:g}"}
    listed |= more or {}
    return "\n".join(
        [*lines, ", ".join(f"{key}: {_quoted(value)}" for key, value in listed.items() if value or value == 0)]
    )


def parse(text):
    """What infotext, the WebUI or `paidiff serve` wrote -> {"Prompt", "Negative prompt", "LoRA": [(name, scale)], key: value}.

    Every value but LoRA's is text. Empty if these are no such lines.
    """
    lines = text.strip().split("\n")
    last = lines.pop() if len(PAIR.findall(lines[-1])) >= 3 else None
    if last is None:
        return {}
    found = {key.strip(): _unquoted(value) for key, value in PAIR.findall(last)}
    start = next((i for i, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    prompt = "\n".join(lines[:start])
    found["Negative prompt"] = "\n".join(lines[start:]).removeprefix(NEGATIVE)
    found["LoRA"] = LORA.findall(prompt)
    found["Prompt"] = LORA.sub("", prompt)
    return found


def settings_in(picture):
    """As parse, of a PIL picture that `paidiff serve`, the page, the playground, `paidiff draw` or the WebUI drew."""
    told = picture.info
    if isinstance(told.get("parameters"), str):
        return parse(told["parameters"])
    if not str(told.get("software", "")).startswith("paidiff"):
        return {}
    names = {
        "prompt": "Prompt",
        "negative_prompt": "Negative prompt",
        "seed": "Seed",
        "steps": "Steps",
        "guidance": "CFG scale",
        "size": "Size",
        "model": "Model",
    }
    found = {name: told[key] for key, name in names.items() if key in told}
    return found | {"LoRA": [(re.split(r"[/\\]", told["lora"])[-1], "1")] if told.get("lora") else []}


def png(picture, text):
    """A PIL picture -> the bytes of a PNG file that carries its settings."""
    from PIL.PngImagePlugin import PngInfo

    data, info = io.BytesIO(), PngInfo()
    info.add_itxt("parameters", text)
    picture.save(data, "PNG", pnginfo=info)
    return data.getvalue()


def _quoted(value):
    value = str(value)
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def _unquoted(value):
    try:
        return json.loads(value) if value.startswith('"') else value.strip()
    except ValueError:
        return value
