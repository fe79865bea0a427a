import base64
import copy
import io
import json
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from paidiff_lib import ControlNet, LoRA, PaidiffError, train
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.datasets.images import read_picture, square
from paidiff_lib.models.encode import encode_captions, encode_picture
from paidiff_lib.training import latents
from paidiff_lib.training.latents import LatentCache
from paidiff_lib.training.tensor_folder import TensorFolder

RED = (255, 0, 0)


def raw(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def halves(mode="RGB", left=RED, right=(0, 0, 255), size=(40, 20)):
    """A picture with two plain halves."""
    picture = Image.new(mode, size, right)
    picture.paste(left, (0, 0, size[0] // 2, size[1]))
    return picture


def corners(picture):
    """The colours near the left and right edge."""
    middle = picture.height // 2
    return [picture.getpixel((x, middle)) for x in (2, picture.width - 3)]


def near(found, expected, tolerance=12):
    return np.abs(np.array(found, int) - np.array(expected, int)).max() <= tolerance


# --- one picture of each kind -----------------------------------------------------------------------------------


def test_exif_rotation_is_undone():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: to be turned by 90 degrees clockwise
    picture = read_picture(raw(halves(), "JPEG", exif=exif, quality=95))
    assert picture.size == (20, 40) and near(picture.getpixel((10, 4)), RED)


def test_transparent_parts_become_white():
    picture = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 10, 20))
    assert corners(read_picture(raw(picture))) == [RED, (255, 255, 255)]
    grey = Image.new("LA", (20, 20), (0, 128))
    assert near(corners(read_picture(raw(grey)))[0], (127, 127, 127))


def test_a_palette_with_and_without_transparency():
    palette = halves().quantize(4)
    assert near(corners(read_picture(raw(palette))), [RED, (0, 0, 255)])
    clear = palette.getpixel((38, 10))
    assert near(corners(read_picture(raw(palette, transparency=clear))), [RED, (255, 255, 255)])
    assert near(corners(read_picture(raw(palette, "GIF", transparency=clear))), [RED, (255, 255, 255)])


def test_one_colour_of_an_rgb_picture_made_transparent():
    assert corners(read_picture(raw(halves(), transparency=(0, 0, 255)))) == [RED, (255, 255, 255)]


def test_cmyk():
    picture = halves("CMYK", (0, 255, 255, 0), (255, 255, 0, 0))
    for kind in ("JPEG", "TIFF"):
        assert near(corners(read_picture(raw(picture, kind))), [RED, (0, 0, 255)], 30), kind


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_greys(kind):
    values = np.tile(np.linspace(0, 65535, 40, dtype=np.uint16), (20, 1))
    picture = read_picture(raw(Image.fromarray(values), kind))
    assert np.array_equal(np.asarray(picture)[5, :, 0], np.rint(values[5] / 257).astype(np.uint8))


def test_a_dark_sixteen_bit_picture_stays_dark():
    picture = read_picture(raw(Image.fromarray(np.full((8, 8), 200, np.uint16))))
    assert picture.getpixel((3, 3)) == (1, 1, 1)


def test_whole_numbers_and_floats():
    whole = read_picture(raw(Image.fromarray(np.full((8, 8), 128, np.int32)), "TIFF"))
    part = read_picture(raw(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF"))
    assert whole.getpixel((0, 0)) == (128,) * 3 and part.getpixel((0, 0)) == (128,) * 3


def test_grey_black_and_white_and_an_animation():
    assert read_picture(raw(Image.new("L", (9, 9), 77))).getpixel((4, 4)) == (77,) * 3
    assert read_picture(raw(Image.new("1", (9, 9), 1))).getpixel((4, 4)) == (255,) * 3
    frames = raw(Image.new("RGB", (9, 9), RED), "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9), "blue")])
    assert read_picture(frames).getpixel((4, 4)) == RED


@pytest.mark.parametrize("damage", [b"", b"no picture", raw(halves())[:60], raw(halves(), "JPEG")[:400]])
def test_a_damaged_picture_is_named_in_one_line(damage):
    with pytest.raises(PaidiffError, match="^cat.png: .*(cannot read the picture|zero bytes)") as caught:
        read_picture(damage, "cat.png")
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


def test_the_crop_and_the_mirror():
    wide = Image.new("RGB", (60, 20), "white")
    wide.paste(RED, (0, 0, 20, 20))
    wide.paste((0, 0, 255), (40, 0, 60, 20))
    assert [square(wide, 8, place).getpixel((4, 4)) for place in (0.0, 0.5, 1.0)] == [RED, (255,) * 3, (0, 0, 255)]
    assert corners(square(halves(), 16, flip=True)) == [(0, 0, 255), RED]
    assert square(wide.transpose(Image.Transpose.ROTATE_90), 8, 1.0).getpixel((4, 4)) == RED


# --- the three layouts ------------------------------------------------------------------------------------------


def manifest(folder, rows):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def pictures(tmp_path):
    """Three pictures and their metadata.jsonl."""
    rows = []
    for i, text in enumerate(["雪地里的企鹅", "草地上的猫", "左边一只狗"]):
        halves(size=(40 + i, 24)).save(tmp_path / f"{i}.png")
        rows.append({"file_name": f"{i}.png", "text": text})
    return manifest(tmp_path, rows)


def test_metadata_jsonl(pictures):
    data = CaptionFolder(pictures)
    assert len(data) == 3 and data.caption(1) == "草地上的猫" and data.image(2, 16).size == (16, 16)


def test_metadata_as_other_programs_write_it(pictures):
    text = (pictures / "metadata.jsonl").read_text(encoding="utf-8").replace("企鹅", "企\u2028鹅")
    (pictures / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n\r\n").encode())
    assert CaptionFolder(pictures).caption(0) == "雪地里的企\u2028鹅"


def rows_of(folder):
    data = CaptionFolder(folder)
    return {data.items[i].name: data.captions(i) for i in range(len(data))}


CAPTIONS = ("猫,草地", "狗,\n雪地")
LAYOUTS = {  # the file, what is in it
    "csv": ("metadata.csv", 'file_name,text\n0.png,"猫,草地"\n1.png,"狗,\n雪地"\n'),
    "csv of Excel": ("metadata.csv", '\ufefffile_name,text\r\n0.png,"猫,草地"\r\n1.png,"狗,\n雪地"\r\n'),
    "split": ("train/metadata.jsonl", [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(CAPTIONS)]),
    "caption": ("metadata.jsonl", [{"file_name": f"{i}.png", "caption": text} for i, text in enumerate(CAPTIONS)]),
    "image, prompt": ("metadata.jsonl", [{"image": f"{i}.png", "prompt": text} for i, text in enumerate(CAPTIONS)]),
    "an array": (
        "metadata.json",
        json.dumps([{"file_name": f"{i}.png", "text": t} for i, t in enumerate(CAPTIONS)], indent=1),
    ),
    "an array in lines": (
        "metadata.jsonl",
        json.dumps([{"file_name": f"{i}.png", "text": t} for i, t in enumerate(CAPTIONS)], indent=1),
    ),
    "nested": ("cats/metadata.jsonl", [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(CAPTIONS)]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_people_have(tmp_path, layout):
    name, content = LAYOUTS[layout]
    base = (tmp_path / name).parent
    base.mkdir(exist_ok=True)
    for i in range(2):
        halves(size=(40 + i, 24)).save(base / f"{i}.png")
    text = content if isinstance(content, str) else "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    prefix = name.rpartition("/")[0] and name.rpartition("/")[0] + "/"
    assert rows_of(tmp_path) == {f"{prefix}{i}.png": (text,) for i, text in enumerate(CAPTIONS)}


def test_a_split_is_trained_on_and_not_what_tests_it(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        halves().save(tmp_path / split / "0.png")
        manifest(tmp_path / split, [{"file_name": "0.png", "text": split}])
    assert rows_of(tmp_path) == {"train/0.png": ("train",)}
    assert CaptionFolder(tmp_path).left_out[0][0] == "test/0.png"


def test_columns_by_name_and_a_wrong_one_is_answered_with_those_there_are(pictures):
    manifest(pictures, [{"file_name": "0.png", "zh": "猫", "en": "cat"}])
    assert CaptionFolder(pictures, caption_column="zh", image_column="image").caption(0) == "猫"
    for wrong in ({"caption_column": "fr"}, {"image_column": "bild", "caption_column": "zh"}, {}):
        with pytest.raises(PaidiffError, match="no column .* there are: file_name, zh, en"):
            CaptionFolder(pictures, **wrong)


def test_several_captions_are_each_trained_on(tiny, pictures):
    manifest(pictures, [{"file_name": "0.png", "text": ["一只猫", "左边的猫"]}, {"file_name": "1.png", "text": ["狗"]}])
    data = CaptionFolder(pictures, random_flip=True)
    assert data.captions(0) == ("一只猫", "左边的猫") and data.caption(0) == "一只猫" and data.captions(1) == ("狗",)
    assert data.variants(0) == [(0.5, False)] and len(data.variants(1)) == 2
    seen = set()
    method = LoRA(tiny, 2)
    method.caption = lambda text: (seen.add(text), text)[1]
    list(train(method, data, steps=20, learning_rate=1e-4))
    assert seen == {"一只猫", "左边的猫", "狗"}
    one = CaptionFolder(manifest(pictures, [{"file_name": "0.png", "text": ["一只猫"]}])).fingerprint
    assert one == CaptionFolder(manifest(pictures, [{"file_name": "0.png", "text": "一只猫"}])).fingerprint


def test_paths_as_windows_writes_them(tmp_path):
    (tmp_path / "sub").mkdir()
    halves().save(tmp_path / "sub/0.png")
    assert rows_of(manifest(tmp_path, [{"file_name": "sub\\0.png", "text": "猫"}])) == {"sub/0.png": ("猫",)}


@pytest.mark.parametrize("name", ["a.txt", "a.TXT", "a.caption", "a.jfif.txt"])
def test_captions_beside_under_the_names_that_people_give_them(tmp_path, name):
    halves().save(tmp_path / "a.jfif", "JPEG")
    (tmp_path / name).write_text("猫", encoding="utf-8")
    assert rows_of(tmp_path) == {"a.jfif": ("猫",)}


def test_conditions_of_ones_own_steer_a_controlnet(tiny, tmp_path, capsys):
    rows, last = [], {}
    (tmp_path / "lines").mkdir()
    for i in range(2):
        halves(size=(64, 64)).save(tmp_path / f"{i}.png")
        Image.new("RGB", (64, 64), ("red", "blue")[i]).save(tmp_path / f"lines/{i}.png")
        rows.append({"file_name": f"{i}.png", "text": "猫", "conditioning_image": f"lines/{i}.png"})
    for kind in ("own", "canny"):
        manifest(
            tmp_path, rows if kind == "own" else [{k: v for k, v in row.items() if "cond" not in k} for row in rows]
        )
        data = CaptionFolder(tmp_path)
        assert data.has_conditions == (kind == "own") and (data.condition(0, 8) is not None) == (kind == "own")
        control = ControlNet(tiny)
        control.condition = lambda image, canny=control.condition: (last.setdefault(kind, []).append(1), canny(image))[
            1
        ]
        control.condition.__name__ = "canny"
        list(train(control, data, steps=1))
    assert last.keys() == {"canny"}
    with pytest.raises(PaidiffError, match="1 / 2"):
        CaptionFolder(manifest(tmp_path, [rows[0], {"file_name": "1.png", "text": "猫"}]))
    capsys.readouterr()
    list(train(LoRA(tiny, 2), CaptionFolder(manifest(tmp_path, rows)), steps=1))
    assert "conditioning images are not used" in capsys.readouterr().out


def test_text_files_beside_the_pictures(pictures):
    (pictures / "metadata.jsonl").unlink()
    (pictures / "more").mkdir()
    halves().save(pictures / "more/a.JPG", "JPEG")
    for name in ("0", "1", "2", "more/a"):
        (pictures / f"{name}.txt").write_text(f"图 {name}\n", encoding="utf-8")
    data = CaptionFolder(pictures)
    assert [data.caption(i) for i in range(4)] == ["图 0", "图 1", "图 2", "图 more/a"]
    (pictures / "1.txt").unlink()
    with pytest.raises(PaidiffError, match="1.png: .*needs metadata.jsonl .* 1.txt"):
        CaptionFolder(pictures)
    data = CaptionFolder(pictures, captions=False)
    assert [data.caption(0), data.caption(1)] == ["图 0", ""]


def test_the_older_tsv(tmp_path):
    picture = raw(halves())
    lines = [b"1\t" + "雪地".encode() + b"\t" + base64.b64encode(picture)]
    lines += [b"2\t" + "猫".encode() + b"\t" + base64.urlsafe_b64encode(picture), b""]
    (tmp_path / "train.tsv").write_bytes(b"\n".join(lines))
    for place in (tmp_path, tmp_path / "train.tsv"):
        data = CaptionFolder(place)
        assert [data.caption(i) for i in range(len(data))] == ["雪地", "猫"]
        assert data.image(0, 16).tobytes() == data.image(1, 16).tobytes()
    (tmp_path / "train.tsv").write_bytes(b"1\tx\t%%%%\n")
    with pytest.raises(PaidiffError, match="train.tsv:1: .*base64"):
        CaptionFolder(tmp_path).image(0, 16)
    (tmp_path / "train.tsv").write_bytes(b"1\tx\n")
    with pytest.raises(PaidiffError, match="train.tsv:1: .*three columns"):
        CaptionFolder(tmp_path)


FAULTS = [
    ("{broken", "metadata.jsonl:1: .*file_name"),
    ('["0.png", "x"]', "metadata.jsonl:1: .*file_name"),
    ({"file_name": "0.png"}, "caption is empty"),
    ({"file_name": "0.png", "text": "  "}, "caption is empty"),
    ({"file_name": "no.png", "text": "x"}, "no such picture: no.png"),
    ({"file_name": "../secret.png", "text": "x"}, "may not leave"),
    ({"file_name": "a/../../secret.png", "text": "x"}, "may not leave"),
    ({"file_name": "/etc/hostname", "text": "x"}, "may not leave"),
    ({"file_name": "link.png", "text": "x"}, "link leads out"),
    ({"file_name": "linked/secret.png", "text": "x"}, "link leads out"),
    ({"file_name": 7, "text": "x"}, "may not leave"),
]


@pytest.mark.parametrize("row, words", FAULTS)
def test_a_faulty_manifest_is_refused(tmp_path, row, words):
    folder = tmp_path / "set"
    folder.mkdir()
    halves().save(tmp_path / "secret.png")
    halves().save(folder / "0.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(PaidiffError, match=words) as caught:
        CaptionFolder(manifest(folder, [row]))
    assert "\n" not in str(caught.value)


def test_nothing_there(tmp_path):
    with pytest.raises(PaidiffError, match="no pictures"):
        CaptionFolder(tmp_path)
    with pytest.raises(PaidiffError, match="no such folder"):
        CaptionFolder(tmp_path / "no")
    (tmp_path / "metadata.jsonl").write_bytes("草地上的猫".encode("gb18030"))
    with pytest.raises(PaidiffError, match="UTF-8"):
        CaptionFolder(tmp_path)


def test_variants(pictures):
    assert CaptionFolder(pictures).variants(0) == [(0.5, False)]
    flipped = CaptionFolder(pictures, random_flip=True)
    assert flipped.variants(0) == [(0.5, False), (0.5, True)]
    assert flipped.variants(2) == [(0.5, False)]  # its caption says 左
    assert len(CaptionFolder(pictures, center_crop=False, random_flip=True).variants(0)) == 6


def test_the_fingerprint_knows_pictures_captions_and_settings(pictures):
    first = CaptionFolder(pictures).fingerprint
    assert CaptionFolder(pictures).fingerprint == first != CaptionFolder(pictures, random_flip=True).fingerprint
    halves(size=(50, 50)).save(pictures / "1.png")
    second = CaptionFolder(pictures).fingerprint
    manifest(pictures, [{"file_name": "0.png", "text": "猫"}])
    assert len({first, second, CaptionFolder(pictures).fingerprint}) == 3


# --- the cache --------------------------------------------------------------------------------------------------


def test_latents_and_embeddings_are_what_the_encoders_say(tiny, pictures):
    data = CaptionFolder(pictures, random_flip=True)
    encoded = LatentCache(tiny, data)
    x = torch.from_numpy(np.array(data.image(1, 64, (0.5, True)), np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = tiny.vae.encode(x.to(tiny.vae.dtype)).latent_dist
        text = encode_captions(tiny, ["草地上的猫"])[0]
    moments = encoded.moments(1, (0.5, True))
    assert torch.equal(moments[0], expected.mean[0]) and torch.equal(moments[1], expected.std[0])
    assert not torch.equal(moments, encoded.moments(1, (0.5, False)))
    assert torch.equal(encoded.embedding("草地上的猫"), text)


def test_a_half_precision_vae_encodes_in_single_precision(tiny, pictures):
    picture = CaptionFolder(pictures).image(0, 64)
    single = encode_picture(tiny, picture)
    tiny.vae.to(torch.float16)
    assert torch.equal(encode_picture(tiny, picture), single) and tiny.vae.dtype == torch.float16


def test_the_disk_cache_spares_the_encoders(tiny, pictures, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = LatentCache(tiny, CaptionFolder(pictures), cache)
    files = sorted(cache.rglob("*.tensor"))
    assert len(files) == 6 and not list(cache.rglob("*.part"))
    calls = []
    monkeypatch.setattr(latents, "encode_picture", lambda *a: calls.append(a) or encode_picture(*a))
    again = LatentCache(tiny, CaptionFolder(pictures), cache)
    assert torch.equal(first.moments(0, (0.5, False)), again.moments(0, (0.5, False))) and not calls
    for file in files:  # cut in the middle, as a full disk leaves it, or with one bad byte
        damaged = bytearray(file.read_bytes())
        damaged[-1] ^= 1
        file.write_bytes(damaged if file is files[0] else damaged[:50])
    mended = LatentCache(tiny, CaptionFolder(pictures), cache)
    assert torch.equal(first.moments(0, (0.5, False)), mended.moments(0, (0.5, False))) and len(calls) == 3


def test_with_a_cache_memory_holds_a_batch_and_the_losses_are_the_same(tiny, pictures, tmp_path, monkeypatch):
    """So a set may be larger than the memory: each tensor is read when it is wanted, and let go."""
    read, get = [], TensorFolder.get

    def noted(folder, key):
        found = get(folder, key)
        found is None or read.append(weakref.ref(found))
        return found

    def steps(cache):
        lora = LoRA(copy.deepcopy(tiny), rank=2)
        for step in train(lora, CaptionFolder(pictures), 6, 1e-3, batch_size=1, cache=cache):
            yield step.loss, sum(tensor() is not None for tensor in read)

    monkeypatch.setattr(TensorFolder, "get", noted)
    in_memory, on_disk = list(steps(None)), list(steps(tmp_path / "cache"))
    assert [loss for loss, _ in on_disk] == [loss for loss, _ in in_memory]
    assert len(read) >= 2 * 6 and max(there for _, there in on_disk) <= 2  # a latent and an embedding


def test_another_picture_size_or_vae_is_encoded_anew(tiny, pictures, tmp_path):
    def count(**settings):
        LatentCache(tiny, CaptionFolder(pictures, **settings), tmp_path / "cache", text=False)
        return len(list((tmp_path / "cache").rglob("*.tensor")))

    assert (count(), count(), count(size=32), count(random_flip=True)) == (3, 3, 6, 8)
    halves(left=(0, 255, 0)).save(pictures / "0.png")
    assert count() == 9
    next(tiny.vae.decoder.parameters()).data += 1  # the decoder has no part in it
    assert count() == 9
    next(tiny.vae.encoder.parameters()).data += 1
    assert count() == 12


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    cache = TensorFolder(tmp_path)
    monkeypatch.setattr("paidiff_lib.files.os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError):
        cache["ab12"] = torch.ones(2)
    monkeypatch.undo()
    assert cache.get("ab12") is None and not list(tmp_path.rglob("*.part"))
    cache["ab12"] = torch.zeros(2)
    assert torch.equal(cache.get("ab12"), torch.zeros(2))


def test_an_impossible_size(tiny, pictures):
    with pytest.raises(PaidiffError, match="multiple of 8"):
        LatentCache(tiny, CaptionFolder(pictures, size=60))


def test_a_square_picture_is_encoded_once(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    Image.new("RGB", (96, 64)).save(tmp_path / "b.png")
    data = CaptionFolder(tmp_path, center_crop=False, captions=False)
    assert [len(data.variants(i)) for i in range(2)] == [1, 3]
