"""A brush for the page of `paidiff web`: paint over a gr.Image what is to be redrawn.

gr.ImageEditor is not used: it needs WebGL, and once used it sends itself, three files, with every event of the whole
page. This is a plain 2D canvas over the picture; nothing of it leaves the browser before the button is pressed.
"""

import base64
import io

from PIL import Image

from paidiff_lib.errors import PaidiffError

SIDE = 512  # pixels of the longer side of what the browser sends; studio.py scales it to the picture
MOST = 2**20  # characters of it
PNG = "data:image/png;base64,"
HINT = "放一张图,涂出要重画的地方 · Paint over what is to be redrawn"
CLEAR = "清除 · Clear"
CSS = """
.brush { position: absolute; z-index: 1; opacity: .6; cursor: crosshair; touch-action: none; }
#brush { padding: 0 !important; }
#brush div.bar { padding: 0 2px; display: flex; align-items: center; justify-content: space-between; gap: 12px; }
#brush button { flex: none; border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 4px 14px; }
#brush button { background: var(--button-secondary-background-fill); cursor: pointer; }
"""
# the picture comes, goes, and changes its size as gradio likes: the canvas follows it
BRUSH = """
const box = document.querySelector('#%(over)s'), canvas = document.createElement('canvas'), pen = canvas.getContext('2d')
canvas.className = 'brush'
let picture = '', painted = false, last = null
const clear = () => { pen.clearRect(0, 0, canvas.width, canvas.height); painted = false }
const lay = () => {
  const img = box.querySelector('img')
  if (!img || !img.naturalWidth) { picture = ''; clear(); return canvas.remove() }
  if (img.src !== picture) {
    const scale = %(side)d / Math.max(img.naturalWidth, img.naturalHeight)
    picture = img.src
    canvas.width = Math.max(1, Math.round(img.naturalWidth * scale))
    canvas.height = Math.max(1, Math.round(img.naturalHeight * scale))
    clear()
    sizes.observe(img)
  }
  if (canvas.parentElement !== box) box.append(canvas)
  const seen = img.getBoundingClientRect(), home = box.getBoundingClientRect()
  const scale = Math.min(seen.width / canvas.width, seen.height / canvas.height)  // object-fit: contain, scale-down
  const wide = canvas.width * scale, high = canvas.height * scale
  canvas.style.left = seen.left - home.left - box.clientLeft + (seen.width - wide) / 2 + 'px'
  canvas.style.top = seen.top - home.top - box.clientTop + (seen.height - high) / 2 + 'px'
  canvas.style.width = wide + 'px'
  canvas.style.height = high + 'px'
}
const sizes = new ResizeObserver(lay)
sizes.observe(box)
new MutationObserver(lay).observe(box, {childList: true, subtree: true, attributes: true, attributeFilter: ['src']})
box.addEventListener('load', lay, true)
const stroke = event => {
  const seen = canvas.getBoundingClientRect(), scale = canvas.width / seen.width
  const at = [(event.clientX - seen.left) * scale, (event.clientY - seen.top) * scale]
  pen.lineWidth = Math.max(canvas.width, canvas.height) / 10
  pen.lineCap = pen.lineJoin = 'round'
  pen.strokeStyle = '#14b8a6'
  pen.beginPath()
  pen.moveTo(...(last || at))
  pen.lineTo(...at)
  pen.stroke()
  last = at
  painted = true
}
canvas.addEventListener('pointerdown', event => {
  if (!event.isPrimary || event.button) return
  event.preventDefault()
  canvas.setPointerCapture(event.pointerId)
  last = null
  stroke(event)
})
canvas.addEventListener('pointermove', event => { if (last && event.isPrimary) stroke(event) })
for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { last = null })
element.querySelector('button').addEventListener('click', clear)
box.paint = () => painted ? canvas.toDataURL('image/png') : ''
lay()
"""


def brush(over):
    """The brush over the gr.Image whose elem_id is `over`, and a line to clear it; the hidden box of the paint."""
    import gradio as gr  # web.py must be the first to: it sets how

    bar = f'<div class="bar"><span>{HINT}</span><button type="button">{CLEAR}</button></div>'
    gr.HTML(bar, js_on_load=BRUSH % {"over": over, "side": SIDE}, elem_id="brush")
    return gr.Textbox(visible=False)


def take(over, place):
    """The `js=` of an event: puts the paint into the input at `place`, the last one."""
    return f"(...all) => [...all.slice(0, {place}), document.querySelector('#{over}')?.paint?.() ?? '']"


def mask_of(sent, size):
    """What `brush` sent -> a PIL "L" picture of `size`, white where there is paint. Raises PaidiffError."""
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
        raise PaidiffError("涂的读不出来 · cannot read what was painted") from error
    mask.paste(255, mask=strokes.point(lambda value: 255 if value > 32 else 0))
    return mask
