# %% [markdown] lang="zh"
# # 10 · 产品：操作台、网页、HTTP 接口
#
# 模型会画了，别人怎么用？你自己在笔记本里点几下；同事打开一个网页；程序发一个请求。这一课给同一个模型开三扇门：*操作台*（playground）、*网页*、*HTTP 接口*，把自己训练的 LoRA 带进每一扇，看看三扇门里出来的图是不是同一张，再学会让服务*拒绝*不该接的请求。
#
# **用时**：读和做 35 分钟；全部运行约三分钟（一个 CPU 线程），不用 GPU，不用网络。**你需要**：[第 01 课](01_inference.ipynb)（画图的设置）和[第 03 课](03_lora.ipynb)（LoRA）。**学完你会**：用一行打开操作台；把模型当*服务*（service）跑起来，用 WebUI 的客户端和 PAI-EAS 的写法调用它；打开一个离线的网页；看懂 422、503、401；说出什么样的请求会一起画；安全地给别人用。
#
# **先想两个旧问题**：
# 1. [第 01 课](01_inference.ipynb)：要让别人画出和你一个像素不差的图，得告诉他哪几样？
# 2. [第 03 课](03_lora.ipynb)：训练好的 LoRA 存成什么？没有底下的模型，它能画吗？

# %% [markdown] lang="en"
# # 10 · Products: a playground, a web page, an HTTP API
#
# The model can draw; how do others get at it? You, in a notebook, with a few clicks; a colleague on a web page; a program with a request. This lesson opens three doors to one model: a *playground*, a *web page* and an *HTTP API*. It takes a LoRA of its own through each, asks whether the same picture comes out of all three, and teaches a service to *refuse* what it should not do.
#
# **Time**: 35 minutes of reading and doing; running everything takes about three minutes (one CPU thread); no GPU, no network. **You need**: [lesson 01](01_inference.ipynb) (the settings of a picture) and [lesson 03](03_lora.ipynb) (LoRA). **You will be able to**: open the playground with one line; run the model as a *service* and call it as a client of the WebUI does, and as PAI-EAS does; open a web page that works offline; read 422, 503 and 401; say which requests are drawn together; let others use it safely.
#
# **Two questions from earlier lessons**:
# 1. [Lesson 01](01_inference.ipynb): what must you tell somebody so that they draw your picture to the very pixel?
# 2. [Lesson 03](03_lora.ipynb): what is a trained LoRA saved as? Can it draw without the model below it?

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, LoRA, show
from PIL import Image

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("10", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 10.1 先看结果
#
# 这是 `paidiff web` 打开的网页，停在 ControlNet 那一页（[第 06 课](06_controlnet.ipynb)）：

# %% [markdown] lang="en"
# ## 10.1 The result first
#
# This is the page that `paidiff web` opens, at its ControlNet tab ([lesson 06](06_controlnet.ipynb)):

# %%
page = Image.open("../docs/web.png")
alt = "浏览器里的网页：四个标签页，左边是提示词、上传的图和它的线稿，右边是画出来的图 ·"
alt += " the page in a browser: four tabs, at the left the prompt, a picture and its"
alt += " edges, at the right what was drawn"
show(page, alt=alt)

# %% [markdown] lang="zh"
# 三扇门背后是同一台*引擎*（engine）：一个拿着模型的线程，前面一条队，谁的请求先来先画。
#
# **先猜**：同样的提示词、种子、步数和 LoRA，从操作台、HTTP 接口、网页各画一张，三张是同一张吗，还是只是像？（答案在 10.6。）
#
# ## 10.2 先要一个 LoRA
#
# 和第 03 课一样训练青花瓷，少几步，存到一个放 LoRA 的文件夹。`../out/03/porcelain` 还在的话，把它复制过来也行。

# %% [markdown] lang="en"
# Behind all three doors is one *engine*: a thread that owns the model, and a queue before it; first come, first drawn.
#
# **Predict**: the same prompt, seed, steps and LoRA, drawn once through the playground, the HTTP API and the page. Are the three one picture, or only alike? (The answer is in 10.6.)
#
# ## 10.2 First a LoRA
#
# Train the porcelain style as in lesson 03, with fewer steps, and save it in a folder of LoRAs. If you kept `../out/03/porcelain`, copying it will do.

# %% tags=["nbval-ignore-output"]
from paidiff_lib.methods.lora import WIDE
import shutil
from pathlib import Path

out = Path("../out/10")
shutil.rmtree(out, ignore_errors=True)
lora, data = LoRA(pipe, rank=8, layers=WIDE), CaptionFolder(paidiff.data("porcelain"))
settings = {"lr_scheduler": "cosine", "caption_dropout": 0.15, "seed": 0}
paidiff.fit(lora, data, **profile.lora, **settings)
lora.save(out / "loras/porcelain")
for path in sorted((out / "loras/porcelain").iterdir()):
    print(f"{path.name} {path.stat().st_size / 1e6:.1f} MB")

# %% [markdown] lang="zh"
# ## 10.3 操作台
#
# 一行，运行这个单元格就出现：左边一列是设置（提示词、LoRA、种子、步数……），右边是“画”“停”两个按钮和正在画的图，下面排着画过的图。（网页和 PDF 里看不见它，它要有内核才活。）画的时候笔记本不卡，每一步有预览，随时可以停；每张图都记着它的设置，点一下就取回来。没有 ipywidgets 的地方，它会告诉你怎么用一行代码画。

# %% [markdown] lang="en"
# ## 10.3 The playground
#
# One line; run the cell to see it: at the left a column of settings (prompt, LoRA, seed, steps …), at the right two buttons, Draw and Interrupt, and the picture that is being drawn, below all pictures so far. (On a web page or in a PDF you do not see it, for it lives in a kernel.) The notebook stays free while it draws, every step shows a preview, you can stop at any time; every picture keeps its settings, and a click takes them back. Where ipywidgets are missing, it says how to draw with one line.

# %% tags=["nbval-ignore-output"]
import paidiff_app

board = paidiff_app.playground(loras=out / "loras")

# %% [markdown] lang="zh"
# 下面用代码代替鼠标：填好提示词，先不用 LoRA 画一张，再选上 LoRA 画一张。

# %% [markdown] lang="en"
# Code in place of the mouse: fill in the prompt, press Draw without the LoRA, then with it.

# %% tags=["nbval-ignore-output"]
from paidiff_app.widgets import Playground

board = board or Playground(loras=out / "loras")  # outside a notebook nothing was shown
wanted = {"prompt": "猫,草地,青花瓷", "seed": 3, "steps": profile.steps}
for name, value in wanted.items():
    getattr(board, name).value = value
for choice in board.lora.options:  # none, porcelain
    board.lora.value = choice
    board.start()
    board.wait()
(without, *_), (drawn, infotext, *_) = board.history[-2:]
print(infotext)
alt = "左：没有 LoRA 的猫；右：青花瓷的猫 · left a cat, right one of porcelain"
show([without, drawn], titles=["-", "porcelain"], alt=alt)

# %% [markdown] lang="zh"
# 上面那几行文字就是图的*设置*（infotext），写在图的文件里，格式和 WebUI（最常用的开源画图网页）的一样。
#
# ## 10.4 服务：给程序用
#
# 服务是另一个*进程*（process）：一直开着，等请求，用图回答。请求走 *HTTP*，浏览器和网站之间的那种约定。它守着一个*端口*（port，一台机器上给程序编的门牌号），只听 127.0.0.1，也就是这台机器自己。在终端里：
#
# ```bash
# paidiff serve --port 7860 --lora out/10/loras/porcelain
# ```
#
# 这里由下面的单元格启动它；`--port 0` 让系统挑一个空着的端口，地址它会打印出来。

# %% [markdown] lang="en"
# The lines of text above are the *settings* of the picture (its infotext); they are written into its file, in the form of the WebUI, the most used open-source page for drawing.
#
# ## 10.4 The service: for programs
#
# A service is a *process* of its own: it stays, waits for requests, and answers with pictures. Requests come by *HTTP*, the convention between browsers and sites. It keeps one *port* (a number that a machine gives to a program's door), and listens on 127.0.0.1 only, which is this machine itself. In a terminal:
#
# ```bash
# paidiff serve --port 7860 --lora out/10/loras/porcelain
# ```
#
# Here the next cell starts it; `--port 0` lets the system choose a free port, and the address is printed.

# %% jupyter={"source_hidden": true}
import atexit, re, subprocess, sys
from paidiff_lib.models.load import model_name


def started(*arguments):
    """(process, address) of a paidiff command that stays until the lesson ends."""
    arguments = [*map(str, arguments), "--port", "0", "--model", model_name()]
    command = [sys.executable, "-m", "paidiff_app.cli", *arguments]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(command, **quiet)
    atexit.register(process.terminate)
    # it may have something else to say first
    found = (re.search(r"http://[\d.:]+", line) for line in process.stdout)
    return process, next(filter(None, found)).group()


service, address = started("serve", "--lora", out / "loras/porcelain")

# %% [markdown] lang="zh"
# 请求是 JSON（写成文字的字典），回答也是；图在里面，用 base64 写成文字。下面是 WebUI 的客户端发的请求，`webuiapi` 这样的库不用改就能用；在终端里可以这样写（端口用你启动时给的，步数不写就是 20）
#
# ```bash
# curl http://127.0.0.1:7860/sdapi/v1/txt2img -H "Content-Type: application/json" -d "{\"prompt\": \"猫,草地,青花瓷\", \"seed\": 3}"
# ```

# %% [markdown] lang="en"
# The request is JSON (a dictionary written as text), and so is the answer; the picture is in it, written as text in base64. This is what a client of the WebUI sends, and libraries such as `webuiapi` work unchanged; in a terminal you would write (with the port that you gave; 20 steps unless you say otherwise)
#
# ```bash
# curl http://127.0.0.1:7860/sdapi/v1/txt2img -H "Content-Type: application/json" -d "{\"prompt\": \"猫,草地,青花瓷\", \"seed\": 3}"
# ```

# %%
import base64, io, json
import urllib.error, urllib.request


def call(path, **body):
    """Send a request to the service; returns the bytes that it answers."""
    data = json.dumps(body).encode() if body else None
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, data, kind)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.read()


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


