// painted over the picture in the box `over`, at most `side` pixels long; `element` is the brush's own line
// mouse, pen, finger, or keys: arrows move a ring over it, space paints there; `name` says so to who cannot see it
// the picture comes, goes, and changes its size as gradio likes: the canvas follows it
const box = document.querySelector('#' + over), canvas = document.createElement('canvas'), pen = canvas.getContext('2d')
canvas.className = 'brush'
const size = element.querySelector('input'), ring = document.createElement('div')
ring.className = 'ring'
canvas.tabIndex = 0
canvas.setAttribute('role', 'img')
canvas.setAttribute('aria-label', name)
let picture = '', before = [], last = null, at = [0, 0]  // before: the paint before every stroke
const wipe = () => pen.clearRect(0, 0, canvas.width, canvas.height)
const clear = () => { wipe(); before = [] }
const wide = () => Math.max(canvas.width, canvas.height) * size.value / 100
const begin = () => {
  before.push(pen.getImageData(0, 0, canvas.width, canvas.height))
  if (before.length > 30) before.splice(1, 1)  // the first one is the bare picture: painted is what has others
}
const undo = () => { const paint = before.pop(); if (paint) pen.putImageData(paint, 0, 0) }
const lay = () => {
  const img = box.querySelector('img')
  if (!img || !img.naturalWidth) { picture = ''; clear(); ring.remove(); return canvas.remove() }
  if (img.src !== picture) {
    const scale = side / Math.max(img.naturalWidth, img.naturalHeight)
    picture = img.src
    canvas.width = Math.max(1, Math.round(img.naturalWidth * scale))
    canvas.height = Math.max(1, Math.round(img.naturalHeight * scale))
    clear()
    at = [canvas.width / 2, canvas.height / 2]
    sizes.observe(img)
  }
  if (canvas.parentElement !== box) box.append(canvas, ring)
  const seen = img.getBoundingClientRect(), home = box.getBoundingClientRect()
  const scale = Math.min(seen.width / canvas.width, seen.height / canvas.height)  // object-fit: contain, scale-down
  const across = canvas.width * scale, high = canvas.height * scale
  canvas.style.left = seen.left - home.left - box.clientLeft + (seen.width - across) / 2 + 'px'
  canvas.style.top = seen.top - home.top - box.clientTop + (seen.height - high) / 2 + 'px'
  canvas.style.width = across + 'px'
  canvas.style.height = high + 'px'
}
const sizes = new ResizeObserver(lay)
sizes.observe(box)
new MutationObserver(lay).observe(box, {childList: true, subtree: true, attributes: true, attributeFilter: ['src']})
box.addEventListener('load', lay, true)
const line = (from, to) => {
  pen.lineWidth = wide()
  pen.lineCap = pen.lineJoin = 'round'
  pen.strokeStyle = '#14b8a6'
  pen.beginPath()
  pen.moveTo(...from)
  pen.lineTo(to[0] + 0.1, to[1])  // a line of no length would paint nothing
  pen.stroke()
}
const stroke = event => {
  const seen = canvas.getBoundingClientRect(), scale = canvas.width / seen.width
  at = [(event.clientX - seen.left) * scale, (event.clientY - seen.top) * scale]
  line(last || at, at)
  last = at
}
const place = () => {  // the ring, where the keys paint
  const scale = canvas.clientWidth / canvas.width, far = wide() * scale
  ring.style.width = ring.style.height = far + 'px'
  ring.style.left = canvas.offsetLeft + at[0] * scale - far / 2 + 'px'
  ring.style.top = canvas.offsetTop + at[1] * scale - far / 2 + 'px'
}
const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ' ': [0, 0]}
canvas.addEventListener('keydown', event => {
  if (!moves[event.key] || event.ctrlKey || event.metaKey) return
  event.preventDefault()
  const [x, y] = moves[event.key], far = wide() / 2
  at = [at[0] + x * far, at[1] + y * far].map((value, i) => Math.min(Math.max(value, 0), [canvas.width, canvas.height][i]))
  if (event.key === ' ') { begin(); line(at, at) }
  place()
})
size.addEventListener('input', place)
canvas.addEventListener('pointerdown', event => {
  if (!event.isPrimary || event.button) return
  event.preventDefault()
  canvas.setPointerCapture(event.pointerId)
  last = null
  begin()
  stroke(event)
})
canvas.addEventListener('pointermove', event => { if (last && event.isPrimary) stroke(event) })
for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { last = null })
const press = (name, act) => element.querySelector(`[data-do=${name}]`).addEventListener('click', act)
press('undo', undo)
press('clear', clear)
canvas.addEventListener('focus', place)
box.paint = () => before.length ? canvas.toDataURL('image/png') : ''
lay()
