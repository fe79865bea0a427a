"""paidiff web, asked over a real socket by gradio's own client, as the page asks."""

import base64
import io
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
from conftest import refused
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw

import paidiff_lib as paidiff
from paidiff_app.engine import Engine, GenerationRequest, Job
from paidiff_app.infotext import infotext, parse, png, settings_in
from paidiff_app.labels import ANY, NONE, OPENING
from paidiff_app.web import app as web, history
from paidiff_app.web.brush import PNG
from paidiff_app.web.handlers import Handlers
from paidiff_app.web.page import API, SHARED
from paidiff_lib.errors import PaidiffError

ASK = dict(
    prompt="雪地里的企鹅",
    negative="",
    model=None,
    lora=NONE,
    scale=1.0,
    words=[],
    kind=ANY,
    seed=5,
    steps=2,
    guidance=3.0,
    width=64,
    height=64,
    count=1,
    lora2=NONE,
    scale2=1.0,
    lora3=NONE,
    scale3=1.0,
)
TOKEN = "correct-horse-battery"


@contextmanager
def serving(engine, token=None):
    listening = socket.create_server(("127.0.0.1", 0))
    server = web.make_server(web.make_app(engine, token))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def engine(tiny_folder, loras):
    engine = Engine(str(tiny_folder), loras)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def url(engine):
    with serving(engine) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


@pytest.fixture
def picture(tmp_path):
    Image.effect_noise((80, 64), 60).convert("RGB").save(tmp_path / "start.png")
    return tmp_path / "start.png"


def ask(client, task, *own, **wanted):
    """(the last line, [PIL picture]) of a drawing; the pictures are as they lie on the server."""
    filled = {**ASK, "model": "model", **wanted}
    job = client.submit(*filled.values(), *own, api_name=f"/{API.get(task, task)}")
    line = job.result(600)[0]
    galleries = [out[1] for out in job.outputs() if isinstance(out[1], list) or "value" in out[1]]
    shown = (galleries[-1] if isinstance(galleries[-1], list) else galleries[-1]["value"]) if galleries else []
    return line, [Image.open(one["image"]) for one in shown]


def test_text_to_image_draws_what_the_library_draws_and_says_how(client, tiny):
    line, drawn = ask(client, "text2img", count=2)
    alone = [
        paidiff.draw(tiny, "雪地里的企鹅", seed=seed, steps=2, guidance=3.0) for seed in (5, 6)
    ]  # two at once may round otherwise
    assert [one.tobytes() for one in drawn] == [one.tobytes() for one in alone]
    assert settings_in(drawn[1]) | {"Seed": "6", "Steps": "2", "Prompt": "雪地里的企鹅"} == settings_in(drawn[1])
    assert "done: 2" in line


def test_who_fills_in_the_first_thirteen_fields_gets_a_picture(client):
    """As lesson 10 does; what came later has a value of its own."""
    filled = [*{**ASK, "model": "model"}.values()][:13]
    assert "done: 1" in client.submit(*filled, api_name="/txt2img").result(600)[0]


def test_a_lora_is_switched_on_and_off(client):
    plain, styled, again = (ask(client, "text2img", lora=lora)[1][0] for lora in (NONE, "porcelain", NONE))
    assert plain.tobytes() == again.tobytes() != styled.tobytes()
    assert settings_in(styled)["LoRA"] == [("porcelain", "1")]


def test_image_to_image_follows_the_picture(client, picture):
    drawn = ask(client, "img2img", handle_file(picture), 0.5, steps=4)[1][0]
    Image.new("RGB", (64, 64), "red").save(picture)
    assert ask(client, "img2img", handle_file(picture), 0.5, steps=4)[1][0].tobytes() != drawn.tobytes()
    assert settings_in(drawn)["Denoising strength"] == "0.5"


