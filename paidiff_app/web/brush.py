"""A brush for the page of `paidiff web`: paint over a gr.Image what is to be redrawn.

gr.ImageEditor is not used: it needs WebGL, and once used it sends itself, three files, with every event of the whole
page. This is a plain 2D canvas over the picture; nothing of it leaves the browser before the button is pressed.
"""

import base64
import io
import json
from pathlib import Path

import gradio as gr
from PIL import Image

from paidiff_lib.errors import Refused

SIDE = 512  # pixels of the longer side of what the browser sends; mask_of scales it to the picture
MOST = 2**20  # characters of it
PNG = "data:image/png;base64,"
HINT = "放一张图,涂出要重画的地方 · Paint over what is to be redrawn"
KEYS = "画布:方向键移动,空格涂 · canvas: arrow keys move, space paints"
BAR = """<div class="bar"><span>{hint}</span>
<label>粗细 · Size <input type="range" min="2" max="40" value="10"></label>
<button type="button" data-do="undo">撤销 · Undo</button> <button type="button" data-do="clear">清除 · Clear</button></div>"""
JS = Path(__file__).with_name("brush.js")


def brush_bar(over):
    """The line of the brush over the gr.Image whose elem_id is `over`: how to use it, its size, undo and clear."""
    script = f"const over = {json.dumps(over)}, side = {SIDE}, name = {json.dumps(KEYS)}\n"
    script += JS.read_text(encoding="utf-8")
    return gr.HTML(BAR.format(hint=HINT), js_on_load=script, elem_id="brush")


def take_paint(over, place):
    """The `js=` of an event: puts the paint into the input at `place`, the last one."""
    return f"(...all) => [...all.slice(0, {place}), document.querySelector('#{over}')?.paint?.() ?? '']"


def mask_of(sent, size):
    """What the brush sent -> a PIL "L" picture of `size`, white where there is paint. Raises PaidiffError."""
    mask = Image.new("L", size)
    if not sent:
        return mask
    try:
        if len(sent) > MOST or not sent.startswith(PNG):
            raise ValueError
        raw = base64.b64decode(sent.removeprefix(PNG), validate=True)
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as paint:
            if max(paint.size) > SIDE:  # known before anything is unpacked
                raise ValueError
            strokes = paint.convert("RGBA").getchannel("A").resize(size)
    except Exception as error:  # decoders meet hostile bytes here and raise what they like
        raise Refused("涂的读不出来", "cannot read what was painted") from error
    mask.paste(255, mask=strokes.point(lambda value: 255 if value > 32 else 0))
    return mask
