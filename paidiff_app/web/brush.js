// painted over the picture in the box `over`, at most `side` pixels long; `element` is the brush's own line
// the picture comes, goes, and changes its size as gradio likes: the canvas follows it
const box = document.querySelector('#' + over), canvas = document.createElement('canvas'), pen = canvas.getContext('2d')
canvas.className = 'brush'
let picture = '', painted = false, last = null
const clear = () => { pen.clearRect(0, 0, canvas.width, canvas.height); painted = false }
const lay = () => {
  const img = box.querySelector('img')
  if (!img || !img.naturalWidth) { picture = ''; clear(); return canvas.remove() }
  if (img.src !== picture) {
    const scale = side / Math.max(img.naturalWidth, img.naturalHeight)
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
