"""Textual Inversion: a new word is taught to a frozen model, a few numbers in all (Gal et al. 2022).

word = TextualInversion(pipe, "<小奶猫>", initializer="猫")
for step in train(word, CaptionFolder("../data/kitten", captions=False), steps=100, learning_rate=5e-3): ...
draw(pipe, "一只<小奶猫>在草地上")
word.save("out/kitten")               # the embedding alone, some kilobytes
word.save_model("out/kitten-model")   # the whole model with the new word in it
"""

import json
import random
from pathlib import Path
from typing import Any

from ..arguments import explicit, require_int
from ..errors import NotFound, PaidiffError, Refused, first_line, unknown
from ..files import output_folder
from ..models.save import require_finite, require_same, save_pipeline
from ..models.verify import read_weights
from .base import Method

# {} is the new word. Only words that a small vocabulary is likely to have; 照片 may be new to it, and does no harm.
OBJECT = tuple("{} 一只{} 一个{} 一张{}的照片 {}的照片 {}的特写 一张{}的图片 {},高清 一张好看的{}的照片".split())
STYLE = tuple("{} {}风格 {}风格的画 一幅{}风格的画 一张{}风格的图片 {}风格,高清 好看的{}风格的画".split())
TEMPLATES = {"object": OBJECT, "style": STYLE}
OLD_NAMES = {"placeholder_token": "token", "initializer_token": "initializer", "num_vectors": "vectors"}
OLD_NAMES["learnable_property"] = "learnable"
FILE = "learned_embeds.safetensors"
TAUGHT = "_paidiff_words"  # note on a text encoder: {word taught to it: its vectors as they are in a file, or began}


class TextualInversion(Method):
    """A new word `token` of `vectors` embeddings, which start as that of the one-token word `initializer`.

    learnable: "object" or "style", which caption templates are used. A data set's own caption is used in their place
    if it holds the token, or {} where the token belongs. A word that was taught before under this name is replaced, with a
    line if it was trained and not saved. Raises PaidiffError.
    """

    trains_text, weight_decay = True, 0.0  # decay would pull the word towards the zero vector, which means nothing

    @explicit(**OLD_NAMES)
    def __init__(
        self, pipe: Any, token: str = "<小奶猫>", initializer: str = "猫", vectors: int = 1, learnable: str = "object"
    ):
        import torch

        super().__init__(pipe)
        if learnable not in TEMPLATES:
            raise unknown("类别", "property", learnable, TEMPLATES)
        require_int(vectors, 1, pipe.tokenizer.model_max_length - 3, "vectors ", "vectors")
        self.token, self.initializer, self.learnable = token, initializer, learnable
        start = _embeddings(pipe).weight[_one_token(pipe.tokenizer, initializer)].detach().float()
        self.vectors = torch.nn.Parameter(start.repeat(vectors, 1).clone())
        self.ids = add_token(pipe, token, self.vectors.detach())
        self._in_file = _taught(pipe)[token]

    def parameters(self):
        if _taught(self.pipe).get(self.token) is not self._in_file:
            en = "this word is no longer in the model: another one took its name"
            raise PaidiffError("这个词已经不在模型里了:被同名的换掉了", en, self.token)
        return {"vectors": self.vectors}

    def settings(self):
        own = {"token": self.token, "initializer": self.initializer, "learnable": self.learnable}
        return {**super().settings(), **own, "vectors": len(self.ids)}

    def caption(self, text):
        if "{}" in text:
            return text.replace("{}", self.token)
        return text if self.token in text else random.choice(TEMPLATES[self.learnable]).format(self.token)

    def hidden(self, captions):
        """As the pipeline encodes them, but the new word's rows are the parameters: nothing else can change."""
        handle = _embeddings(self.pipe).register_forward_hook(self._put)
        try:
            # the sum of nothing keeps a batch of empty captions differentiable
            return super().hidden(captions) + 0 * self.vectors.sum()
        finally:
            handle.remove()

    def _put(self, module, arguments, output):
        """Embeddings (B, tokens, width) of ids (B, tokens), with the vectors in their places."""
        import torch

        for vector, place in zip(self.vectors, self.ids):
            output = torch.where((arguments[0] == place)[..., None], vector.to(output.dtype), output)
        return output

    def after_step(self):
        """Copy the vectors into the model: it can be drawn with at any time."""
        rows = _embeddings(self.pipe).weight
        rows.data[self.ids] = self.vectors.detach().to(rows.device, rows.dtype)

    def save(self, folder):
        """Write learned_embeds.safetensors, {token: (vectors, width)}. Raises PaidiffError."""
        from safetensors.torch import save_file

        weights = {self.token: self.vectors.detach().cpu().contiguous()}
        require_finite(weights)
        with output_folder(folder) as staging:
            save_file(weights, staging / FILE)
            require_same(read_weights(staging / FILE), weights, FILE)
        self._in_file.copy_(weights[self.token])

    def save_model(self, folder, also_bin=False):
        """Write the whole model with the new word, and learned_embeds.safetensors: plain diffusers opens the folder.

        also_bin: .bin files beside the safetensors, for programs that read no others.
        """
        self.save(folder)
        save_pipeline(self.pipe, folder, also_bin)