# %% tags=["nbval-ignore-output"]
webui = json.loads(call("/sdapi/v1/txt2img", **wanted))
by_http = opened(webui["images"][0])
print(list(webui), by_http.info["parameters"], sep="\n")

eas = {"text": "雪地里的两只企鹅,青花瓷", "num_inference_steps": profile.steps}
platform = json.loads(call("/", **eas, num_images=1))
print(list(platform))
pictures = [by_http, opened(platform["images_base64"][0])]
alt = "两张青花瓷：一只猫，两只企鹅 · porcelain: a cat, and two penguins"
show(pictures, titles=["WebUI", "PAI-EAS"], alt=alt)

# %% [markdown] lang="zh"
# **会拒绝**。做不到的、不该做的，用一个状态码和一行话回答，服务照样活着。200 是好；422 是“看懂了，但不行”。
#
# **先猜**：下面三个请求各错在哪里？拒绝之后，服务还答话吗？

# %% [markdown] lang="en"
# **Refusing.** What cannot be done, or should not be, is answered with a status and one line, and the service lives on. 200 is fine; 422 is “understood, but no”.
#
# **Predict**: what is wrong with each of these three requests? Will the service still answer after them?

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
print(json.loads(call("/health")))

# %% [markdown] lang="zh"
# **一起画**。忙的时候又来了请求，设置（步数、引导、尺寸）相同的会排成一批一起画：UNet 一次过几张，比一张一张过省时间（[第 09 课](09_acceleration.ipynb)量过）。提示词和种子可以不同。
#
# **先猜**：八个请求同时来，引擎画几批？总共的时间，是一个请求的八倍吗？

