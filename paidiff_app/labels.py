"""What the fields of the page and of the playground are called, in one table: zh · en."""

NONE = "不用 · none"
ANY = "模型自己的 · the model's own"
OPENING = "雪地里的两只企鹅"  # the prompt that is there first: one that the small model draws well
NO_WORD = "不写 · none"
DICE = "掷骰子 · Dice"
DRAW = "画 · Draw"
STOP = "停 · Interrupt"

LABELS = {  # field: (on the page, in the playground, where a label has 92 pixels)
    "prompt": ("提示词 · Prompt", "提示词 prompt"),
    "negative_prompt": ("反向提示词 · Negative prompt", "不要 negative"),
    "model": ("模型 · Model", "模型 model"),
    "lora": ("LoRA", "LoRA"),
    "lora_scale": ("强度 · Scale", "强度 scale"),
    "embeddings": ("学来的词 · Textual Inversion", "词 words"),
    "sampler": ("采样器 · Sampler", ""),
    "seed": ("种子,-1 任意 · Seed, -1 any", "种子 seed"),
    "steps": ("步数 · Steps", "步数 steps"),
    "guidance": ("引导强度 · Guidance", "引导 guidance"),
    "width": ("宽 · Width", "宽 width"),
    "height": ("高 · Height", "高 height"),
    "hires": ("放大一倍,再画一遍 · Hires fix: twice the size, redrawn", ""),
    "n": ("张数 · Pictures", "张数 pictures"),
    "task": ("", "做什么 task"),
    "image": ("从这张图画起 · Begin with", "放一张图 · picture"),
    "strength": ("改动多少 · Strength", "改动 strength"),
    "feather": ("羽化,像素 · Feather, pixels", ""),
    "control_image": ("原图 · Picture", ""),
    "control_scale": ("轮廓管多少 · How strongly", "轮廓 edges"),
    "edges": ("轮廓 · Edges", ""),
    "gallery": ("图 · Pictures", ""),
    "history": ("历史,点一张取回它和它的设置 · History: a click brings a picture back with its settings", ""),
    "compare": ("并排比 · Side by side", ""),
    "infotext": ("这张图的设置,也在 PNG 里 · Its settings, in the PNG too", ""),
    "dropped": ("取回设置 · Settings back", "取回设置 · Take back"),
}
TASKS = {  # task: (the page's tab, in the playground)
    "text2img": ("文生图", "文生图 · text to image"),
    "img2img": ("图生图", "图生图 · image to image"),
    "inpaint": ("局部重绘", ""),
    "controlnet": ("ControlNet", "沿轮廓 · ControlNet"),
}
CHIPS = {  # part of a prompt: what its chips are called
    "subject": "主体 · Subject",
    "background": "背景 · Place",
    "style": "画风 · Style",
    "colour": "颜色 · Colour",
    "count": "数量 · Count",
}
ACTIONS = {  # what can be done with the picture that was chosen: on its button
    "reuse": "种子 · Seed",
    "pin": "对比 · Compare",
    "img2img": "→ 图生图",
    "inpaint": "→ 局部重绘",
    "controlnet": "→ ControlNet",
}
KINDS = {  # of words that a model knows
    "subjects": "主体 · subjects",
    "backgrounds": "背景 · backgrounds",
    "styles": "画风 · styles",
    "colours": "颜色 · colours",
    "counts": "数量 · counts",
    "flaws": "毛病,写进反向提示词 · flaws, for the negative prompt",
    "others": "别的 · others",
}


def embedding_choices(engine):
    """[(what to show, name)] of the embeddings that can be chosen now."""
    return [(f"{name} · {token}" if token else name, name) for name, token in engine.embeddings().items()]
