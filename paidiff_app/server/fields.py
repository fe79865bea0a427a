"""The WebUI's fields that nothing is made of here: what each may say, so that no client gets another picture than it asked for.

Null is allowed everywhere. tests/test_fields.py sends every one of them, at its defaults and at another value.
"""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field, create_model
from pydantic_core import PydanticCustomError

from paidiff_lib.errors import PaidiffError, one_line, unknown

# field: the values that ask for nothing. Any other would change the picture, and is refused
REFUSED = {
    **{"enable_hr": (False,), "restore_faces": (False,), "tiling": (False,), "disable_extra_networks": (False,)},
    **{"styles": ([],), "subseed_strength": (0,), "seed_resize_from_h": (0, -1), "seed_resize_from_w": (0, -1)},
    **{"eta": (0, 1), "s_churn": (0,), "s_noise": (1,), "s_min_uncond": (0,), "script_name": ("", "None")},
    **{"refiner_checkpoint": ("", "None"), "firstpass_image": ("",), "infotext": ("",), "send_images": (True,)},
}
REFUSED_OF_IMG2IMG = {"latent_mask": ("",), "resize_mode": (0,), "initial_noise_multiplier": (1,)}
# field: its defaults. Another value changes nothing where the fields above ask for nothing, and the answer says so
NO_EFFECT = {
    **{"hr_scale": (2,), "hr_upscaler": ("Latent", "None", ""), "hr_second_pass_steps": (0,), "hr_resize_x": (0,)},
    **{"hr_resize_y": (0,), "hr_checkpoint_name": ("",), "hr_sampler_name": ("",), "hr_scheduler": ("",)},
    **{"hr_prompt": ("",), "hr_negative_prompt": ("",), "firstphase_width": (0,), "firstphase_height": (0,)},
    **{"subseed": (-1,), "seed_enable_extras": (True,), "s_tmin": (0,), "s_tmax": (0,), "refiner_switch_at": (0, 0.8)},
    **{"script_args": ([], {}), "do_not_save_samples": (False,), "do_not_save_grid": (False,), "save_images": (False,)},
    **{"override_settings_restore_afterwards": (True,), "comments": ({}, "")},
}
NO_EFFECT_OF_TXT2IMG = {"denoising_strength": (0, 0.7, 0.75)}
NO_EFFECT_OF_IMG2IMG = {
    **{"image_cfg_scale": (1.5, 0), "mask_blur_x": (4,), "mask_blur_y": (4,), "mask_round": (True,)},
    **{"inpainting_fill": (0,), "inpaint_full_res": (True,), "inpaint_full_res_padding": (0,)},
    **{"include_init_images": (False,)},
}
NO_EFFECT_OF_THE_PLATFORM = {name: (False,) for name in ("use_blade", "use_translation", "skip_translation")}
# The same of the settings in /options and override_settings; the first value is what GET /options says
OPTIONS = {
    **{"CLIP_stop_at_last_layers": (1,), "sd_vae": ("Automatic", "None", ""), "sd_hypernetwork": ("None", "")},
    **{"sd_checkpoint_hash": ("",), "samples_format": ("png",), "eta_noise_seed_delta": (0,), "s_churn": (0,)},
}


def declare(name, base, refused, no_effect):
    """`base` with these fields, in the OpenAPI description too."""
    fields = {}
    for field, values in refused.items():
        listed = " / ".join(json.dumps(value) for value in values)
        fields[field] = Annotated[Any, Field(description=f"only {listed}"), AfterValidator(_only(values, listed))], None
    for field in no_effect:
        fields[field] = Annotated[Any, Field(description="no effect here")], None
    return create_model(name, __base__=base, __doc__=base.__doc__, **fields)


def _only(values, listed):
    def check(given):
        if given is not None and given not in values:
            said = "这里做不了,只能是 · cannot be done here, only {listed}"
            raise PydanticCustomError("not_offered", said, {"listed": listed})
        return given

    return check


def without_effect(wanted, no_effect):
    """The fields of a request that were sent and change nothing: a list of names."""
    given = {name: getattr(wanted, name) for name in no_effect}
    return [name for name, value in given.items() if value is not None and value not in no_effect[name]]


def say_no_effect(names):
    return [f"这里没有作用 · no effect here: {', '.join(names)}"] if names else []


def check_options(wanted, model, where=""):
    """Raise PaidiffError on settings that are not those of this service. model: the one that it draws with.

    where: the field that they stand in, with a dot.
    """
    known = {"sd_model_checkpoint": (model, ""), **OPTIONS}
    for name, value in wanted.items():
        if name not in known:
            raise unknown("设置", "setting", where + name[:80], known)
        if value is not None and value not in known[name]:
            listed = json.dumps(known[name][0], ensure_ascii=False)
            raise PaidiffError(f"{where}{name} 在这里只能是 {listed}", "the only value here", one_line(str(value)[:80]))


def check_scripts(wanted):
    """Raise PaidiffError if a script of `alwayson_scripts` is to do anything: there are none here."""
    for name, script in wanted.items():
        arguments = script.get("args", script) if isinstance(script, dict) else script
        if arguments and not _is_off(arguments):
            detail = f"alwayson_scripts: {one_line(name[:80])}"
            raise PaidiffError("这里没有脚本和扩展", "there are no scripts or extensions here", detail)


def _is_off(arguments):
    """ADetailer's [False] and ControlNet's [{"enabled": False}]."""
    first = arguments[0] if isinstance(arguments, list) else arguments
    units = arguments if isinstance(arguments, list) else [arguments]
    off = lambda unit: isinstance(unit, dict) and unit.get("enabled", unit.get("enable")) is False
    return first is False or all(map(off, units))
