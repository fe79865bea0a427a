"""<lora:name:scale> in a prompt, as clients of the WebUI write it."""

import pytest
from conftest import refused
from torch.nn.init import normal_

import paidiff_lib as paidiff
from paidiff_app.engine import Engine, GenerationRequest, Job
from paidiff_app.infotext import parse


@pytest.fixture(scope="module")
def shelf(tiny_folder, loras, tmp_path_factory):
    """A folder with the LoRA `porcelain` and another, `ink.v1`."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "porcelain").symlink_to(loras / "porcelain")
    lora = paidiff.LoRA(paidiff.load(tiny_folder), rank=2)
    for parameter in lora.parameters().values():
        normal_(parameter, std=0.5)
    lora.save(folder / "ink.v1")
    return folder


@pytest.fixture(scope="module")
def engine(tiny_folder, shelf):
    engine = Engine(str(tiny_folder), shelf)
    yield engine
    engine.close()


def drawn(engine, prompt, **settings):
    """(bytes, settings as text) of one picture."""
    (frame,) = [frame for frame in engine.draw(GenerationRequest(prompt, seed=1, steps=2, **settings)) if frame.text]
    return frame.image.tobytes(), frame.text


def test_a_tag_wears_the_lora_as_the_field_does(engine):
    plain, by_field = drawn(engine, "猫")[0], drawn(engine, "猫", lora="porcelain", lora_scale=0.5)[0]
    by_tag, text = drawn(engine, "猫<lora:porcelain:0.5>")
    assert by_tag == by_field != plain and parse(text)["LoRA"] == [("porcelain", "0.5")]
    assert drawn(engine, "猫")[0] == plain  # and it is off again
    assert drawn(engine, "<lora:porcelain:0.25>猫<lora:porcelain:0.25>")[0] == by_tag


def test_several_at_once_as_the_library_wears_them(engine, shelf, tiny):
    for name in ("porcelain", "ink.v1"):
        paidiff.load_lora(tiny, shelf / name, name[:3])
    paidiff.set_scales(tiny, {"por": 0.5, "ink": 0.7})
    expected = paidiff.draw(tiny, "猫", seed=1, steps=2).tobytes()
    assert drawn(engine, "猫<lora:ink.v1:0.7>", lora="porcelain", lora_scale=0.5)[0] == expected


def test_a_name_that_is_not_there_is_refused_before_it_waits(engine):
    refused(["no-such", "porcelain"], lambda: engine.submit(Job(GenerationRequest("猫<lora:no-such:1>"))))
    refused(["反向提示词"], lambda: engine.submit(Job(GenerationRequest("猫", "<lora:porcelain:1>"))))
    refused(["<lora:名字:0.8>"], lambda: engine.submit(Job(GenerationRequest("猫<lora:porcelain:much>"))))
    assert engine.waiting() == 0


def test_other_tags_share_no_batch(engine):
    one, other, same = (Job(GenerationRequest(f"猫{tag}")) for tag in ("", "<lora:porcelain:1>", ""))
    assert one.shares_a_batch_with(same) and not one.shares_a_batch_with(other)


def test_a_services_own_lora_goes_by_its_name_and_stays_on(tiny, loras):
    paidiff.load_lora(tiny, loras / "porcelain", "porcelain")
    worn = paidiff.draw(tiny, "猫", seed=1, steps=2).tobytes()
    engine = Engine(tiny, fixed=True, name="tiny")
    assert engine.loras() == ["porcelain"] and drawn(engine, "猫")[0] == worn
    assert drawn(engine, "猫<lora:porcelain:0>")[0] != worn == drawn(engine, "猫")[0]
    engine.close()
