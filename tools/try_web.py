"""Use the page `paidiff web` as a person would, in a real browser without a window, and keep what was seen.

    pip install selenium; apt-get install chromium chromium-driver fonts-noto-cjk; npm install axe-core
    paidiff web --loras DIR --output KEPT &          # DIR with at least two LoRAs
    python tools/try_web.py http://127.0.0.1:7861 FOLDER node_modules/axe-core/axe.min.js

At desktop and phone width, light and dark: every tab from prompt to picture, chips and dice, LoRAs, hires, the history,
what is done with a picture, the brush, a run interrupted, settings taken back, a broken picture, the keyboard alone;
axe's serious findings (without its file, not asked), a page no wider than the window, nothing asked of any other
machine, the bytes before the first paint. Screenshots go to FOLDER (docs/web.png is its desktop-3-controlnet.png).
Stops at the first thing that does not work.
"""

import base64
import io
import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from PIL import Image, ImageChops
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from paidiff_app.web.brush import mask_of
from paidiff_lib.datasets.images import square

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = {"desktop": "light", "phone": "dark"}  # of the run; axe looks at the other one too
STEPS = "4"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
OURS = "#head, .easel, .bar, .brush, .ring, .chips, #stop, [id^=draw-]"  # our own markup, and what we colour
AXE = """const [ours, rules, done] = arguments
const look = (id, node) => [id, Boolean(document.querySelector(node.target.at(-1))?.closest(ours)), node.html.slice(0, 90)]
axe.run({runOnly: rules}).then(({violations}) => done(violations.filter(one => ['serious', 'critical'].includes(one.impact))
  .flatMap(one => one.nodes.map(node => look(one.id, node)))))"""
PAINT = """const at = performance.getEntriesByName('first-contentful-paint')[0].startTime
const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
const before = all.filter(one => one.responseEnd <= at)
return [Math.round(at), before.length, before.reduce((sum, one) => sum + one.transferSize, 0)]"""
PICTURE = Path(__file__).resolve().parents[1] / "data/penguins.png"


