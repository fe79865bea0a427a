"""Every field that a client can send to the service: used, or named as without effect, or refused. Nothing in silence."""

import base64
import io
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

import paidiff_lib as paidiff
from paidiff_app.engine import Engine
from paidiff_app.server import fields, schemas
from paidiff_app.server.routes import Metrics, make_app

SENT = json.loads(Path(__file__).with_name("webui_fields.json").read_text(encoding="utf-8"))


def picture(colour, left=None):
    """A picture of one colour, its left half of another, as base64."""
    image, data = Image.new("RGB", (64, 64), colour), io.BytesIO()
    image.paste(left or colour, (0, 0, 32, 64))
    image.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


CONTROLNET = {"ControlNet": {"args": [{"enabled": True, "module": "canny", "image": picture("red")}]}}
ASKED = {"prompt": "猫", "seed": 1, "steps": 2, "width": 64, "height": 64}
BASE = {
    "/sdapi/v1/txt2img": ASKED,
    "/sdapi/v1/img2img": ASKED | {"steps": 4, "init_images": [picture("red")]},
    "/": {"text": "猫", "seed": 1, "num_inference_steps": 2, "width": 64, "height": 64},
}
MODELS = {"/sdapi/v1/txt2img": schemas.Txt2Img, "/sdapi/v1/img2img": schemas.Img2Img, "/": schemas.Platform}
# One value for every field that asks for something.
TELLING = {
    **{"prompt": "狗", "text": "狗", "negative_prompt": "模糊", "seed": 2, "steps": 3, "num_inference_steps": 3},
    **{"cfg_scale": 7, "guidance_scale": 7, "width": 72, "height": 72, "batch_size": 2, "n_iter": 2, "num_images": 2},
    **{"sampler_name": "Heun", "sampler_index": "Heun", "scheduler": "karras", "force_task_id": "../name"},
    **{"override_settings": {"CLIP_stop_at_last_layers": 2}, "alwayson_scripts": CONTROLNET, "styles": ["x"]},
    **{"override_settings_restore_afterwards": False, "eta": 0.5, "s_churn": 1, "s_noise": 1.1, "s_min_uncond": 1},
    **{"s_tmin": 1, "s_tmax": 1, "subseed": 5, "subseed_strength": 0.5, "seed_enable_extras": False},
    **{"seed_resize_from_h": 128, "seed_resize_from_w": 128, "restore_faces": True, "tiling": True},
    **{"do_not_save_samples": True, "do_not_save_grid": True, "save_images": True, "send_images": False},
    **{"script_name": "X/Y/Z plot", "script_args": [1], "refiner_checkpoint": "other", "refiner_switch_at": 0.5},
    **{"disable_extra_networks": True, "firstpass_image": picture("red"), "comments": {"a": 1}, "infotext": "Steps: 5"},
    **{"enable_hr": True, "denoising_strength": 0.5, "firstphase_width": 64, "firstphase_height": 64, "hr_scale": 3},
    **{"hr_upscaler": "Lanczos", "hr_second_pass_steps": 5, "hr_resize_x": 128, "hr_resize_y": 128, "hr_prompt": "x"},
    **{"hr_checkpoint_name": "other", "hr_sampler_name": "Heun", "hr_scheduler": "Karras", "hr_negative_prompt": "x"},
    **{
        "init_images": [picture("blue")],
        "mask": picture("black", "white"),
        "latent_mask": picture("white"),
        "resize_mode": 1,
    },
    **{"image_cfg_scale": 2, "mask_blur": 8, "mask_blur_x": 8, "mask_blur_y": 8, "mask_round": False},
    **{"inpainting_fill": 1, "inpaint_full_res": False, "inpaint_full_res_padding": 32, "inpainting_mask_invert": 1},
    **{"initial_noise_multiplier": 1.1, "include_init_images": True},
    **{"use_blade": True, "use_translation": True, "skip_translation": True},
}
CASES = [(path, name) for path, model in MODELS.items() for name in model.model_fields]


@pytest.fixture(scope="module")
def client(tiny_folder):
    engine = Engine(paidiff.load(tiny_folder), fixed=True, name="tiny")
    yield TestClient(make_app(engine, Metrics()))
    engine.close()


@pytest.fixture(scope="module")
def plain(client):
    return {path: drawn(client.post(path, json=asked)) for path, asked in BASE.items()}


def drawn(answer):
    """(the pictures without their settings, the hints) of an answer."""
    assert answer.status_code == 200, answer.text
    found = answer.json()
    images = found["images"] if "images" in found else found["images_base64"]
    hints = json.loads(found["info"])["hints"] if "info" in found else found["hints"]
    return [Image.open(io.BytesIO(base64.b64decode(one))).tobytes() for one in images], hints


def assert_refused(answer, name):
    assert answer.status_code == 422, answer.text
    line = answer.json()["detail"]
    assert "\n" not in line and " · " in line and len(line) < 400, line
    assert name in line or "Karras" in line, line


def test_the_walk_knows_every_field_of_every_client():
    for sender, paths in SENT.items():
        for path, sent in paths.items():
            declared = MODELS[f"/sdapi/v1/{path}" if path else "/"].model_fields
            assert set(sent) <= set(declared), (sender, path, set(sent) - set(declared))
    assert {name for _, name in CASES} == set(TELLING)


@pytest.mark.parametrize("path, name", CASES)
def test_a_field_is_used_or_named_or_refused(client, plain, path, name):
    answer = client.post(path, json=BASE[path] | {name: TELLING[name]})
    if answer.status_code != 200:
        return assert_refused(answer, name)
    images, hints = drawn(answer)
    assert images != plain[path][0] or any("no effect here" in hint and name in hint for hint in hints)
    assert "parameters" not in answer.json() or set(answer.json()["parameters"]) <= set(schemas.ECHOED)


