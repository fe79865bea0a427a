"""Captions as people write prompts: a sentence (雪地里的两只企鹅) or a list of tags (企鹅,雪地,水墨画,高清)."""

from . import words
from .words import BACKGROUNDS, COLOURS, FLAWS, MEASURE, NUMBERS, PLACE_PHRASES, PLACES, QUALITY, SUBJECTS

STYLES = words.STYLES | words.KEPT_OUT_STYLES


def describe(spec, rs, full=False):
    """One caption of a Spec. `full` leaves nothing out: for evaluation."""
    sentence = rs.rand() < 0.5 and spec.subject and spec.background in PLACE_PHRASES
    body = _sentence(spec, rs) if sentence else _tags(spec, rs, full)
    extras = _style(spec, rs, full) + _flaw(spec, rs, full) + _position(spec, rs)
    if not isinstance(body, list):
        return ",".join([body, *extras])
    words = body + extras
    rs.shuffle(words)
    return ",".join(words)


def _pick(options, rs):
    """The common name half of the time, else any."""
    return options[0] if rs.rand() < 0.5 else options[rs.randint(len(options))]


def _subject(spec, rs):
    colour = _pick(COLOURS[spec.colour][0], rs) if spec.colour else ""
    particle = "的" if colour and rs.rand() < 0.3 else ""
    return colour + particle + _pick(SUBJECTS.get(spec.subject, (spec.subject,)), rs)


def _counted(spec, rs):
    return NUMBERS[spec.count] + MEASURE[spec.subject] + _subject(spec, rs)


def _sentence(spec, rs):
    place, thing = _pick(PLACE_PHRASES[spec.background], rs), _counted(spec, rs)
    if spec.count == 1 and rs.rand() < 0.3:
        thing = _subject(spec, rs)
    form = rs.randint(4)
    return (f"{place}的{thing}", f"{thing}在{place}", f"{place}有{thing}", f"{thing},{place}")[form]


def _tags(spec, rs, full):
    words = []
    if spec.subject:
        words.append(_counted(spec, rs) if spec.count > 1 or rs.rand() < 0.3 else _subject(spec, rs))
    if full or not spec.subject or rs.rand() > 0.08:
        words.append(_pick(BACKGROUNDS[spec.background], rs))
    return words


def _style(spec, rs, full):
    named = full or rs.rand() > (0.6 if spec.style == "扁平" else 0.06)
    return [_pick(STYLES[spec.style], rs)] if named else []


def _flaw(spec, rs, full):
    if spec.flaw:
        return [_pick(FLAWS[spec.flaw], rs)] if full or rs.rand() > 0.1 else []
    return [QUALITY[rs.randint(len(QUALITY))]] if rs.rand() < 0.25 else []


def _position(spec, rs):
    if spec.place:
        return [PLACES[spec.place]]
    return ["特写"] if spec.size > 0.76 and rs.rand() < 0.5 else []
