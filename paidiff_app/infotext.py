"""The settings of a picture as text in its PNG file, in the lines that the WebUI writes and reads."""

import io
import json
import re

PAIR = re.compile(r'\s*([\w /-]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
LORA = re.compile(r"\s*<lora:([^:>]+):([-+.\d]+)>")
NEGATIVE = "Negative prompt: "
# What `paidiff draw` writes, and the WebUI's names for it.
OF_THE_COMMAND = {"prompt": "Prompt", "negative_prompt": "Negative prompt", "seed": "Seed", "steps": "Steps"}
OF_THE_COMMAND |= {"guidance": "CFG scale", "size": "Size", "model": "Model"}


def infotext(request, seed, extra=None):
    """The settings of one image of a GenerationRequest, with nothing left to the model. extra: further {key: value}."""
    width, height = request.size
    prompt = request.prompt + (f" <lora:{request.lora}:{request.lora_scale:g}>" if request.lora else "")
    lines = [prompt] + ([NEGATIVE + request.negative_prompt] if request.negative_prompt else [])
    listed = {"Steps": request.steps, "Sampler": request.sampler, "CFG scale": f"{request.guidance:g}", "Seed": seed}
    listed |= {"Size": f"{width}x{height}", "Model": request.model}
    listed |= {} if request.strength is None else {"Denoising strength": f"{request.strength:g}"}
    pairs = [(key, value) for key, value in (listed | (extra or {})).items() if value or value == 0]
    return "\n".join([*lines, ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs)])


def parse(text):
    """What infotext, the WebUI or `paidiff serve` wrote -> {"Prompt", "Negative prompt", "LoRA": [(name, scale)], key: value}.

    Every value but LoRA's is text. Empty if these are no such lines.
    """
    *lines, last = text.strip().split("\n")
    pairs = PAIR.findall(last)
    if len(pairs) < 3:
        return {}
    found = {key.strip(): _unquoted(value) for key, value in pairs}
    start = next((i for i, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    prompt = "\n".join(lines[:start])
    found["Negative prompt"] = "\n".join(lines[start:]).removeprefix(NEGATIVE)
    found["LoRA"] = LORA.findall(prompt)
    found["Prompt"] = LORA.sub("", prompt)
    return found


def settings_in(image):
    """As parse, of a PIL image that `paidiff serve`, the page, the playground, `paidiff draw` or the WebUI drew."""
    info = image.info
    if isinstance(info.get("parameters"), str):
        return parse(info["parameters"])
    if not str(info.get("software", "")).startswith("paidiff"):
        return {}
    found = {name: info[key] for key, name in OF_THE_COMMAND.items() if key in info}
    return found | {"LoRA": [(re.split(r"[/\\]", info["lora"])[-1], "1")] if info.get("lora") else []}


def png(image, **texts):
    """A PIL image -> the bytes of a PNG file that carries its settings. texts: {key: text}; the WebUI's is `parameters`."""
    from PIL.PngImagePlugin import PngInfo

    data, info = io.BytesIO(), PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, str(text))
    image.save(data, "PNG", pnginfo=info)
    return data.getvalue()


def _quoted(value):
    value = str(value)
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def _unquoted(value):
    try:
        return json.loads(value) if value.startswith('"') else value.strip()
    except ValueError:
        return value
