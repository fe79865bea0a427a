"""The settings of a picture as text in its file, in the lines that the WebUI writes and reads.

Every picture of this project is written here: by the command, the page, the playground and the service.
"""

import io
import json
import re

PAIR = re.compile(r'\s*([\w /-]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
LORA = re.compile(r"\s*<lora:([^:>]+):([-+.\d]+)>")
SUFFIX = re.compile(r"\.(safetensors|bin|pt)$")
NEGATIVE = "Negative prompt: "
EXIF, USER_COMMENT = 0x8769, 0x9286  # where the WebUI writes the lines in a JPEG or WebP file
# What `paidiff draw` wrote until December 2026, and the WebUI's names for it.
OF_THE_COMMAND = {"prompt": "Prompt", "negative_prompt": "Negative prompt", "seed": "Seed", "steps": "Steps"}
OF_THE_COMMAND |= {"guidance": "CFG scale", "size": "Size", "model": "Model"}


def infotext(request, seed, extra=None):
    """The settings of one image of a GenerationRequest, with nothing left to the model. extra: further {key: value}."""
    width, height = request.size
    prompt = request.prompt + (f" {lora_tag(request.lora, request.lora_scale)}" if request.lora else "")
    lines = [prompt] + ([NEGATIVE + request.negative_prompt] if request.negative_prompt else [])
    listed = {"Steps": request.steps, "Sampler": request.sampler, "CFG scale": f"{request.guidance:g}", "Seed": seed}
    listed |= {"Size": f"{width}x{height}", "Model": last_part(request.model or "")}
    listed |= {} if request.strength is None else {"Denoising strength": f"{request.strength:g}"}
    pairs = [(key, value) for key, value in (listed | (extra or {})).items() if value or value == 0]
    return "\n".join([*lines, ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs)])


def lora_tag(source, scale):
    """<lora:name:scale>, as the WebUI calls a LoRA; source: its name, file or folder."""
    return f"<lora:{SUFFIX.sub('', last_part(source))}:{scale:g}>"


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
    """As parse, of a PIL image that this project or the WebUI drew: PNG, JPEG or WebP."""
    info = image.info
    if text := text_in(image):
        return parse(text)
    if not str(info.get("software", "")).startswith("paidiff"):
        return {}
    found = {name: info[key] for key, name in OF_THE_COMMAND.items() if key in info}
    return found | {"LoRA": [(re.split(r"[/\\]", info["lora"])[-1], "1")] if info.get("lora") else []}


def text_in(image):
    """The lines in a PIL image, or ""."""
    if isinstance(image.info.get("parameters"), str):
        return image.info["parameters"]
    comment = image.getexif().get_ifd(EXIF).get(USER_COMMENT, b"")
    if not isinstance(comment, bytes):
        return str(comment)
    head, body = comment[:8], comment[8:]
    if head.rstrip(b"\0") != b"UNICODE":
        return body.decode("utf-8", "replace") if head.rstrip(b"\0") in (b"ASCII", b"") else ""
    texts = [body.decode(f"utf-16-{order}", "replace") for order in ("be", "le")]  # the WebUI's first, then Windows'
    return next((text for text in texts if "Steps: " in text), "")


def last_part(name):
    """A folder is nobody's business: who sees a picture, a page or an answer sees the last part of its path."""
    return str(name).rstrip("/\\").replace("\\", "/").rpartition("/")[2]


def png(image, text=None):
    """A PIL image -> the bytes of a PNG file, with its settings where the WebUI looks for them.

    Under no other key: ComfyUI takes the text of one called `prompt` for its graph.
    """
    from PIL.PngImagePlugin import PngInfo

    data, info = io.BytesIO(), PngInfo()
    if text:
        info.add_itxt("parameters", text)
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