@pytest.mark.parametrize("sender", SENT)
def test_a_clients_defaults_and_nothing_give_the_plain_picture(client, sender):
    for path, sent in SENT[sender].items():
        path = f"/sdapi/v1/{path}" if path else "/"
        used = {name: sent[name] for name in ("cfg_scale", "sampler_index") if name in sent}
        expected = drawn(client.post(path, json=BASE[path] | used))
        assert drawn(client.post(path, json=sent | BASE[path])) == expected, path
        nothing = dict.fromkeys(sent.keys() - {"prompt"}) | BASE[path] | used
        assert drawn(client.post(path, json=nothing)) == expected, path


@pytest.mark.parametrize("path", [*BASE, "/sdapi/v1/options"])
def test_an_unknown_name_is_refused(client, path):
    assert_refused(client.post(path, json=BASE.get(path, {}) | {"guidance": 3}), "guidance")


def test_options_are_what_they_are(client):
    standing = client.get("/sdapi/v1/options").json()
    assert set(standing) == {"sd_model_checkpoint", *fields.OPTIONS}
    assert client.post("/sdapi/v1/options", json=standing).json() is None
    asked = ASKED | {"override_settings": standing}
    assert client.post("/sdapi/v1/txt2img", json=asked).status_code == 200
    for name in standing:
        assert_refused(client.post("/sdapi/v1/options", json={name: "other"}), name)
        assert_refused(client.post("/sdapi/v1/txt2img", json=ASKED | {"override_settings": {name: 7}}), name)


@pytest.mark.parametrize("args", [[], [False], [{"enabled": False}], [False, {"ad_model": "None"}]])
def test_a_script_that_is_switched_off_does_no_harm(client, plain, args):
    wanted = ASKED | {"alwayson_scripts": {"ADetailer": {"args": args}}}
    assert drawn(client.post("/sdapi/v1/txt2img", json=wanted)) == plain["/sdapi/v1/txt2img"]


@pytest.mark.parametrize("script", [{"args": [True, {}]}, {"args": {"a": 1}}, {"args": [{}]}, [1], 5, "x"])
def test_a_script_that_is_to_do_something_is_refused(client, script):
    assert_refused(client.post("/sdapi/v1/txt2img", json=ASKED | {"alwayson_scripts": {"sag": script}}), "sag")


def test_karras_is_another_schedule_by_either_name(client):
    ask = lambda **wanted: drawn(client.post("/sdapi/v1/txt2img", json=ASKED | {"steps": 4} | wanted))[0]
    old, new = ask(sampler_name="DPM++ 2M Karras"), ask(sampler_name="DPM++ 2M", scheduler="karras")
    assert old == new != ask(sampler_name="DPM++ 2M")
    refused = client.post("/sdapi/v1/txt2img", json=ASKED | {"sampler_name": "Euler a", "scheduler": "Karras"})
    assert_refused(refused, "DPM++ 2M")


def test_eta_and_an_old_name_that_change_nothing_are_said(client):
    for wanted in ({"eta": 1, "sampler_name": "DDIM"}, {"eta": 0, "sampler_name": "Euler a"}):
        assert "eta" in drawn(client.post("/sdapi/v1/txt2img", json=ASKED | wanted))[1][0]
    both = ASKED | {"sampler_name": "Heun", "sampler_index": "DDIM"}
    assert "sampler_index" in drawn(client.post("/sdapi/v1/txt2img", json=both))[1][0]


@pytest.mark.parametrize("path", BASE)
def test_a_long_prompt_is_read_to_its_end(client, path):
    name = "text" if "text" in BASE[path] else "prompt"
    found = [drawn(client.post(path, json=BASE[path] | {name: "雪地里的两只企鹅雪地里的两只" + end})) for end in "猫狗"]
    assert found[0][0] != found[1][0] and "read in 2 parts" in found[0][1][0]


def test_base64_as_anybody_writes_it(client, plain):
    raw = base64.b64decode(picture("red"))
    written = [base64.encodebytes(raw).decode(), base64.urlsafe_b64encode(raw).decode(), picture("red").rstrip("=")]
    for one in [*written, "data:image/png;base64," + written[0], "data:application/octet-stream;base64," + written[1]]:
        answer = client.post("/sdapi/v1/img2img", json=BASE["/sdapi/v1/img2img"] | {"init_images": [one]})
        assert drawn(answer) == plain["/sdapi/v1/img2img"]


def test_a_picture_says_how_it_was_drawn(client):
    image = client.post("/sdapi/v1/txt2img", json=ASKED).json()["images"][0]
    found = client.post("/sdapi/v1/png-info", json={"image": image}).json()
    assert found["info"].startswith("猫\nSteps: 2") and found["parameters"]["Seed"] == "1"
    assert client.post("/sdapi/v1/png-info", json={"image": picture("red")}).json()["info"] == ""
    assert_refused(client.post("/sdapi/v1/png-info", json={"image": "/etc/passwd.png"}), "base64")
    assert_refused(client.post("/sdapi/v1/png-info", json={"image": image, "model": "clip"}), "model")
    for path in ("refresh-checkpoints", "refresh-loras"):
        assert client.post(f"/sdapi/v1/{path}").status_code == 200


def test_what_is_sent_for_nothing_is_not_repeated(client):
    body = json.dumps(ASKED)[:-1] + ', "s_tmin": NaN, "comments": {"a": Infinity}}'
    answer = client.post("/sdapi/v1/txt2img", content=body, headers={"content-type": "application/json"})
    assert "s_tmin, comments" in drawn(answer)[1][0]
