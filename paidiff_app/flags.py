"""Flags of diffusers' and PAI's training scripts that are no flags here: what has no effect, and what is refused."""

from difflib import get_close_matches

from paidiff_lib.errors import Refused

# flag: why it changes nothing
NO_EFFECT = {
    "dataloader_num_workers": "图片在第一步之前编码一次 · pictures are encoded once, before the first step",
    "enable_xformers_memory_efficient_attention": "torch 自带的注意力已经省显存 · torch's own attention saves as much",
    "use_8bit_adam": "用的是完整的 AdamW,多占显存,结果一样好 · AdamW in full: more memory, no worse a result",
    "set_grads_to_none": "一直这样 · always so",
    "pre_compute_text_embeddings": "能先算的都先算了 · what can be computed before is",
    "local_rank": "由 accelerate 告诉每个进程 · accelerate tells each process",
    "allow_tf32": "显卡有 TF32 就用 · TF32 is used wherever a card has it",
    "foreach_ema": "只是快慢 · a matter of speed",
    "offload_ema": "只是显存 · a matter of memory",
    "prior_generation_precision": "同类图用模型自己的精度画 · class pictures are drawn in the model's own precision",
    "sample_batch_size": "同类图一次画几张由显存定 · memory says how many class pictures are drawn at once",
    "no_safe_serialization": "总是写 safetensors,加 --also_bin 另写 .bin · always safetensors; --also_bin writes .bin files beside",
    "save_as_full_pipeline": "总是写整个模型和词向量 · always the whole model, and the embedding",
    "skip_save_text_encoder": "总是写整个模型 · always the whole model",
    "save_steps": "词向量在每个检查点里,用 --checkpointing_steps · in every checkpoint: --checkpointing_steps",
    "hub_token": "什么也不上传 · nothing is uploaded",
    "hub_model_id": "什么也不上传 · nothing is uploaded",
}
UPLOAD = "训练后自己上传 · upload it afterwards: hf upload NAME OUTPUT_DIR"
DOWNLOAD = "先下载到一个文件夹,再给 --pretrained_model_name_or_path · download it, then name the folder"
# flag: what to use instead
REFUSED = {
    "push_to_hub": UPLOAD,
    "revision": DOWNLOAD,
    "variant": DOWNLOAD,
    "non_ema_revision": DOWNLOAD,
    "dataset_config_name": "给 --train_data_dir 一个文件夹 · give --train_data_dir a folder",
    "tokenizer_name": "词表是模型自带的 · the model's own tokenizer is used",
    "tokenizer_max_length": "词表是模型自带的 · the model's own length is used",
    "text_encoder_use_attention_mask": "这些模型训练时没有用 · these models were made without it",
    "class_labels_conditioning": "这些模型没有类别条件 · these models take no class labels",
    "image_interpolation_mode": "总是 lanczos · always lanczos",
    "input_perturbation": "用 --noise_offset 或不用 · --noise_offset, or do without",
    "dream_training": "用 --snr_gamma=5 · --snr_gamma=5",
    "dream_detail_preservation": "用 --snr_gamma=5 · --snr_gamma=5",
    "validation_scheduler": "用模型自己的采样器画 · drawn with the model's own sampler",
    "validation_image": "沿第一张训练图画;别的图训练后用 draw_along · drawn along the first picture; others with draw_along",
    "validation_images": "只画 --validation_prompt · drawn from --validation_prompt only",
}
# The value at which a refused flag asks for nothing.
PLAIN = {"image_interpolation_mode": "lanczos", "input_perturbation": "0", "dream_detail_preservation": "1"}
PLAIN |= {"validation_scheduler": "DPMSolverMultistepScheduler"}


def sort_out(rest, known):
    """What is left of a command line: says what has no effect; returns the words that are no flag of anybody.

    rest: words that are no flags here; known: the flags that are. Raises Refused for what is refused.
    """
    words, unknown = list(rest), []
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not equals and words and not words[0].startswith("--"):
            value = words.pop(0)
        name = name.removeprefix("--").replace("-", "_")
        if name in REFUSED and not _is_plain(name, value):
            raise Refused(f"不支持 --{name}", "is not supported", REFUSED[name])
        if name in REFUSED or name in NO_EFFECT:
            print(
                f"--{name}: 这里没有作用,{NO_EFFECT.get(name, REFUSED.get(name, '')).replace(' · ', ' · no effect here, ')}"
            )
        else:
            near = get_close_matches(name, [*known, *NO_EFFECT, *REFUSED], 1)
            unknown.append(f"--{name}" + (f" (是不是 did you mean: --{near[0]})" if near else ""))
    return unknown


def _is_plain(name, value):
    plain = PLAIN.get(name)
    try:
        return plain is not None and (value == plain or float(value) == float(plain))
    except ValueError:
        return False