# %% [markdown] lang="en"
# **Drawing together.** Requests that come while the engine is busy, with the same settings (steps, guidance, size), make one batch: the UNet takes several pictures at once, which costs less than one after the other (measured in [lesson 09](09_acceleration.ipynb)). Prompts and seeds may differ.
#
# **Predict**: eight requests come at once; how many batches are drawn? Do they take eight times as long as one?

# %% tags=["nbval-ignore-output"]
import time
from concurrent.futures import ThreadPoolExecutor

things = "猫 狗 企鹅 狐狸 汽车 房子 茶壶 蘑菇".split()


def ask(thing):
    body = wanted | {"prompt": f"{thing},草地,青花瓷"}
    return opened(json.loads(call("/sdapi/v1/txt2img", **body))["images"][0])


def measured(name):
    """A figure of /metrics, what the service tells those who watch over it."""
    lines = call("/metrics").decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


# %% tags=["nbval-ignore-output"]
start = time.perf_counter()
ask("猫")
alone, before = time.perf_counter() - start, measured("paidiff_batch_size_count")
start = time.perf_counter()
with ThreadPoolExecutor(len(things)) as clients:
    pictures = list(clients.map(ask, things))
together = time.perf_counter() - start
batches = int(measured("paidiff_batch_size_count") - before)
print(f"1 request {alone:.1f} s · {len(things)} at once {together:.1f} s", end=" · ")
print(f"{batches} batches")
alt = "八样东西，都是青花瓷的画风 · eight things in the style of porcelain"
show(pictures, titles=things, columns=4, alt=alt)

