"""/v1/images/generations by OpenAI's own client; masks, embeddings and LoRAs by request; the page at / and its events."""

import base64
import io
import json
import threading

import numpy as np
import openai
import pytest
from PIL import Image
from test_fields import picture
from test_serve import TOKEN, WEB, serving, wait_for

import paidiff_lib as paidiff
from paidiff_app.server import run as server
from paidiff_lib import PaidiffError

ASKED = {"prompt": "猫", "seed": 1, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def service(tiny_folder):
    with serving(paidiff.load(tiny_folder)) as running:
        yield running


@pytest.fixture
def client(service):
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_openais_client_draws_what_the_library_draws(client, tiny):
    (model,) = client.models.list().data
    extra = {key: ASKED[key] for key in ("seed", "num_inference_steps")}
    answer = client.images.generate(model=model.id, prompt="猫", n=2, size="64x64", extra_body=extra)
    drawn = [np.asarray(opened(each.b64_json), int) for each in answer.data]
    wanted = paidiff.draw(tiny, "猫", seed=1, steps=2, size=(64, 64), n=2)
    assert all(np.abs(one - np.asarray(other, int)).max() <= 1 for one, other in zip(drawn, wanted))
    assert answer.created and "Seed: 2" in opened(answer.data[1].b64_json).text["parameters"]


def test_what_other_clients_send_by_themselves(client):
    """Open WebUI, LobeChat and Dify: a format, a quality, auto; nothing in silence."""
    sent = {"response_format": "b64_json", "quality": "hd", "size": "auto", "user": "me"}
    answer = client.images.generate(prompt="猫", **sent, extra_body={"num_inference_steps": 1})
    assert opened(answer.data[0].b64_json).size == (64, 64)
    assert any("no effect here: quality, user" in hint for hint in answer.hints)


REFUSED = [
    ({"model": "dall-e-3"}, 404, "there is one model here: tiny"),
    ({"response_format": "url"}, 422, "response_format"),
    ({"output_format": "jpeg"}, 422, "output_format"),
    ({"stream": True}, 422, "stream"),
    ({"size": "4096x4096"}, 422, "at most"),
    ({"size": "big"}, 422, "size"),
    ({"size": "65x64"}, 422, "8"),
    ({"n": 9}, 422, "n:"),
    ({"prompt": ""}, 422, "prompt"),
    ({"prompt": "猫 <lora:none:1>"}, 422, "none"),
    ({"steps": 3}, 422, "no such field"),
]


@pytest.mark.parametrize("wanted, status, said", REFUSED)
def test_what_cannot_be_done_is_one_line(service, wanted, status, said):
    answer = WEB.post(f"{service.url}/v1/images/generations", json=ASKED | wanted)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"] and "\n" not in answer.json()["detail"]


# --- masks ------------------------------------------------------------------------------------------------------


def masked(service, **wanted):
    sent = {"prompt": "猫", "seed": 1, "steps": 2, "init_images": [picture("red")], "denoising_strength": 1}
    sent |= {"mask": picture("black", "white"), "mask_blur": 0} | wanted
    return WEB.post(f"{service.url}/sdapi/v1/img2img", json=sent)


def pixels(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(opened(answer.json()["images"][0]), int)


def test_outside_the_mask_every_pixel_stays(service):
    red = np.array([255, 0, 0])
    drawn, inverted = pixels(masked(service)), pixels(masked(service, inpainting_mask_invert=1))
    assert (drawn[:, 32:] == red).all() and (drawn[:, :32] != red).any()
    assert (inverted[:, :32] == red).all() and (inverted[:, 32:] != red).any()
    blurred = pixels(masked(service, mask_blur=4))
    assert (blurred[:, 56:] == red).all() and (blurred[:, 32:40] != red).any()


def test_what_a_mask_does_not_do_is_said(service):
    def hints(**wanted):
        return " ".join(json.loads(masked(service, **wanted).json()["info"])["hints"])

    assert "inpainting_fill" in hints(inpainting_fill=0) and "inpaint_full_res" in hints(inpaint_full_res=True)
    assert "no effect" not in hints(inpainting_fill=1, inpaint_full_res=False)
    assert "mask_blur" in hints(mask="", mask_blur=8)


def test_masks_that_cannot_be_drawn(service):
    for wanted, said in [
        ({"mask": picture("black")}, "paint over"),
        ({"mask": "/etc/passwd"}, "not a picture"),
        ({"width": 128, "height": 64}, "64x64"),
    ]:
        answer = masked(service, **wanted)
        assert answer.status_code == 422 and said in answer.json()["detail"], answer.text


# --- LoRAs and embeddings by request ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(tiny_folder, tmp_path_factory):
    """A folder with one LoRA and one embedding, both of which change a picture."""
    import torch

    folder, pipe = tmp_path_factory.mktemp("shelf"), paidiff.load(tiny_folder)
    lora = paidiff.LoRA(pipe, rank=2)
    for parameter in lora.parameters().values():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(0))
    lora.save(folder / "style")
    pipe = paidiff.load(tiny_folder)
    paidiff.TextualInversion(pipe, "<小奶猫>", initializer="狗").save(folder / "kitten")
    return folder


def test_a_request_asks_for_loras_and_embeddings_of_the_folder(tiny_folder, shelf):
    pipe = paidiff.load(tiny_folder)
    with serving(pipe, loras=shelf) as running:

        def drawn(prompt):
            answer = WEB.post(f"{running.url}/v1/images/generations", json=ASKED | {"prompt": prompt})
            assert answer.status_code == 200, answer.text
            return np.asarray(opened(answer.json()["data"][0]["b64_json"]), int)

        plain = drawn("猫")
        assert (drawn("猫 <lora:style:1>") != plain).any()
        assert (drawn("猫") == plain).all()  # and it is off again
        assert [lora["name"] for lora in WEB.get(f"{running.url}/sdapi/v1/loras").json()] == ["style"]
        assert list(WEB.get(f"{running.url}/sdapi/v1/embeddings").json()["loaded"]) == ["<小奶猫>"]
        with_word = drawn("<小奶猫>")
        assert (with_word == drawn("<小奶猫>")).all() and "<小奶猫>" in pipe.tokenizer.get_vocab()
        assert (with_word != drawn("<没有这个词>")).any()


def test_a_folder_that_is_not_there_does_not_start(tiny_folder, tmp_path):
    with pytest.raises(PaidiffError, match="no such folder"):
        server.run(model=tiny_folder, port=0, loras=tmp_path / "none")


# --- the page and its events ------------------------------------------------------------------------------------


def test_the_page_asks_nobody_else(service):
    answer = WEB.get(service.url + "/")
    assert answer.headers["content-type"].startswith("text/html") and "paidiff serve" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"] and "http" not in answer.text


def test_progress_is_pushed_while_a_picture_is_drawn(service):
    states, seen = [], threading.Event()

    def listen():
        with WEB.stream("GET", service.url + "/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    states.append(json.loads(line[6:]))
                    seen.set()
                if states and states[-1]["state"]["job"] == "drawing":
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert seen.wait(60)
    wait_for(
        lambda: (
            not thread.is_alive()
            or WEB.post(f"{service.url}/v1/images/generations", json=ASKED | {"num_inference_steps": 60})
        )
    )
    thread.join(60)
    assert states[0]["state"]["job"] == "" and states[-1]["state"]["job"] == "drawing"


def test_a_browser_may_give_the_token_as_its_password(tiny_folder):
    password = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    with serving(paidiff.load(tiny_folder), token=TOKEN) as running:
        asked = WEB.get(running.url + "/")
        assert asked.status_code == 401 and "Basic" in asked.headers["www-authenticate"]
        own = {"authorization": f"Basic {password}", "origin": running.url}
        assert WEB.get(running.url + "/", headers=own).status_code == 200
        other = own | {"origin": "http://evil.example"}
        assert WEB.get(running.url + "/", headers=other).status_code == 403
        bearer = {"authorization": f"Bearer {TOKEN}", "origin": "http://page.example"}
        assert WEB.get(running.url + "/v1/models", headers=bearer).status_code == 200