class Browser:
    def __init__(self, url, size, folder, name):
        options = webdriver.ChromeOptions()
        for argument in ("headless=new", "no-sandbox", "lang=zh-CN", "disable-background-networking", "disable-gpu"):
            options.add_argument(f"--{argument}")
        driver = webdriver.ChromeService(shutil.which("chromedriver"))  # else selenium asks the network for one
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver, self.folder, self.name, self.url = webdriver.Chrome(options, driver), folder, name, url
        self.strangers = set()  # addresses outside the page's own that the browser asked for
        # the emulation sets the viewport itself: a window has a smallest width
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": name == "phone"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.scheme(SCHEMES[name])
        self.driver.get(url)
        for part in ("#prompt textarea", "#seed input", "#dropped input[type=file]", "#lora input", ".chips label"):
            self.wait(lambda part=part: self.find(part))  # they come one by one
        self.wait(lambda: "pictures" in self.text("#easel"))

    def scheme(self, value):
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def wait(self, condition, seconds=300):
        def quiet(driver):
            try:
                return condition()
            except Exception:  # not there yet, or just replaced
                return False

        return WebDriverWait(self.driver, seconds, 0.1).until(quiet)

    def click(self, css):
        self.press(self.wait(lambda: self.find(css)))

    def press(self, element):
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self.driver.execute_script("arguments[0].click()", element)

    def write(self, css, text):
        field = self.find(css)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)
        field.send_keys(Keys.TAB)

    def choose(self, css, wanted):
        """The first entry of a dropdown for which wanted(its text) is true."""
        field = self.find(f"{css} input")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.click()
        entries = self.wait(lambda: [e.get_attribute("aria-label") for e in self.all("[role=option]")])
        text = next(text for text in entries if wanted(text))
        chosen = next(e for e in self.all("[role=option]") if e.get_attribute("aria-label") == text)
        self.driver.execute_script("arguments[0].dispatchEvent(new MouseEvent('mousedown', {bubbles: true}))", chosen)
        self.wait(lambda: field.get_attribute("value") == text)

    def tab(self, text):
        """A tab; on a phone some are in the overflow menu."""

        def shown():
            found = self.all("button[role=tab], .overflow-dropdown button")
            return [e for e in found if text in e.get_attribute("textContent")]

        buttons = [e for e in shown() if e.is_displayed()]
        if not buttons:
            self.press(self.find(".overflow-menu button"))
            buttons = [e for e in shown() if e.is_displayed()]
        self.press(buttons[0])

    def upload(self, css, path):
        self.wait(lambda: self.find(f"{css} input[type=file]")).send_keys(str(path))

    def text(self, css):
        return self.find(css).get_attribute("textContent")

    def value(self, css):
        return self.find(css).get_attribute("value")

    def keys(self, *keys):
        """Keys, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def draw(self, task, press=None):
        """Press a tab's button; the bytes of the picture that comes of it."""
        (press or (lambda: self.click(f"#draw-{task}")))()
        self.wait(lambda: "step" in self.text("#easel") or self.all("#easel .wrong"))
        self.wait(lambda: "done" in self.text("#easel") or self.all("#easel .wrong"))
        assert not self.all("#easel .wrong"), self.text("#easel")
        time.sleep(0.5)
        return urlopen(self.find("#gallery img").get_attribute("src")).read()

    def shot(self, what, top="body"):
        self.driver.execute_script("document.querySelector(arguments[0]).scrollIntoView({block: 'start'})", top)
        time.sleep(0.6)
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        (self.folder / f"{self.name}-{what}.png").write_bytes(base64.b64decode(shot))

    def painted(self):
        """Whether what the brush would send holds any paint."""
        sent = self.driver.execute_script("return document.querySelector('#inpaint-picture').paint()")
        return bool(sent) and mask_of(sent, (512, 512)).getbbox()

    def asked(self):
        """Every address that the browser asked for since this was called last; keeps the strangers among them."""
        found = []
        for line in self.driver.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        found = [url for url in found if urlsplit(url).scheme in ("http", "https", "ws", "wss")]
        self.strangers |= {url for url in found if urlsplit(url).netloc != urlsplit(self.url).netloc}
        return found


def say(browser, text):
    print(f"{browser.name}: {text}", flush=True)


def use(browser):
    paint = browser.driver.execute_script(PAINT)
    say(browser, f"第一笔前 before the first paint: {paint[0]} ms, {paint[1]} files, {paint[2] / 1e6:.2f} MB")
    browser.shot("0-start")
    use_chips(browser)
    browser.write("#seed input", "3")
    browser.write("#steps input[type=number]", STEPS)
    plain = use_text2img(browser)
    styled = use_loras(browser, plain)
    use_pictures(browser, plain, styled)
    use_tab(browser, "img2img", "图生图", plain)
    use_tab(browser, "inpaint", "局部重绘", plain)
    use_tab(browser, "controlnet", "ControlNet", plain)
    interrupt(browser)
    take_back(browser, styled)
    go_wrong(browser)
    wide, shown = browser.driver.execute_script("return document.documentElement.scrollWidth"), SIZES[browser.name][0]
    assert wide <= shown, wide  # not innerWidth: on a phone that grows with the page
    browser.asked()
    assert not browser.strangers, browser.strangers
    say(browser, f"宽 width {wide} / {shown} · 只问过这一台 no other machine was asked")