# %% [markdown] lang="zh"
# 八个请求画了 {{ batches }} 批：第一个来的先开画，画着的时候来的凑成下一批。时间是一个请求的 {{ f"{together / alone:.1f}" }} 倍。排队的太多，就答 503（“满了，等一会儿”），不会把内存吃光。二十个客户端、两百个请求的测量：`python benchmarks/load.py`。

# %% [markdown] lang="en"
# Eight requests made {{ batches }} batches: the first to come was begun at once, and those that came meanwhile made the next. It took {{ f"{together / alone:.1f}" }} times as long as one request. When too many wait, the answer is 503 (“full, come back later”), and the memory is not filled. Two hundred requests from twenty clients: `python benchmarks/load.py`.

# %% tags=["nbval-ignore-output"]
service.terminate()
print("exit code", service.wait(60))

# %% [markdown] lang="zh"
# ## 10.5 网页：给人用
#
# ```bash
# paidiff web --loras out/10/loras
# ```
#
# 文生图、图生图、局部重绘、ControlNet 四页，选 LoRA，36 条画廊，图里带着设置，拖回去就还原。不连任何外网。

# %% [markdown] lang="en"
# ## 10.5 The page: for people
#
# ```bash
# paidiff web --loras out/10/loras
# ```
#
# Four tabs (text to image, image to image, inpainting, ControlNet), LoRAs to choose, the gallery of 36, pictures that carry their settings and restore them when dropped back. It asks nothing of the network.

# %% tags=["nbval-ignore-output"] jupyter={"source_hidden": true}
web, address = started("web", "--loras", out / "loras")
print(address)

# %% [markdown] lang="zh"
# 页面上的每个按钮也有接口；这里用它的客户端代替鼠标，按页面上的顺序逐个填。

# %% [markdown] lang="en"
# Every button of the page has an endpoint too; its client stands in for the mouse, and fills the fields in the page's order.

# %% tags=["nbval-ignore-output"]
from gradio_client import Client
from paidiff_lib.generate import guidance_of
from paidiff_app.infotext import settings_in

words = [wanted["prompt"], "", Path(model_name()).name, "porcelain", 1.0, []]
numbers = [wanted["seed"], profile.steps, guidance_of(pipe), profile.size, profile.size]
sampler = "模型自己的 · the model's own"
client = Client(address, verbose=False)
job = client.submit(*words, sampler, *numbers, 1, api_name="/txt2img")
job.result(600)
frames = [shown for _, shown, *_ in job.outputs()]  # of the gallery, one a step
frames = [f if isinstance(f, list) else f.get("value") for f in frames]
on_page = Image.open([frame for frame in frames if frame][-1][0]["image"])
print(settings_in(on_page))

# %%
web.terminate()
web.wait(60)
print("ended")

# %% [markdown] lang="zh"
# ## 10.6 三扇门，一张图？
#
# 10.1 的猜测：

# %% [markdown] lang="en"
# ## 10.6 Three doors, one picture?
#
# What you predicted in 10.1:

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import distance

ways = {"playground": drawn, "HTTP": by_http, "page": on_page}
for name, picture in ways.items():
    print(f"{name:10} distance {distance(drawn, picture):.1f}")
alt = "三张一样的青花瓷猫 · three times the same porcelain cat"
show(list(ways.values()), titles=list(ways), alt=alt)
assert profile.same(drawn, by_http, on_page)