def painted(picture):
    """As the page's brush sends it."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return PNG + base64.b64encode(data.getvalue()).decode()


def test_inpainting_leaves_what_was_not_painted(client, tmp_path):
    start = Image.effect_noise((64, 64), 60).convert("RGB")
    start.save(tmp_path / "start.png")
    paint = Image.new("RGBA", (512, 512))
    ImageDraw.Draw(paint).rectangle((256, 0, 512, 512), fill="white")
    drawn = ask(client, "inpaint", handle_file(tmp_path / "start.png"), 1.0, 0, painted(paint))[1][0]
    halves = [(0, 0, 32, 64), (32, 0, 64, 64)]
    assert [drawn.crop(half).tobytes() == start.crop(half).tobytes() for half in halves] == [True, False]


@pytest.mark.parametrize(
    "paint, said",
    [
        ("", "先在图上涂出要重画的地方"),
        (painted(Image.new("RGBA", (64, 64))), "先在图上涂出要重画的地方"),
        (painted(Image.new("RGBA", (5000, 5000), "white")), "涂的读不出来"),
        (painted(Image.new("RGBA", (64, 64)))[:60], "涂的读不出来"),
        (PNG + "%", "涂的读不出来"),
        (PNG + "A" * 2**21, "涂的读不出来"),
        ("file:///etc/passwd", "涂的读不出来"),
    ],
)
def test_no_paint_and_bad_paint_are_one_line(client, picture, paint, said):
    line = ask(client, "inpaint", handle_file(picture), 1.0, 0, paint)[0]
    assert said in line and " · " in line


@pytest.mark.parametrize(
    "wanted, said",
    [
        ({"width": 100}, "试试 try 96x64 或 or 104x64"),
        ({"width": 2000}, "宽和高最多 256"),
        ({"prompt": " "}, "提示词是空的"),
        ({"prompt": "猫" * 40}, "一次读 14 个"),
        ({"prompt": "猫" * 3000}, "提示词最多 2000 字"),
        ({"seed": 2**60}, "种子最大"),
    ],
)
def test_what_is_wrong_is_one_line_in_both_languages(client, wanted, said):
    line = ask(client, "text2img", **wanted)[0]
    assert said in line and " · " in line and "Traceback" not in line


def test_a_broken_picture_is_one_line(client, picture):
    picture.write_bytes(picture.read_bytes()[:200])
    assert "图片读不出来" in ask(client, "img2img", handle_file(picture), 0.5)[0]
    assert "先放一张图" in ask(client, "img2img", None, 0.5)[0]
    assert "图片读不出来" in client.predict(handle_file(picture), api_name="/settings")[-1]


def test_settings_come_back_out_of_a_picture(client, tmp_path):
    drawn = ask(client, "text2img", lora="porcelain", scale=0.5, negative="模糊,狗: 猫", seed=9, kind="Euler")[1][0]
    path = tmp_path / "drawn.png"
    path.write_bytes(open(drawn.filename, "rb").read())
    back = client.predict(handle_file(path), api_name="/settings")
    fields = [one["value"] if isinstance(one, dict) and "value" in one else one for one in back[:17]]
    assert fields[:2] == ["雪地里的企鹅", "模糊,狗: 猫"] and fields[3:10] == ["porcelain", 0.5, [], "Euler", 9, 2, 3.0]
    assert ask(client, "text2img", **dict(zip(ASK, fields)))[1][0].tobytes() == drawn.tobytes()


def test_infotext_reads_back_what_it_wrote_and_what_serve_wrote():
    settings = {"steps": 3, "guidance": 4.5, "size": (64, 72), "sampler": "Euler a", "strength": 0.3}
    settings |= {"model": 'odd, "name": x', "lora": "a b", "lora_scale": 0.8}
    text = infotext(GenerationRequest("一\n二", "不要,\n这个", **settings), 7, {"Task": "img2img"})
    found = parse(text)
    assert (
        found["Prompt"] == "一\n二" and found["Negative prompt"] == "不要,\n这个" and found["LoRA"] == [("a b", "0.8")]
    )
    assert (found["Model"], found["Size"], found["Sampler"]) == ('odd, "name": x', "64x72", "Euler a")
    assert parse("只有一句话") == {} == parse("")
    assert settings_in(Image.open(io.BytesIO(png(Image.new("RGB", (8, 8)), text))))["Seed"] == "7"


WEBUI = """雪地里的企鹅 <lora:porcelain:0.5> <lora:no-such:1>
Negative prompt: 模糊
Steps: 3, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 30, Seed: 9, Size: 64x72, Model hash: 1a2b, Clip skip: 2"""


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    "head, code", [(b"UNICODE\0", "utf-16-be"), (b"UNICODE\0", "utf-16-le"), (b"ASCII\0\0\0", "utf-8")]
)
def test_a_photo_of_the_webui_gives_its_settings_back_and_says_what_it_cannot(client, tmp_path, kind, head, code):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = head + WEBUI.encode(code)
    path = tmp_path / f"photo.{kind.lower()}"
    Image.new("RGB", (64, 64)).save(path, kind, exif=exif)
    back = client.predict(handle_file(path), api_name="/settings")
    fields = [one["value"] if isinstance(one, dict) and "value" in one else one for one in back[:13]]
    assert fields[:2] == ["雪地里的企鹅", "模糊"] and fields[3:9] == ["porcelain", 0.5, [], "DPM++ 2M Karras", 9, 3]
    for missed in ("no-such", "Clip skip: 2", "CFG scale: 30"):
        assert missed in back[-1], back[-1]
    assert "1a2b" not in back[-1]  # a hash sets nothing


def test_chips_and_a_dice_write_the_prompt(engine):
    handlers, values = Handlers(engine), {"prompt": "雪地里的企鹅", "model": "model", "chip_background": "草地"}
    shown = {name: field.value for name, field in handlers.chips(values, "").items() if name != "chips"}
    chips = dict(chip_subject="企鹅", chip_background="雪地", chip_style="", chip_colour="", chip_count="")
    assert shown == chips
    assert handlers.write("background")(values, "") == {"prompt": "草地里的企鹅"}
    thrown = handlers.throw(values, "")
    assert engine.drawable([thrown["prompt"]], "model") == [True]


def test_a_model_without_a_list_has_no_chips_and_a_dice_of_the_gallery(engine, monkeypatch):
    handlers = Handlers(engine)
    monkeypatch.setattr(engine, "words", lambda model=None: {})
    assert handlers.chips({"prompt": "猫", "model": "model"}, "")["chips"].visible is False
    assert handlers.throw({"model": "model"}, "")["prompt"] in [one["prompt"] for one in handlers.prompts]


def test_of_the_gallery_those_that_can_be_drawn_are_marked(engine):
    marks = Handlers(engine).marks("mini")
    assert len(marks) == 36 and [mark[2:] for mark in marks if mark.startswith("✓")] == [
        "魔法药瓶",
        "白色小狐狸,扁平画风",
    ]
    assert engine.drawable([OPENING], "mini") == [True]


def test_another_model_brings_its_own_words(engine):
    fields = Handlers(engine).suit({"prompt": "一只马", "model": "mini"}, "")
    assert fields["chip_subject"].value == "马" and len(fields["chip_subject"].choices) > 100
    assert "✓ 魔法药瓶" in fields["gallery_prompts"].sample_labels


@pytest.fixture
def drawn(engine):
    """(handlers, values, a function that draws): the page without a browser."""
    handlers, values = Handlers(engine), dict(zip(SHARED, {**ASK, "model": "model"}.values())) | {"hires": False}

    def draw(**changes):
        *_, last = handlers.draw("text2img")(values | changes, "me")
        return last

    return handlers, values, draw


def test_the_button_to_stop_is_there_only_while_something_runs(drawn):
    handlers, values, draw = drawn
    assert handlers.ready(values, "me")["stop"].visible and handlers.pages["me"].stop
    assert not draw()["stop"].visible and handlers.pages["me"].stop is None
    handlers.ready(values, "me")
    wrong = draw(width=100)
    assert not wrong["stop"].visible and "试试" in wrong["easel"]


def test_what_was_wrong_leaves_with_its_tab(drawn):
    handlers, values, draw = drawn
    assert "pictures appear here" in handlers.leave({"easel": draw(width=100)["easel"]}, "me")["easel"]
    assert not isinstance(handlers.leave({"easel": draw()["easel"]}, "me")["easel"], str)


def test_a_click_in_the_history_brings_a_picture_and_its_settings_back(drawn):
    handlers, values, draw = drawn
    draw(seed=7, guidance=4.0)
    draw(prompt="猫", seed=8)
    first = handlers.pages["me"].pictures[1][0]
    back = handlers.take({}, "me", 1)
    assert (back["prompt"], back["seed"], back["guidance"]) == ("雪地里的企鹅", 7, 4.0)
    assert back["gallery"].value and "Seed: 7" in back["infotext"] and handlers.pages["me"].chosen()[0] == first
    assert "不在了" in handlers.take({}, "me", 9)["report"]
    assert handlers.open(values, "another")["history"] == []


def test_the_history_ends_somewhere_and_goes_with_its_page(drawn, monkeypatch):
    handlers, values, draw = drawn
    monkeypatch.setattr(history, "KEPT", 2)
    draw(n=3)
    page = handlers.pages["me"]
    assert [caption for _, caption in page.pictures] == ["seed 7", "seed 6"]
    assert len([*page.folder.rglob("*.png")]) == 2
    handlers.pages.forget("me")
    assert not page.folder.exists() and "me" not in handlers.pages


def test_a_folder_keeps_every_picture_with_its_settings(engine, drawn, tmp_path):
    _, values, _ = drawn
    folder = tmp_path / "new/kept"
    for count in (1, 2):  # the second time as after a restart
        handlers = Handlers(engine, folder)
        [*handlers.draw("text2img")(values | {"n": count}, "me")]
    assert sorted(path.name for path in folder.iterdir()) == ["00001-5.png", "00002-5.png", "00003-6.png"]
    with Image.open(folder / "00003-6.png") as image:
        assert settings_in(image)["Seed"] == "6"
    opened = Handlers(engine, folder)
    assert [caption for _, caption in opened.open(values, "new")["history"]] == ["seed 6", "seed 5", "seed 5"]
    assert opened.take({}, "new", 0)["seed"] == 6
    (tmp_path / "file").touch()
    refused(["cannot write there"], lambda: Handlers(engine, tmp_path / "file/in"))


def test_a_full_disk_takes_no_picture_away(engine, drawn, tmp_path, monkeypatch):
    _, values, _ = drawn
    handlers = Handlers(engine, tmp_path)
    monkeypatch.setattr(history, "write_png", lambda *_: (_ for _ in ()).throw(PaidiffError("满了", "full")))
    *_, shown, last = handlers.draw("text2img")(values, "me")
    assert shown["gallery"].value and "满了 · full" in last["easel"] and not last["stop"].visible


def test_of_too_many_pages_the_oldest_idle_one_is_forgotten(engine, monkeypatch):
    monkeypatch.setattr(history, "PAGES", 2)
    pages = history.Pages()
    pages["busy"].stop = threading.Event()
    first, second = pages["first"], pages["second"]
    assert [*pages] == ["busy", "second"] and not first.folder.exists() and second.folder.exists()


def test_a_seed_is_used_again_and_a_picture_is_sent_on(drawn):
    handlers, values, draw = drawn
    assert "先画一张" in handlers.reuse({}, "me")["easel"] and "先画一张" in handlers.send("inpaint")({}, "me")["easel"]
    draw(seed=-1, n=2)
    handlers.choose({}, "me", 1)
    path, caption = handlers.pages["me"].chosen()
    assert handlers.reuse({}, "me") == {"seed": int(caption.removeprefix("seed "))}
    for task in ("img2img", "inpaint", "controlnet"):
        sent = handlers.send(task)({}, "me")
        assert sent[f"{task}_image"] == path and sent["tabs"].selected == task


def test_two_settings_stand_side_by_side(drawn):
    handlers, values, draw = drawn
    draw()
    assert "pinned" in handlers.pin({}, "me")["differs"]
    *_, shown, _ = handlers.draw("text2img")(values | {"guidance": 7.0}, "me")
    assert "CFG scale: 3 → 7" in shown["differs"] and "Seed" not in shown["differs"]
    assert [one["caption"] for one in shown["compare"].value] == ["A · seed 5", "B · seed 5"]
    handlers.choose({}, "me", 0)
    draw()
    assert "the same settings" in handlers.choose({}, "me", 0)["differs"]


def test_several_loras_with_their_scales(client):
    one = {"lora": "porcelain", "scale": 0.5}
    alone = ask(client, "text2img", **one)[1][0]
    twice = ask(client, "text2img", **one, lora2="porcelain", scale2=0.5)[1][0]
    assert settings_in(twice)["LoRA"] == [("porcelain", "0.5")] * 2
    whole = ask(client, "text2img", lora="porcelain")[1][0]
    assert twice.tobytes() == whole.tobytes() != alone.tobytes()
    back = client.predict(handle_file(twice.filename), api_name="/settings")
    fields = [one["value"] if isinstance(one, dict) and "value" in one else one for one in back[:17]]
    assert ask(client, "text2img", **dict(zip(ASK, fields)))[1][0].tobytes() == twice.tobytes()
    assert fields[0] == "雪地里的企鹅" and fields[13:] == ["porcelain", 0.5, NONE, 1.0]


def test_a_further_lora_is_offered_after_the_first(engine):
    offered = Handlers(engine).offer_loras({"lora": "porcelain", "lora_2": NONE, "lora_3": NONE}, "")
    assert [field.visible for field in offered.values()] == [True, True, False, False]


def test_hires_draws_twice_the_size_and_comes_back(client, tiny):
    drawn = ask(client, "text2img", True, steps=4)[1][0]
    same = paidiff.hires(tiny, "雪地里的企鹅", (128, 128), seed=5, steps=4, guidance=3.0)
    assert drawn.size == (128, 128) and drawn.tobytes() == same.tobytes()
    back = client.predict(handle_file(drawn.filename), api_name="/settings")
    assert back[10:12] == (64, 64) and back[-2] is True and "not taken back" not in back[-1]


def test_the_mask_runs_out_softly(client, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "start.png")
    paint = Image.new("RGBA", (512, 512))
    ImageDraw.Draw(paint).rectangle((256, 0, 512, 512), fill="white")
    given = (handle_file(tmp_path / "start.png"), 1.0)
    hard, soft = (ask(client, "inpaint", *given, blur, painted(paint))[1][0] for blur in (0, 4))
    left = [image.crop((24, 0, 32, 64)).getcolors(4096) for image in (hard, soft)]
    assert len(left[0]) == 1 < len(left[1]) and len(soft.crop((0, 0, 16, 64)).getcolors(4096)) == 1
    assert settings_in(soft)["Mask blur"] == "4" and "Mask blur" not in settings_in(hard)


def test_two_people_at_once_get_each_their_own(client, url, tiny, engine):
    other, got = Client(url, verbose=False), {}

    def go(who, seed, lora):
        got[seed] = ask(who, "text2img", seed=seed, lora=lora, steps=8)[1][0].tobytes()

    threads = [threading.Thread(target=go, args=a) for a in ((client, 1, NONE), (other, 2, "porcelain"))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert got[1] == paidiff.draw(tiny, "雪地里的企鹅", seed=1, steps=8, guidance=3.0).tobytes()
    paidiff.load_lora(tiny, engine.folder / "porcelain")
    assert got[2] == paidiff.draw(tiny, "雪地里的企鹅", seed=2, steps=8, guidance=3.0).tobytes()


def test_a_stopped_drawing_ends_within_a_step_and_keeps_what_is_there(engine):
    seen = []

    def look(frame):  # in the drawing thread, so that no step goes by unseen
        seen.append(frame)
        if frame.index == 1 and frame.step == 5:
            job.stop.set()

    job = Job(GenerationRequest("猫", steps=60, n=3), on_frame=look)
    engine.submit(job)
    job.future.result(600)
    kept = [frame for frame in seen if frame.text]
    assert [frame.stopped for frame in kept] == [False, True] and 5 <= kept[1].step <= 6
    assert kept[1].image.size == (64, 64) and parse(kept[1].text)["Stopped at"] == str(kept[1].step)


def test_who_leaves_stops_the_drawing(engine, monkeypatch):
    seen, real = [], engine._after_step
    monkeypatch.setattr(
        engine, "_after_step", lambda pipe, index, *rest: seen.append(index) or real(pipe, index, *rest)
    )
    drawing = engine.draw(GenerationRequest("猫", steps=100, n=8))
    next(drawing)
    drawing.close()
    assert next(engine.draw(GenerationRequest("猫", steps=2))).steps == 2
    assert len(seen) < 20  # steps, of 800


def test_the_page_asks_nobody_else_for_anything(url):
    page = httpx.get(url).text
    assert "googleapis" not in page and "gstatic" not in page and "jsdelivr" not in page


def test_only_this_machine_without_a_token(url):
    assert httpx.get(url, headers={"host": "evil.example"}).status_code == 403
    assert httpx.post(f"{url}/gradio_api/upload", headers={"origin": "http://evil.example"}).status_code == 403
    refused(["0.0.0.0", "--token"], lambda: web.run("0.0.0.0", 0))


def test_with_a_token_the_page_asks_for_it(engine):
    with serving(engine, TOKEN) as url:
        assert httpx.get(f"{url}/gradio_api/info").status_code == 401
        wrong = httpx.post(f"{url}/login", data={"username": "paidiff", "password": "guess"})
        right = httpx.post(f"{url}/login", data={"username": "paidiff", "password": TOKEN})
        assert (wrong.status_code, right.status_code) == (400, 200)


def test_another_model_than_those_here_is_refused(engine):
    refused(["没有这个模型"], lambda: list(engine.draw(GenerationRequest("猫", model="/etc"))))
    refused(["文件夹里没有"], lambda: list(engine.draw(GenerationRequest("猫", lora="../secret"))))


def test_the_shipped_controlnet_draws_along_a_picture(tmp_path):
    Image.effect_noise((128, 128), 90).convert("RGB").save(tmp_path / "start.png")
    engine = Engine("mini")
    with serving(engine) as url:
        asked = {"model": "mini", "width": 128, "height": 128}
        client = Client(url, verbose=False)
        drawn = [
            ask(client, "controlnet", handle_file(tmp_path / "start.png"), scale, **asked)[1][0] for scale in (0, 1)
        ]
    engine.close()
    assert drawn[0].tobytes() != drawn[1].tobytes() and settings_in(drawn[1])["Task"] == "controlnet"