def use_chips(browser):
    """Chips and the dice write the prompt; it opens with one that says no hint."""
    assert browser.value("#prompt textarea") == "雪地里的两只企鹅"
    chip = next(one for one in browser.all(".chips label") if one.get_attribute("textContent").strip() == "熊猫")
    browser.press(chip)
    browser.wait(lambda: browser.value("#prompt textarea") == "两只熊猫,雪地")
    browser.click("#prompt .custom-button")
    browser.wait(lambda: browser.value("#prompt textarea") != "两只熊猫,雪地")
    say(browser, f"筹码 chips: 两只熊猫,雪地 · 骰子 dice: {browser.value('#prompt textarea')}")
    browser.write("#prompt textarea", "雪地里的两只企鹅")
    browser.wait(lambda: browser.text(".chips label.selected").strip() == "企鹅")


def use_text2img(browser):
    plain = browser.draw("text2img")
    assert b"parameters" in plain and not browser.all("#stop")
    browser.shot("1-text2img")
    field = browser.find("#prompt textarea")
    assert browser.draw("text2img", lambda: field.send_keys(Keys.CONTROL, Keys.ENTER)) == plain
    say(browser, "文生图 text2img; Ctrl+Enter 画出同一张 draws the same")
    browser.click("#hires input")
    twice = browser.draw("text2img")
    with Image.open(io.BytesIO(twice)) as image:
        assert image.size == (256, 256)
    browser.shot("1-hires", "#easel")
    browser.click("#hires input")
    say(browser, "放大重画 hires: 256x256")
    return plain


def use_loras(browser, plain):
    browser.choose("#lora", lambda text: "none" not in text)
    styled = browser.draw("text2img")
    assert styled != plain and styled.count(b"<lora:") == 1
    browser.wait(lambda: browser.find("#lora-2 input"))
    browser.choose("#lora-2", lambda text: "porcelain" in text)
    browser.write("#lora-scale-2 input[type=number]", "0.5")
    two = browser.draw("text2img")
    assert two != styled and two.count(b"<lora:") == 2 and b":0.5>" in two
    browser.shot("2-loras")
    browser.choose("#lora-2", lambda text: "none" in text)
    browser.choose("#lora", lambda text: "none" in text)
    assert browser.draw("text2img") == plain
    say(browser, "两个 LoRA 换上又换下 · two LoRAs switched on and off again: the very picture of before")
    return styled


def use_pictures(browser, plain, styled):
    """The history, the seed, side by side, and from a picture on."""
    browser.write("#seed input", "-1")
    browser.click("#reuse")
    browser.wait(lambda: browser.value("#seed input") == "3")
    browser.click("#pin")
    browser.wait(lambda: browser.all("#compare img"))
    browser.press(browser.all("#history .thumbnail-item")[2])  # none is newest, then two, then one
    browser.wait(lambda: "none" not in browser.value("#lora input"))
    browser.wait(lambda: len(browser.all("#compare img")) == 2 and "LoRA" in browser.text("#differs"))
    assert browser.draw("text2img") == styled
    browser.shot("2-compare", "#compare")
    say(browser, f"历史一点就回来 a click in the history; 并排 side by side: {browser.text('#differs').strip()}")
    browser.choose("#lora", lambda text: "none" in text)
    for task in ("img2img", "inpaint", "controlnet"):
        browser.click(f"#{task}")
        browser.wait(lambda task=task: browser.find(f"#{task}-picture img").get_property("naturalWidth"))
        drawn_on = browser.find(f"#{task}-picture img").get_attribute("src")
        assert urlopen(drawn_on).read() == styled
        browser.click(f"#{task}-picture button[aria-label]")
    say(browser, "送去三处 sent to img2img, inpaint, ControlNet")


def interrupt(browser):
    browser.tab("文生图")
    browser.write("#steps input[type=number]", "60")
    browser.write("#n input[type=number]", "3")
    browser.asked()
    browser.click("#draw-text2img")
    browser.wait(lambda: "2 / 3" in browser.text("#easel") and browser.find("#easel img"))
    assert not [url for url in browser.asked() if "upload" in url]  # pictures in other tabs are not sent again
    browser.shot("4-drawing", "#easel")
    begun = time.monotonic()
    browser.click("#stop")
    browser.wait(lambda: "stopped" in browser.text("#easel"))
    say(browser, f"停 interrupted: {time.monotonic() - begun:.1f} s · {browser.text('#easel').strip()}")
    browser.wait(lambda: not browser.all("#stop"))
    assert len(browser.all("#gallery .grid-wrap img, #gallery .thumbnail-item img")) >= 2
    browser.shot("5-stopped", "#easel")


