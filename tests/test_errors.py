"""Every refusal is one line that says what was meant."""

from inspect import signature

import numpy as np
import pytest
from conftest import refused

from paidiff_lib.arguments import explicit, require_int
from paidiff_lib.errors import first_line, unknown


@explicit(lr="learning_rate")
def train(method, data, steps=1000, learning_rate=1e-4):
    return method, data, steps, learning_rate


class Method:
    @explicit()
    def __init__(self, pipe, rank=4):
        self.rank = rank


WRONG = [
    (lambda: train(1, 2, learning_rat=1), ["train takes no learning_rat", "did you mean: learning_rate"]),
    (lambda: train(1, 2, lr=1), ["takes no lr", "did you mean: learning_rate"]),
    (lambda: train(1, 2, xyz=1), ["choose from: method, data, steps, learning_rate"]),
    (lambda: Method(1, ranks=8), ["Method takes no ranks", "did you mean: rank"]),
    (lambda: Method(1, self_=8, zz=1), ["choose from: pipe, rank"]),
]


@pytest.mark.parametrize("call, words", WRONG)
def test_a_wrong_keyword_is_answered_with_the_right_one(call, words):
    refused(words, call)


def test_a_right_call_is_as_before():
    assert train(1, data=2, steps=3) == (1, 2, 3, 1e-4) and Method(1, rank=2).rank == 2
    assert list(signature(train).parameters) == ["method", "data", "steps", "learning_rate"]
    with pytest.raises(TypeError, match="missing"):
        train(1)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64", "uint64", "int"])
def test_whole_numbers_of_every_width(kind):
    value = require_int(np.dtype(kind).type(7), 0, 2**63 - 1, "种子", "seed")
    assert value == 7 and type(value) is int


@pytest.mark.parametrize("value", [True, np.True_, 2.0, np.float32(2), "2", b"2", None, [2], "x" * 9999, -1, 2**63])
def test_what_is_no_whole_number_in_the_range_is_refused_at_once(value):
    assert len(refused(["种子", "seed must be"], lambda: require_int(value, 0, 2**63 - 1, "种子", "seed"))) < 200


def test_an_unknown_name_lists_the_known_ones():
    assert "did you mean: ddim; 可选 choose from: ddim, dpm" in str(
        unknown("采样器", "sampler", "dimm", ["ddim", "dpm"])
    )
    assert first_line(ValueError()) == "ValueError" and first_line(ValueError("a\nb")) == "a"