# %% [markdown] lang="zh"
# 一个像素也不差。图由提示词、反向提示词、种子、步数、采样器、引导、尺寸、模型和 LoRA 决定，从哪扇门进来不算数；所以图里存下的设置，换一扇门也画得出来。一个例外：服务的 LoRA 是启动时装上的，它的图里没有记这一项，要自己记住。（和别人同批画的，只差舍入，眼睛看不出。）
#
# ## 10.7 给别人用
#
# ```bash
# PAIDIFF_TOKEN=at-least-16-characters paidiff serve --host 0.0.0.0 --lora out/10/loras/porcelain
# PAIDIFF_TOKEN=at-least-16-characters paidiff web --host 0.0.0.0 --loras out/10/loras
# ```
#
# * `0.0.0.0` 是“别的机器也听”。离开本机就必须有*令牌*（token）：请求里带着的一串秘密字符，没有就答 401。
# * 请求里的路径和链接从不打开：陌生人写的 `file:///…` 只是一串字。
# * 令牌走在明文的 HTTP 上，同一个网络里的人看得见；要给外面用，前面再放一个带证书的代理。
# * `deploy/` 里有容器和 PAI-EAS 的描述：**没有试过**，这里没有容器也连不上平台。

# %% [markdown] lang="en"
# Not a pixel differs. A picture is decided by prompt, negative prompt, seed, steps, sampler, guidance, size, model and LoRA; the door does not count. So the settings kept in a picture draw it again through any other door. One exception: the service's LoRA is put on when it starts, and its pictures do not mention it; that you have to remember. (A picture drawn in one batch with others differs in rounding only, which no eye sees.)
#
# ## 10.7 Let others use it
#
# ```bash
# PAIDIFF_TOKEN=at-least-16-characters paidiff serve --host 0.0.0.0 --lora out/10/loras/porcelain
# PAIDIFF_TOKEN=at-least-16-characters paidiff web --host 0.0.0.0 --loras out/10/loras
# ```
#
# * `0.0.0.0` is “listen to other machines as well”. Away from this machine a *token* is required, a secret string that the request carries; without it the answer is 401.
# * No path or link in a request is ever opened: a stranger's `file:///…` is just text.
# * The token travels over plain HTTP, where others on the same network can read it; for the world outside, put a proxy with a certificate before it.
# * `deploy/` describes a container and PAI-EAS: **untested**, there is neither where this was written.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 10.8 练习
#
# 把 `...` 换成你的答案，运行单元格：`check` 说对不对，不对时说错在哪里，再给一条提示。

# %% [markdown] lang="en" tags=["exercise"]
# ## 10.8 Exercises
#
# Put your answer in the place of `...` and run the cell: `check` says whether it is right, if not what is wrong, and gives a hint.

# %% [markdown] lang="zh"
# ### 再试试
#
# 这些没有标准答案，写下你看到的。
#
# 1. 八个请求里，一半的 `steps` 改成 10：`batches` 变成几？先猜再运行。
# 2. 在网页上画到一半按“停”：得到的是什么？
# 3. 把网页里存下来的图拖回去：哪几个设置回来了？

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. For half of the eight requests change `steps` to 10: what becomes of `batches`? Predict, then run.
# 2. Stop a drawing half way on the page: what do you get?
# 3. Drop a picture saved from the page back into it: which settings return?

# %% [markdown] lang="zh"
# ## 10.9 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 端口被占 | 换 `--port`，或 `--port 0`。 |
# | 401 | 带上令牌：`Authorization: Bearer …`。 |
# | 422 | 读 `detail` 那一行：它说哪个字段、为什么。 |
# | 503 | 排队满了，过一会儿再来。 |
# | `缺 gradio` | `pip install -c constraints.txt -e .[web]`。 |

# %% [markdown] lang="en"
# ## 10.9 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | the port is in use | Another `--port`, or `--port 0`. |
# | 401 | Send the token: `Authorization: Bearer …`. |
# | 422 | Read the line `detail`: it names the field and the reason. |
# | 503 | The queue is full, come back later. |
# | `缺 gradio` (gradio is missing) | `pip install -c constraints.txt -e .[web]`. |

# %% [markdown] lang="zh"
# ## 10.10 你学到了
#
# * 操作台给自己，网页给人，接口给程序；背后是同一台引擎，画出来是同一张图。
# * 微调出来的 LoRA 是一个文件夹，放到哪扇门里都能用。
# * 忙的时候，设置相同的请求一起画；满了就答 503。
# * 服务要会拒绝：一个状态码，一行话，不崩。

# %% [markdown] lang="en"
# ## 10.10 What you have learnt
#
# * A playground for yourself, a page for people, an API for programs; one engine behind them, and one picture comes out.
# * A fine-tuned LoRA is a folder that works behind every door.
# * While it is busy, requests with the same settings are drawn together; when it is full, the answer is 503.
# * A service has to know how to refuse: a status, one line, no crash.