def take_back(browser, styled):
    kept = browser.folder / f"{browser.name}-kept.png"
    kept.write_bytes(styled)
    browser.write("#prompt textarea", "别的")
    browser.upload("#dropped", kept)
    browser.wait(lambda: "settings taken back" in browser.text("#report"))
    browser.wait(lambda: browser.value("#prompt textarea") == "雪地里的两只企鹅")
    assert browser.value("#steps input[type=number]") == STEPS
    assert browser.draw("text2img") == styled
    browser.shot("6-restored", "#model")
    say(browser, "设置取回,再画一张,逐字节相同 · settings taken back, drawn again: the same bytes")


def go_wrong(browser):
    browser.write("#width input", "100")
    browser.click("#draw-text2img")
    browser.wait(lambda: browser.find("#easel .wrong"))
    say(browser, browser.text("#easel .wrong"))
    browser.shot("7-wrong", "#easel")
    browser.tab("图生图")
    browser.wait(lambda: not browser.all("#easel .wrong"))
    browser.tab("文生图")
    browser.write("#width input", "128")
    browser.choose("#lora", lambda text: "none" in text)
    browser.write("#prompt textarea", "山水,草地," + "一只猫," * 30)
    browser.draw("text2img")
    browser.shot("7-hints", "#easel")
    say(browser, " | ".join(one.get_attribute("textContent") for one in browser.all("#easel .hint")))
    browser.press(browser.all("#prompts .gallery-item, #prompts button.gallery-item, #prompts .gallery button")[-1])
    browser.wait(lambda: browser.value("#prompt textarea") == "蝴蝶,对称美感,数字艺术")
    assert len([one for one in browser.all("#prompts button") if "✓" in one.get_attribute("textContent")]) > 1
    browser.shot("8-prompts", "#prompts")
    broken = browser.folder / "broken.png"
    broken.write_bytes(PICTURE.read_bytes()[:300])
    browser.click("#dropped button[aria-label]")
    browser.upload("#dropped", broken)
    browser.wait(lambda: browser.find("#report .wrong"))
    say(browser, browser.text("#report .wrong"))


def use_keyboard(browser):
    """Without a mouse: from the prompt over a chip to a picture, and a stroke in the middle of another."""
    browser.driver.refresh()
    browser.wait(lambda: browser.find(".chips label.selected"))
    browser.find("#prompt textarea").send_keys(Keys.CONTROL, "a")
    browser.keys("雪地里的一只猫")
    browser.wait(lambda: browser.text(".chips label.selected").strip() == "猫")
    for _ in range(12):
        browser.keys(Keys.TAB)
        if browser.driver.switch_to.active_element.get_attribute("type") == "radio":
            break
    browser.keys(Keys.TAB, Keys.TAB, Keys.SPACE)  # Gradio makes every radio a stop of its own: none, 猫, 狗
    browser.wait(lambda: "狗" in browser.value("#prompt textarea"))
    browser.draw(
        "text2img",
        lambda: (
            ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
        ),
    )
    browser.find("#inpaint").send_keys(Keys.ENTER)
    canvas = browser.wait(lambda: browser.find("#inpaint-picture canvas"))
    canvas.send_keys(" ", Keys.ARROW_RIGHT, " ")
    assert browser.painted()
    browser.shot("9-keyboard", "#inpaint-picture")
    for _ in range(2):
        browser.find("[data-do=undo]").send_keys(Keys.ENTER)
    assert not browser.painted()
    canvas.send_keys(" ")
    browser.draw(
        "inpaint",
        lambda: (
            ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
        ),
    )
    say(browser, "只用键盘 by keyboard alone: 提示词、筹码、画、重绘 prompt, chip, draw, inpaint")


