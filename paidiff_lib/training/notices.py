"""What a training run prints to the one who started it."""

from ..prompts import too_long

FAULTS_LISTED = 20  # lines about pictures that were left out


def list_faults(faults):
    """Print which pictures were left out, and why."""
    print(f"跳过 {len(faults)} 处有问题的 · left out {len(faults)} at fault:")
    rest = "\n    …" if len(faults) > FAULTS_LISTED else ""
    print("\n".join(f"    {fault}" for fault in faults[:FAULTS_LISTED]) + rest)


def say_left_out(data, steered):
    """Print how many pictures lie below the folder and are not trained on. steered: whether conditions are used."""
    if data.left_out:
        zh, en = f"{len(data.left_out)} 张图没有用上", f"{len(data.left_out)} pictures in the folder are not trained on"
        print(f"{zh},哪些、为什么 · {en}; which and why: paidiff audit")
    if data.has_conditions and not steered:
        print("清单里的条件图没有用:只有 ControlNet 看 · the conditioning images are not used: only a ControlNet is")


def say_cut(data, tokenizer):
    """Print how many captions are longer than what is read in training; a prompt of that length is drawn from in parts."""
    limit = tokenizer.model_max_length - 2
    captions = {text for index in range(len(data)) for text in data.captions(index) if len(text) > limit}
    count = sum(any(too_long(tokenizer, text)) for text in captions)
    if count:
        zh, en = (
            f"{count} 条说明太长,训练只看前 {limit} 个词元",
            f"{count} captions are cut, training reads {limit} tokens",
        )
        print(f"{zh},哪些 · {en}; which: paidiff audit --model")


def say_larger(data, native):
    """Print what a size beyond the model's own costs: the articles' --resolution=512 is for models of that size."""
    if data.size and data.size > native:
        times = f"{(data.size / native) ** 2:.1f}".removesuffix(".0")
        zh = f"训练用 {data.size}x{data.size},模型自己是 {native}x{native}:每步约 {times} 倍的时间"
        en = f"training at {data.size}x{data.size}, the model's own is {native}x{native}: {times} times the work a step"
        print(f"{zh};不写大小(--resolution)就用模型自己的 · {en}; leave the size out")


def say_without_effect(config):
    """Print which settings were given and change nothing beside the others."""
    for name, why in config.without_effect():
        print(f"{name}: {why.replace(' · ', ',这里没有作用 · no effect: ')}")


def say_no_samples():
    """Print that no process alone can draw while the weights are divided between them."""
    en = "no sample pictures on the way: the weights are divided between the processes"
    print(f"训练中不画样图:权重分在几个进程里 · {en}")


def say_how_to_go_on(trainer):
    """Print where a run that was stopped is saved, if it is."""
    if trainer.store:
        folder = trainer.store.folder
        zh, en = f"已存到 {folder};再运行一次就接着训练", f"saved in {folder}; run it again to go on"
    else:
        zh, en = "没有存;给出 output= 才能接着训练", "not saved: that needs output="
    place = f"{trainer.index}/{trainer.config.steps}"
    if trainer.is_main:
        print(f"停在第 {place} 步,{zh} · stopped at step {place}, {en}")


def say_passed_over(folder, names, ours):
    """Print which checkpoints are not gone on with: those of another program, and damaged ones. `ours` names our own."""
    for name in names:
        zh, en = ("坏了", "is damaged") if name in ours else ("不是这里写的", "is not of paidiff")
        print(f"{folder / name} {zh},不从它接着练,也不动它 · {en}: not gone on with, and left as it is")
