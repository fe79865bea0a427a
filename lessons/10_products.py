# %% [markdown] lang="zh"
# # 10 · 产品：操作台、网页、HTTP 接口
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：在笔记本里用一行打开*操作台*（playground）；把模型当*服务*（service）跑起来，用 WebUI 的客户端和 PAI-EAS 的写法调用它；打开一个离线的*网页*；把第 3 课那样微调出来的 LoRA 放进这三处；知道什么请求会被拒绝、怎么给别人用才安全。
#
# **用时**：两核 CPU 上全部运行约三分钟，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 10 · Products: a playground, a web page, an HTTP API
#
# **Offline · CPU · no GPU needed**
#
# **You will**: open a *playground* in the notebook with one line; run the model as a *service* and call it as a client of the WebUI does, and as PAI-EAS does; open a *web page* that works offline; take a LoRA trained as in lesson 3 into all three; know which requests are refused, and how to let others use it safely.
#
# **Time**: About three minutes for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, LoRA, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("10", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 10.1 先要一个 LoRA
#
# 和第 3 课一样训练青花瓷，存到一个放 LoRA 的文件夹。已经有 `../out/03/porcelain` 的话，也可以直接用它。

# %% [markdown] lang="en"
# ## 10.1 First a LoRA
#
# Train the porcelain style as in lesson 3 and save it in a folder of LoRAs. If you kept `../out/03/porcelain`, use that instead.

# %%
from paidiff_lib.methods.lora import WIDE
import shutil
from pathlib import Path

out = Path("../out/10")
shutil.rmtree(out, ignore_errors=True)
lora = LoRA(pipe, rank=8, layers=WIDE)
for step in paidiff.watch(
    paidiff.train(
        lora,
        CaptionFolder(paidiff.data("porcelain")),
        **profile.lora,
        lr_scheduler="cosine",
        caption_dropout=0.15,
        seed=0,
    ),
    profile.lora["steps"],
):
    pass
lora.save(out / "loras/porcelain")
print(sorted(path.name for path in (out / "loras/porcelain").iterdir()))

# %% [markdown] lang="zh"
# ## 10.2 操作台
#
# 一行，运行这个单元格就出现。画的时候笔记本不卡，每一步有预览，随时可以停；每张图都记着它的设置，点一下就取回来。没有 ipywidgets 的地方，它会告诉你怎么用一行代码画。

# %% [markdown] lang="en"
# ## 10.2 The playground
#
# One line; run the cell to see it. The notebook stays free while it draws, every step shows a preview, you can interrupt at any time; every picture keeps its settings, and a click takes them back. Where ipywidgets are missing, it says how to draw with one line.

# %% tags=["nbval-ignore-output"]
import paidiff_app

board = paidiff_app.playground(loras=out / "loras")

# %% [markdown] lang="zh"
# 下面用代码代替鼠标：填好提示词，选上 LoRA，按“画”。

# %% [markdown] lang="en"
# Code in place of the mouse: fill in the prompt, choose the LoRA, press Draw.

# %% tags=["nbval-ignore-output"]
from paidiff_app.widgets import Playground

board = board or Playground(loras=out / "loras")  # outside a notebook nothing was shown
board.prompt.value, board.seed.value, board.steps.value = (
    "猫,草地,青花瓷",
    3,
    profile.steps,
)
for board.lora.value in ("不用 · none", "porcelain"):
    board.start()
    board.wait()
(without, *_), (along, infotext, *_) = board.history[-2:]
print(infotext)
show([without, along], titles=["-", "porcelain"])

# %% [markdown] lang="zh"
# ## 10.3 服务
#
# `paidiff serve` 在另一个进程里跑，只听本机（127.0.0.1）。`--port 0` 让系统选一个空端口，它会打印出地址。

# %% [markdown] lang="en"
# ## 10.3 The service
#
# `paidiff serve` runs in a process of its own and listens on this machine only (127.0.0.1). `--port 0` lets the system choose a free port; the address is printed.

# %%
import atexit, re, subprocess, sys
from paidiff_lib.models.load import model_name