def look(browser, axe):
    """axe's serious findings: none in our own markup, Gradio's named."""
    browser.driver.set_script_timeout(120)
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.driver.refresh()
        browser.wait(lambda: browser.all("#history img"))
        browser.press(browser.find("#history .thumbnail-item"))
        browser.wait(lambda: browser.text("#easel").strip().startswith("设置取回"))
        browser.press(browser.find("#inpaint"))
        browser.wait(lambda: browser.find("#inpaint-picture canvas"))
        browser.shot(f"axe-{scheme}")
        browser.driver.execute_script(axe)
        found = browser.driver.execute_async_script(AXE, OURS, RULES)
        ours, theirs = ([one for one in found if one[1] is mine] for mine in (True, False))
        say(browser, f"axe {scheme}: 我们的 ours {len(ours)}, Gradio 的 Gradio's {Counter(one[0] for one in theirs)}")
        for rule, html in {one[0]: one[2] for one in theirs}.items():
            say(browser, f"    {rule}: {html}")
        assert not ours, ours


def use_tab(browser, task, name, plain):
    browser.tab(name)
    browser.upload(f"#{task}-picture", PICTURE)
    browser.wait(lambda: browser.find(f"#{task}-picture img").get_property("naturalWidth"))
    if task == "inpaint":
        browser.click("#draw-inpaint")
        say(browser, browser.wait(lambda: browser.text("#easel .wrong")))
        paint(browser)
        browser.click("[data-do=undo]")
        assert not browser.painted()
        paint(browser)
        paint(browser)
        browser.click("[data-do=clear]")
        assert not browser.painted()
        paint(browser)
    if task == "controlnet":
        browser.wait(lambda: browser.find("#edges img"))
    drawn = browser.draw(task)
    assert drawn != plain
    if task == "inpaint":
        differs = changed(drawn)
        assert max(differs["left"]) == 0 < max(differs["middle"]), differs
    browser.shot(f"3-{task}")
    say(browser, f"{name} {task}")


def paint(browser):
    """A stroke down the middle, with a finger on the phone; nothing is asked of the server while painting."""
    canvas = browser.wait(lambda: browser.find("#inpaint-picture canvas"))
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    kind = "touch" if browser.name == "phone" else "mouse"
    pen = ActionChains(browser.driver, devices=[PointerInput(kind, kind)])
    browser.asked()
    pen.move_to_element_with_offset(canvas, 0, -canvas.size["height"] // 3).click_and_hold()
    for step in range(12):
        pen.move_by_offset(4 if step % 2 else -4, canvas.size["height"] // 20)
    pen.release().perform()
    assert browser.painted() and not browser.asked()


def changed(drawn):
    """How much the drawing differs from PICTURE, at the left edge and in the middle: {place: [per channel]}."""
    with Image.open(io.BytesIO(drawn)) as now, Image.open(PICTURE) as before:
        side = now.width
        before = square(before.convert("RGB"), side)
        apart = ImageChops.difference(now.convert("RGB"), before)
        boxes = {"left": (0, 0, side // 4, side), "middle": (side // 3, side // 3, 2 * side // 3, 2 * side // 3)}
        return {place: [most for _, most in apart.crop(box).getextrema()] for place, box in boxes.items()}


def main(url, folder, axe=None):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in SIZES.items():
        begun, browser = time.monotonic(), Browser(url, size, folder, name)
        try:
            use(browser)
            use_keyboard(browser)
            if axe:
                look(browser, Path(axe).read_text(encoding="utf-8"))
            say(browser, f"{time.monotonic() - begun:.0f} s")
        except BaseException:
            browser.shot("failed", "#easel")
            raise
        finally:
            browser.driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
