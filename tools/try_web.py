"""Use the page `paidiff web` as a person would, in a real browser without a window, and keep what was seen.

    pip install selenium; apt-get install chromium chromium-driver fonts-noto-cjk
    paidiff web --loras DIR &          # DIR with at least one LoRA
    python tools/try_web.py http://127.0.0.1:7861 FOLDER

At desktop and phone width: every tab from prompt to picture, a LoRA switched on, a run interrupted, the settings of a
picture taken back, a broken picture, a page no wider than the window, nothing asked of any other machine. Screenshots
go to FOLDER (docs/web.png is its desktop-3-controlnet.png). Stops at the first thing that does not work.
"""

import base64
import io
import json
import shutil
import sys
import time
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

from paidiff_lib.datasets.images import square

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
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
        self.driver.get(url)
        for part in ("#prompt textarea", "#seed input", "#dropped input[type=file]", "#lora input", "#prompts button"):
            self.wait(lambda part=part: self.find(part))  # they come one by one
        self.wait(lambda: "pictures" in self.text("#easel"))

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def wait(self, condition, seconds=40):
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

    def draw(self, task):
        """Press a tab's button; the bytes of the picture that comes of it."""
        self.click(f"#draw-{task}")
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
        return self.driver.execute_script("return document.querySelector('#inpaint-picture').paint()")

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
    browser.shot("0-start")
    browser.write("#seed input", "3")
    browser.write("#steps input[type=number]", "10")

    plain = browser.draw("text2img")
    assert b"parameters" in plain
    browser.shot("1-text2img")
    say(browser, "文生图 text2img")

    browser.choose("#lora", lambda text: "none" not in text)
    styled = browser.draw("text2img")
    assert styled != plain and b"<lora:" in styled
    browser.shot("2-lora")
    kept = browser.folder / f"{browser.name}-kept.png"
    kept.write_bytes(styled)
    browser.choose("#lora", lambda text: "none" in text)
    assert browser.draw("text2img") == plain
    say(browser, "LoRA 换上又换下 · switched on and off again: the very picture of before")

    use_tab(browser, "img2img", "图生图", plain)
    use_tab(browser, "inpaint", "局部重绘", plain)
    use_tab(browser, "controlnet", "ControlNet", plain)
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
    assert len(browser.all("#gallery .grid-wrap img, #gallery .thumbnail-item img")) >= 2
    browser.shot("5-stopped", "#easel")

    browser.write("#prompt textarea", "别的")
    browser.upload("#dropped", kept)
    browser.wait(lambda: "settings taken back" in browser.text("#report"))
    assert browser.find("#prompt textarea").get_attribute("value") == "雪地里的两只企鹅"
    assert browser.find("#steps input[type=number]").get_attribute("value") == "10"
    assert browser.draw("text2img") == styled
    browser.shot("6-restored", "#model")
    say(browser, "设置取回,再画一张,逐字节相同 · settings taken back, drawn again: the same bytes")

    browser.write("#width input", "100")
    browser.click("#draw-text2img")
    browser.wait(lambda: browser.find("#easel .wrong"))
    say(browser, browser.text("#easel .wrong"))
    browser.shot("7-wrong", "#easel")
    browser.write("#width input", "128")
    browser.write("#prompt textarea", "一只猫," * 30)
    browser.draw("text2img")
    say(browser, browser.text("#easel .hint"))
    browser.press(browser.all("#prompts button")[-1])
    browser.wait(lambda: browser.find("#prompt textarea").get_attribute("value") == "蝴蝶,对称美感,数字艺术")
    browser.shot("8-prompts", "#prompts")
    broken = browser.folder / "broken.png"
    broken.write_bytes(PICTURE.read_bytes()[:300])
    browser.click("#dropped button[aria-label]")
    browser.upload("#dropped", broken)
    browser.wait(lambda: browser.find("#report .wrong"))
    say(browser, browser.text("#report .wrong"))

    wide = browser.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], wide
    browser.asked()
    assert not browser.strangers, browser.strangers
    say(browser, f"宽 width {wide[0]} / {wide[1]} · 只问过这一台 no other machine was asked")


def use_tab(browser, task, name, plain):
    browser.tab(name)
    browser.upload(f"#{task}-picture", PICTURE)
    browser.wait(lambda: browser.find(f"#{task}-picture img").get_property("naturalWidth"))
    if task == "inpaint":
        browser.click("#draw-inpaint")
        say(browser, browser.wait(lambda: browser.text("#easel .wrong")))
        paint(browser)
        browser.click("#brush button")
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


def main(url, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in SIZES.items():
        browser = Browser(url, size, folder, name)
        try:
            use(browser)
        except BaseException:
            browser.shot("failed", "#easel")
            raise
        finally:
            browser.driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