def started(*arguments):
    command = [
        sys.executable,
        "-m",
        "paidiff_app.cli",
        *arguments,
        "--port",
        "0",
        "--model",
        model_name(),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    atexit.register(process.terminate)  # at the end of this notebook at the latest
    # it may have something else to say first
    found = (re.search(r"http://[\d.:]+", line) for line in process.stdout)
    return process, next(filter(None, found)).group()


service, address = started("serve", "--lora", str(out / "loras/porcelain"))

# %% [markdown] lang="zh"
# WebUI 的客户端发的就是这样的请求；`webuiapi` 这样的库不用改就能用。

# %% [markdown] lang="en"
# This is what a client of the WebUI sends; libraries such as `webuiapi` work unchanged.

# %% tags=["nbval-ignore-output"]
import base64, io, json
import urllib.error, urllib.request
from PIL import Image


def call(path, **body):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(
        address + path, data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.read()


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


webui = json.loads(
    call(
        "/sdapi/v1/txt2img",
        prompt="猫,草地,青花瓷",
        negative_prompt="模糊",
        seed=3,
        steps=profile.steps,
        batch_size=2,
    )
)
platform = json.loads(
    call(
        "/",
        text="雪地里的两只企鹅,青花瓷",
        num_inference_steps=profile.steps,
        num_images=1,
    )
)
print(list(webui), list(platform))
pictures = [opened(text) for text in webui["images"]]
print(pictures[0].info["parameters"])
show(
    [*pictures, opened(platform["images_base64"][0])],
    titles=["WebUI 1", "WebUI 2", "PAI-EAS"],
)

# %% [markdown] lang="zh"
# 做不到的、不该做的，用一行话拒绝，服务照样活着：

# %% [markdown] lang="en"
# What cannot be done, or should not be, is refused in one line, and the service lives on:

# %%
for wrong in (
    {"prompt": "猫", "width": 100_000},
    {"prompt": "猫", "steps": "许多"},
    {"prompt": "猫" * 10_000},
):
    try:
        call("/sdapi/v1/txt2img", **wrong)
    except urllib.error.HTTPError as refused:
        print(refused.code, json.loads(refused.read())["detail"][:120])

# %% tags=["nbval-ignore-output"]
print(json.loads(call("/health")))
lines = call("/metrics").decode().splitlines()
print(
    "\n".join(
        line
        for line in lines
        if not line.startswith("#") and "bucket" not in line and "created" not in line
    )
)

# %% tags=["nbval-ignore-output"]
service.terminate()
print("exit code", service.wait(60))

# %% [markdown] lang="zh"
# 忙的时候，设置相同的请求会一起画；排队满了答 503，不会把内存吃光。二十个客户端、两百个请求的测量：`python benchmarks/load.py`。

# %% [markdown] lang="en"
# While it is busy, requests with the same settings are drawn together; a full queue answers 503 instead of filling the memory. Two hundred requests from twenty clients: `python benchmarks/load.py`.

# %% [markdown] lang="zh"
# ## 10.4 网页
#
# `paidiff web` 是给人用的：文生图、图生图、局部重绘、ControlNet 四页，选 LoRA，36 条画廊，图里带着设置，拖回去就还原。不连任何外网。

# %% [markdown] lang="en"
# ## 10.4 The web page
#
# `paidiff web` is for people: four tabs (text to image, image to image, inpainting, ControlNet), LoRAs to choose, the gallery of 36, pictures that carry their settings and restore them when dropped back. It asks nothing of the network.

# %% tags=["nbval-ignore-output"]
page, address = started("web", "--loras", str(out / "loras"))
print(address)

# %% [markdown] lang="zh"
# 页面上的每个按钮也有接口；这里用它的客户端代替鼠标。

# %% [markdown] lang="en"
# Every button of the page has an endpoint too; its client stands in for the mouse.

# %% tags=["nbval-ignore-output"]
from gradio_client import Client
from paidiff_lib.generate import guidance_of
from paidiff_app.infotext import settings_in

client = Client(address, verbose=False)
job = client.submit(
    "猫,草地,青花瓷",
    "",
    Path(model_name()).name,
    "porcelain",
    1.0,
    [],
    "模型自己的 · the model's own",
    3,
    profile.steps,
    guidance_of(pipe),
    profile.size,
    profile.size,
    1,
    api_name="/txt2img",
)
job.result(600)
shown = [
    gallery if isinstance(gallery, list) else gallery.get("value")
    for _, gallery, *_ in job.outputs()
]
on_page = Image.open([gallery for gallery in shown if gallery][-1][0]["image"])
print(settings_in(on_page))
assert profile.same(along, on_page)  # the playground's picture, by another door
show(on_page, titles="/txt2img")

# %%
page.terminate()
page.wait(60)

# %% [markdown] lang="zh"
# ## 10.5 给别人用
#
# ```bash
# PAIDIFF_TOKEN=at-least-16-characters paidiff serve --host 0.0.0.0 --lora out/10/loras/porcelain
# PAIDIFF_TOKEN=at-least-16-characters paidiff web --host 0.0.0.0 --loras out/10/loras
# ```
#
# * 离开本机就必须有令牌。
# * 请求里的路径和链接从不打开。
# * `deploy/` 里有容器和 PAI-EAS 的描述：**没有试过**，这里没有容器也连不上平台。

# %% [markdown] lang="en"
# ## 10.5 Let others use it
#
# ```bash
# PAIDIFF_TOKEN=at-least-16-characters paidiff serve --host 0.0.0.0 --lora out/10/loras/porcelain
# PAIDIFF_TOKEN=at-least-16-characters paidiff web --host 0.0.0.0 --loras out/10/loras
# ```
#
# * Away from this machine a token is required.
# * No path or link in a request is ever opened.
# * `deploy/` describes a container and PAI-EAS: **untested**, there is neither where this was written.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 10.6 自己试试
#
# 1. `pip install webuiapi`，用它画一张。
# 2. 在网页上画到一半按“停”。
# 3. 把网页里存下来的图拖回去：设置回来了吗？

# %% [markdown] lang="en" tags=["exercise"]
# ## 10.6 Try it yourself
#
# 1. Draw with `webuiapi`.
# 2. Interrupt a drawing on the page.
# 3. Drop a saved picture back: are its settings there?

# %% [markdown] lang="zh"
# ## 10.7 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 端口被占 | 换 `--port`，或 `--port 0`。 |
# | 401 | 带上令牌：`Authorization: Bearer …`。 |
# | 503 | 排队满了，过一会儿再来。 |
# | `缺 gradio` | `pip install -c constraints.txt -e .[web]`。 |

# %% [markdown] lang="en"
# ## 10.7 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | the port is in use | Another `--port`, or 0. |
# | 401 | Send the token. |
# | 503 | The queue is full, come back later. |
# | `缺 gradio` | `pip install -c constraints.txt -e .[web]`. |

# %% [markdown] lang="zh"
# ## 10.8 小结
#
# * 操作台给自己，网页给人，接口给程序；背后是同一个模型。
# * 微调出来的 LoRA 是一个文件夹，放到哪里都能用。
# * 服务要会拒绝：一行话，不崩。

# %% [markdown] lang="en"
# ## 10.8 Summary
#
# * A playground for yourself, a page for people, an API for programs; the same model behind them.
# * A LoRA is a folder that works in all of them.
# * A service has to know how to refuse: one line, no crash.