@explicit(name="token", placeholder_token="token")
def load_embedding(pipe: Any, source: str | Path, token: str | None = None) -> str:
    """Teach a pipeline the word in a file or folder, of ours, of diffusers or of kohya. Returns the token.

    token: what to call it; None takes the name in the file. Unlike diffusers' own loader, every vector of a word with
    Chinese or upper-case letters counts: that one would silently use the first only. A word that was taught before under
    this name is replaced, with a line if it was trained and not saved. Raises PaidiffError.
    """
    path = Path(source)
    path = next((path / name for name in (FILE, "learned_embeds.bin") if (path / name).is_file()), path)
    name, vectors = read_embedding(path)
    token = token or name
    if not token:
        raise PaidiffError(f"{path.name} 没有写词的名字,请给出 token=", "does not name its word: give token=")
    add_token(pipe, token, vectors)
    return token


def add_token(pipe, token, vectors):
    """Add a word with these vectors (n, width) to tokenizer and text encoder. Returns its n ids. Raises PaidiffError.

    Several vectors are the tokens <x>, <x>_1, <x>_2, ..., into which diffusers' pipelines expand <x>. They do so by
    comparing strings; `normalized=False` keeps the tokenizer from taking Chinese apart and folding case before that.
    A word of this name that was taught before is replaced, with a line if it was trained and is in no file.
    """
    from transformers import AddedToken

    tokenizer, rows, taught = pipe.tokenizer, _embeddings(pipe), _taught(pipe)
    names, before = _names(token, vectors), _names(token, taught.get(token, ()))
    _check_new(tokenizer, token, [name for name in names if name not in before])
    found, needed = vectors.shape[1], rows.weight.shape[1]
    if found != needed:
        en = f"the vectors have width {found}, this model needs {needed}"
        raise Refused(f"词向量是 {found} 维,模型要 {needed} 维", en)
    if before:
        _say_if_lost(pipe, token, before)
        _retire(tokenizer, before[len(names) :])
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
    if len(tokenizer) > len(rows.weight):
        pipe.text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    ids = tokenizer.convert_tokens_to_ids(names)
    rows = _embeddings(pipe).weight
    rows.data[ids] = vectors.to(rows.device, rows.dtype)
    read = tokenizer(pipe.maybe_convert_prompt(token, tokenizer), add_special_tokens=False)["input_ids"]
    if read != ids:
        en = "the tokenizer does not read the new word"
        raise PaidiffError("分词器读不出这个新词", en, f"{token}: {read} != {ids}")
    taught[token] = vectors.detach().float().cpu().clone()
    return ids


def _names(token, vectors):
    return [f"{token}_{i}" if i else token for i in range(len(vectors))]


def _taught(pipe):
    return vars(pipe.text_encoder).setdefault(TAUGHT, {})


def _say_if_lost(pipe, token, names):
    """A line if the vectors of a word that is about to be replaced are in no file."""
    found = _embeddings(pipe).weight.detach()[pipe.tokenizer.convert_tokens_to_ids(names)]
    if not found.equal(_taught(pipe)[token].to(found)):
        en = f"the word {token} was trained and not saved; the new one takes its place"
        print(f"词 {token} 训练过,没有存,换成新的了 · {en}")


def _retire(tokenizer, names):
    """Take added words out of a tokenizer. BERT's [unused...] stand in for them, so that no other word's id moves."""
    if not names:
        return
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for added in state["added_tokens"]:
        if added["content"] in names:
            added["content"] = f"[unused{added['id']}]"
    tokenizer._tokenizer = tokenizer.backend_tokenizer.from_str(json.dumps(state))


def _check_new(tokenizer, token, names):
    if not token or any(c.isspace() for c in token):
        en = "the placeholder must not be empty or hold spaces"
        raise PaidiffError("占位词不能是空的,也不能有空格", en, repr(token))
    known = [name for name in names if name in tokenizer.get_vocab()]
    if known:
        zh, en = f"词表里已经有 {known[0]},换一个占位词,或重新 load 模型", f"{known[0]} is in the vocabulary already"
        raise PaidiffError(zh, en, "choose another placeholder, or load the model anew")


def _one_token(tokenizer, word):
    """The id of a word that is one token. Raises PaidiffError that names the words it falls apart into."""
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
        return ids[0]
    if tokenizer.unk_token_id in ids or not ids:
        en = "the initializer is not in the vocabulary"
        raise NotFound("词表里没有初始词", en, f"{word!r}; 试试 try 猫, 狗, 花")
    parts = " ".join(tokenizer.convert_ids_to_tokens(ids))
    zh = f"初始词要正好是一个词元,{word} 有 {len(ids)} 个,用其中一个:{parts}"
    raise PaidiffError(zh, f"the initializer must be one token, {word} is {len(ids)}; take one of them", parts)


def _embeddings(pipe):
    return pipe.text_encoder.get_input_embeddings()


def read_embedding(path):
    """(name or None, vectors (n, width)) of a file. Raises Refused, also for a file that holds anything besides."""
    try:
        state: Any = read_weights(path)
        name, table = state.get("name"), state.get("string_to_param")  # the WebUI's, with notes beside them
        table = state if table is None else table
        odd = next((key for key, vectors in table.items() if "." in key or vectors.ndim not in (1, 2)), None)
    except Exception as error:  # a missing file, damage, a pickle with code in it, or any other layout
        raise Refused("词向量读不出来", f"cannot read the embedding {path}", first_line(error)) from error
    if odd or len(table) != 1:
        advice = "; load_lora(...)" if "lora" in (odd or "") else ""
        what = f"{path}: {odd or ', '.join(sorted(table)) or '-'}{advice}"
        raise Refused("文件里不是一个词的向量", "not the vectors of one word", what)
    require_finite(table, path)
    ((key, vectors),) = table.items()
    name = name if key == "*" else None if key == "emb_params" else key
    return name, vectors.detach().float().reshape(-1, vectors.shape[-1])
