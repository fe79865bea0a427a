# %% [markdown] lang="zh"
# # 16 · 大规模（附录）
#
# 前面的课都在一台机器上，图最多几百张。真的数据集有一千万、十亿张，真的训练用几十块卡。这里只有两个处理器核，可是规模大了*先坏的是什么*，两个核就量得出来：两个进程一起训练，数有没有变；一张图要几秒、几个字节；什么随张数涨，什么随张数的*平方*涨。
#
# **用时**：读和做 40 分钟；全部运行约一分半钟（一个 CPU 线程）。**你需要**：[第 03 课](03_lora.ipynb)（训练）、[第 08 课](08_data_cleaning.ipynb)（打分、近似重复）。**学完你会**：把一个训练放到几个进程里，并证明结果没有变；把数据编码成*分片*，停了再接着；说出近似重复为什么不能两两比；读懂 PAI-DLC 的任务文件；用一个式子估出一件事要几天、几 TB。
#
# **先想两个旧问题**：
# 1. [第 03 课](03_lora.ipynb)：训练时，图片为什么只编码一次？
# 2. [第 08 课](08_data_cleaning.ipynb)：两张图多近才算近似重复，谁来定？

# %% [markdown] lang="en"
# # 16 · Large scale (appendix)
#
# The lessons so far ran on one machine, on a few hundred pictures. Real sets have ten million pictures or a billion, and real trainings dozens of cards. Here are two processor cores; but *what breaks first* as things grow can be measured on two: whether the numbers change when two processes train together; how many seconds and bytes a picture takes; what grows as the number of pictures does, and what grows as its *square*.
#
# **Time**: 40 minutes to read and try; about a minute and a half to run (one CPU thread). **You need**: [lesson 03](03_lora.ipynb) (training), [lesson 08](08_data_cleaning.ipynb) (scores, near duplicates). **You will be able to**: put a training into several processes and prove that its result is the same; encode data into *shards*, stop and go on; say why near duplicates cannot be looked for pair by pair; read the job files of PAI-DLC; and estimate days and terabytes with one formula.
#
# **Two questions from earlier lessons**:
# 1. [Lesson 03](03_lora.ipynb): why is a picture encoded only once in a training?
# 2. [Lesson 08](08_data_cleaning.ipynb): how near do two pictures have to be to count as near duplicates, and who decides?

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import json, os, shutil, subprocess, sys, time
from pathlib import Path
import numpy as np
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, LoRA, show

pipe = paidiff.load()
profile = paidiff_course.profile("16", pipe)
out = Path("../out/16")
shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)


def recorded(name):
    """What a command in benchmarks/ has measured and written down."""
    return json.loads(Path("../benchmarks", f"{name}.json").read_text(encoding="utf-8"))


# %% [markdown] lang="zh"
# ## 16.1 两个进程，一个训练
#
# **数据并行**（data parallelism）：每个进程有完整的模型，各拿批量的一部分，各算自己的梯度；把梯度*平均*，再各自更新。平均过的梯度一样，所以权重一直一样，谁也不用把权重发给谁。做这件事的是 torch 的 `DistributedDataParallel`（DDP），由 accelerate 包上。
#
# 训练的代码一行也不用改，改的是启动它的那一行：
#
# ```bash
# python work.py                                         # 一个进程，批量 4
# torchrun --nproc-per-node 2 work.py                    # 两个进程，批量各 2
# accelerate launch --multi_gpu --num_processes 8 work.py   # 八块卡
# ```
#
# `torchrun` 给每个进程两个环境变量：`WORLD_SIZE`，一共几个；`RANK`，这是第几个。下面的 `work.py` 就是第 03 课的训练，再记下每一步的损失、编码了哪些图、一次更新里 gloo（CPU 上传消息的库）发了几条消息、用了几秒处理器。
#
# **先猜**：同样的四张图，两个进程各算两张，损失和一个进程的一样吗？要练的张量有一百多个，一次更新要发几条消息？

# %% [markdown] lang="en"
# ## 16.1 Two processes, one training
#
# **Data parallelism**: every process has the whole model, takes its part of the batch and computes its own gradient; the gradients are *averaged*, and each process updates its weights. As the averaged gradients are the same, the weights stay the same, and nobody has to send them. torch's `DistributedDataParallel` (DDP) does it, wrapped by accelerate.
#
# Not a line of the training changes, only the line that starts it:
#
# ```bash
# python work.py                                         # one process, batch size 4
# torchrun --nproc-per-node 2 work.py                    # two processes, batch size 2 each
# accelerate launch --multi_gpu --num_processes 8 work.py   # eight cards
# ```
#
# `torchrun` gives each process two environment variables: `WORLD_SIZE`, how many there are, and `RANK`, which one this is. The `work.py` below is the training of lesson 03, and notes the loss of each step, which pictures it encoded, how many messages gloo (it carries them on CPUs) sent in one update, and the seconds of the processor.
#
# **Predict**: two processes take two of the same four pictures each. Is the loss that of one process? There are more than a hundred tensors to train; how many messages does an update take?

# %%
WORK = """
import json, os, sys, time, zlib
from pathlib import Path
import paidiff_lib as paidiff
from paidiff_lib.training import latents
from torch.profiler import ProfilerActivity, profile

model, updates, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
count, rank = int(os.environ.get("WORLD_SIZE", 1)), os.environ.get("RANK", "0")
encode, encoded = latents.encode_picture, []


def noted(pipe, image):
    encoded.append(zlib.crc32(image.tobytes()))
    return encode(pipe, image)


latents.encode_picture = noted
lora = paidiff.LoRA(paidiff.load(model), rank=8)
data = paidiff.CaptionFolder(paidiff.data("porcelain"))
began, losses = time.process_time(), []
for step in paidiff.train(lora, data, updates, 1e-3, batch_size=4 // count):
    losses.append(step.loss)
    if step.index == updates - 1:  # the last update is looked at
        seen = profile(activities=[ProfilerActivity.CPU])
        seen.start()
seen.stop()
found = {
    "losses": losses,
    "encoded": encoded,
    "messages": sum(event.name.startswith("gloo:") for event in seen.events()),
    "tensors": len(lora.parameters()),
    "seconds": time.process_time() - began,
}
(folder / f"{rank}.json").write_text(json.dumps(found))
"""
(out / "work.py").write_text(WORK, encoding="utf-8")
print(len(WORK.split("\n")), "lines")

# %%
from paidiff_lib.models.load import model_name

MODEL = model_name() if profile.kind in ("mini", "tiny") else "mini"


def launch(count):
    """Run work.py in `count` processes on CPUs: what each of them wrote down."""
    folder = out / f"processes-{count}"
    folder.mkdir(exist_ok=True)
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    line = [sys.executable, *(start if count > 1 else []), out / "work.py"]
    one_thread = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*map(str, [*line, MODEL, profile.updates, folder])],
        capture_output=True,
        text=True,
        env=os.environ | one_thread,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


one, two = launch(1), launch(2)

# %% tags=["nbval-ignore-output"]
pictures = CaptionFolder(paidiff.data("porcelain"))
difference = np.abs(np.subtract(one[0]["losses"], two[0]["losses"])).max()
for each in (one, two):
    encoded = [picture for process in each for picture in process["encoded"]]
    print(
        f"{len(each)}: {len(encoded)} pictures encoded, {each[0]['messages']} messages"
        f" for {each[0]['tensors']} tensors,"
        f" {sum(process['seconds'] for process in each):.1f} processor seconds"
    )
    assert len(encoded) == len(set(encoded)) == len(pictures)
print("loss, 1:", *(f"{loss:.6f}" for loss in one[0]["losses"]))
print("loss, 2:", *(f"{loss:.6f}" for loss in two[0]["losses"]))
closeness = 1e-5 if profile.real else 1e-2  # Adam blows up a skeleton's rounding
assert difference < closeness and two[0]["messages"] < 10
messages = two[0]["messages"]
ratio = sum(p["seconds"] for p in two) / one[0]["seconds"]

# %% [markdown] lang="zh"
# * **损失**：最多差 {{ f"{difference:.0e}" }}，只是舍入：加法换了次序。为什么能一样？噪声和时间步也是按*整批*抽的，再各取各的那份；如果每个进程用自己的种子，这里就对不上，也就看不出错。
# * **编码**：{{ len(pictures) }} 张图，每张只被一个进程编码一次，结果互相告诉。
# * **消息**：{{ messages }} 条。DDP 把梯度装进*桶*（bucket）里一起发；一个张量一条的话就是 {{ one[0]["tensors"] }} 条，每一条都要等一次来回。一个进程不发。
# * **时间**：这里不说快了几倍，两个核上还有别的活，说了也不算数；说用了多少*处理器*：两个进程一共是一个进程的 {{ f"{ratio:.1f}" }} 倍。多出来的是每个进程各做一遍的事，和等的时候空转。真的几块卡上的快慢要在那里量。
#
# 同样的量法、一到四个进程、全部权重：`python benchmarks/processes.py`。一个进程被杀，别的马上停，再启动就从最新的完好的检查点接着：`python tests/kill_node.py` 杀了 {{ sum(recorded("kill_node")["killed"].values()) }} 次，最后的权重一个比特也不差。

# %% [markdown] lang="en"
# * **Losses**: they differ by {{ f"{difference:.0e}" }} at most, which is rounding: sums taken in another order. Why can they be the same? Noise and timesteps are drawn for the *whole batch* and each process takes its part; had each its own seed, these numbers would not match, and no mistake would show.
# * **Encoding**: {{ len(pictures) }} pictures, each encoded once by one process, which tells the others.
# * **Messages**: {{ messages }}. DDP sends gradients together in *buckets*; one message a tensor would be {{ one[0]["tensors"] }}, each with its way there and back. A single process sends none.
# * **Time**: no speed-up is claimed, as other work shares these two cores; what can be said is how much of the *processor* was used: together the two took {{ f"{ratio:.1f}" }} times what one takes. The rest is what each does for itself, and idling while it waits. How fast several real cards are has to be measured there.
#
# The same for one to four processes and all weights: `python benchmarks/processes.py`. If a process is killed the others stop at once, and start again from the newest intact checkpoint: `python tests/kill_node.py` killed {{ sum(recorded("kill_node")["killed"].values()) }} times, and the weights at the end were the same to the last bit.

# %% [markdown] lang="zh"
# ## 16.2 分片：编码一次，流着读
#
# 一千万个散文件，列一遍清单就要很久；网络盘上打开一个小文件要几毫秒。所以大数据集装成**分片**（shard）：几百到几千张图一个 `.tar`（webdataset 的格式：`000001.jpg` 旁边是 `000001.txt`），从头读到尾，磁盘最喜欢。`paidiff encode` 读这样的一批文件，把 VAE 和文本编码器的结果写成*另一批*分片；训练只读后者，不再打开图片：
#
# ```bash
# paidiff encode DATA -o SHARDS                                              # 一个进程
# torchrun --nproc-per-node 8 -m paidiff_app.cli encode DATA -o SHARDS       # 八个
# ```
#
# 进程之间不说话：第 k 个拿第 k、k + 8、k + 16… 个文件。写完的分片旁边有一个 `.json`，没有它的不算数，所以被杀了再运行一次就行。下面用三个小 `.tar` 走一遍：0 号进程做完一个就“被杀”，1 号做它的，0 号再来。
#
# **先猜**：潜变量比图小（[第 11 课](11_from_scratch.ipynb)）。编码好的分片，比 JPEG 的分片大还是小？

# %% [markdown] lang="en"
# ## 16.2 Shards: encode once, read as a stream
#
# To list ten million loose files alone takes long, and on a network disk each small file costs milliseconds to open. So large sets come in **shards**: a `.tar` for hundreds or thousands of pictures (in webdataset's layout, `000001.jpg` beside `000001.txt`), read from start to end, which disks like best. `paidiff encode` reads such files and writes what the VAE and the text encoder make of them as *other* shards; training reads those and never opens a picture:
#
# ```bash
# paidiff encode DATA -o SHARDS                                              # one process
# torchrun --nproc-per-node 8 -m paidiff_app.cli encode DATA -o SHARDS       # eight
# ```
#
# The processes do not talk: number k takes files k, k + 8, k + 16 and so on. Beside a finished shard stands a `.json`; without it a shard does not count, so after a kill the same command is run again. Below, three small `.tar` files are gone through: process 0 is "killed" after one, process 1 does its own, and process 0 comes back.
#
# **Predict**: latents are smaller than pictures ([lesson 11](11_from_scratch.ipynb)). Are encoded shards larger or smaller than shards of JPEGs?

# %%
import io, tarfile
from paidiff_lib.training.encoding import encode
from paidiff_world import scene


def pack(path, seeds):
    """Scenes as a .tar of webdataset's layout: number.jpg beside number.txt."""
    with tarfile.open(path, "w") as tar:
        for seed in seeds:
            picture, caption, _ = scene(seed, size=profile.size)
            raw = io.BytesIO()
            picture.save(raw, "JPEG", quality=90)
            for end, content in ("jpg", raw.getvalue()), ("txt", caption.encode()):
                entry = tarfile.TarInfo(f"{seed:06}.{end}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def size_of(folder):
    return sum(file.stat().st_size for file in folder.glob("*.tar"))


packs, shards = out / "packs", out / "shards"
packs.mkdir(exist_ok=True)
for number in range(3):
    seeds = range(number * profile.packed, (number + 1) * profile.packed)
    pack(packs / f"{number}.tar", seeds)

# %%
began = time.process_time()
killed = encode(pipe, packs, shards, number=0, count=2)
print("process 0:", next(killed))  # (parts that are there, of how many)
killed.close()
print("process 1:", *encode(pipe, packs, shards, number=1, count=2))
print("process 0:", *encode(pipe, packs, shards, number=0, count=2))
total = 3 * profile.packed
encode_seconds = (time.process_time() - began) / total
print(sorted(file.name for file in shards.glob("shard*")))
raw_bytes, encoded_bytes = size_of(packs) / total, size_of(shards) / total
print(f"{raw_bytes:,.0f} bytes a picture packed, {encoded_bytes:,.0f} encoded")

# %% tags=["nbval-ignore-output"]
began = time.process_time()
lora = LoRA(pipe, rank=8)
steps = paidiff.train(lora, shards, profile.streamed, 1e-3, batch_size=4)
print(*(f"{step.loss:.3f}" for step in steps))
train_seconds = (time.process_time() - began) / profile.streamed / 4
print(
    f"{encode_seconds:.3f} s to encode a picture, {train_seconds:.3f} s to train on it"
)

# %% [markdown] lang="zh"
# 编码好的反而*大*：{{ f"{encoded_bytes / raw_bytes:.1f}" }} 倍。潜变量的数少，可是每个占四个字节，均值和标准差各一份，再加一句话的文本嵌入；JPEG 压得很紧。换来的是：训练里没有 VAE，没有文本编码器，不用解 JPEG。在 512 像素上，潜变量是 2 × 4 × 64 × 64 × 4 = {{ f"{2 * 4 * 64 * 64 * 4:,}" }} 个字节，一千万张就是 {{ f"{2 * 4 * 64 * 64 * 4 * 1e7 / 1e12:.1f}" }} TB。
#
# 流着读怎么打乱？分片的次序随机，每片从头读到尾，中间放一个 1,000 个号码的缓冲，随机取下一个。这不是全部打乱：同一个 `.tar` 里的图会前后脚出来，所以做 `.tar` 之前先打乱一次。断了再接，从哪个号码接也记在检查点里。

# %% [markdown] lang="en"
# Encoded shards are *larger*, {{ f"{encoded_bytes / raw_bytes:.1f}" }} times. A latent has few numbers, but each takes four bytes, there is a mean and a standard deviation of each, and the embedding of a caption; a JPEG is packed tightly. What it buys: no VAE, no text encoder and no JPEG in the training. At 512 pixels a latent takes 2 × 4 × 64 × 64 × 4 = {{ f"{2 * 4 * 64 * 64 * 4:,}" }} bytes, ten million of them {{ f"{2 * 4 * 64 * 64 * 4 * 1e7 / 1e12:.1f}" }} TB.
#
# How is a stream shuffled? The shards come in an order by chance, each is read from start to end, and between stands a buffer of 1,000 numbers from which the next is drawn by chance. That is no full shuffle: pictures of one `.tar` come out soon after each other, so shuffle once before you pack. Where a stopped run goes on is kept in its checkpoint.

# %% [markdown] lang="zh"
# ## 16.3 近似重复：平方太贵
#
# 第 08 课给每张图找最近的一张，是两两比：$n(n-1)/2$ 对。图多十倍，时间多一百倍。**分带哈希**（banded hashing，一种局部敏感哈希）不比所有的对：把缩略图沿着差别最大的 16 个方向切成小块，同一块里的才可能近；切法换 16 遍（一遍是一条*带*），只比排好序以后相邻的。时间跟着*排序*涨，$n\log n$。
#
# 这里没有几万张图，用几百张场景的缩略图两张两张混出来，十分之一是改了一点的翻版。
#
# **先猜**：在这台机器上，一千万张两两比要多久？分带呢？分带会漏掉多少翻版？

# %% [markdown] lang="en"
# ## 16.3 Near duplicates: the square is too much
#
# Lesson 08 looks for the nearest picture of each by comparing all pairs: $n(n-1)/2$ of them. Ten times the pictures are a hundred times the time. **Banded hashing** (a kind of locality-sensitive hashing) does not compare all: thumbnails are cut into cells along the 16 directions in which they differ most, and only those in one cell can be near; the cuts are made 16 times elsewhere (each time is a *band*), and only neighbours in the sorted cells are compared. Time grows as that of *sorting* does, $n\log n$.
#
# There are not so many pictures here; thumbnails of some hundred scenes are blended two by two, and a tenth of them are copies, changed a little.
#
# **Predict**: how long would all pairs of ten million pictures take on this machine? And bands? How many copies do the bands miss?

# %% tags=["nbval-ignore-output"]
from paidiff_lib.cleaning import near_duplicates
from paidiff_lib.cleaning.near_duplicates import NEAR, nearest_before, thumbnail

rs = np.random.RandomState(0)
scenes = np.stack([thumbnail(scene(seed)[0]) for seed in range(profile.scenes)])


def population(count):
    """(count, 192) int8: blended thumbnails; the last tenth are altered copies."""
    a, b = (scenes[rs.randint(len(scenes), size=count)] for _ in range(2))
    share = rs.uniform(0.5, 0.9, (count, 1))
    mixed = a * share + b * (1 - share)
    tenth = count // 10
    mixed[-tenth:] = mixed[:tenth] + rs.normal(size=(tenth, 192)) * 1.5
    return np.clip(np.rint(mixed), -127, 127).astype(np.int8)


def timed(thumbnails, *limit):
    """(processor seconds, which have a near one before them)"""
    began = time.process_time()
    near = nearest_before(thumbnails, *limit)[0] <= NEAR
    return time.process_time() - began, near


near_duplicates.EVERY_PAIR = 0  # so that a limit means bands, however few there are
square, bands = {}, {}
copies = missed = added = 0
for count in profile.sizes:
    thumbnails = population(count)
    square[count], every = timed(thumbnails)
    bands[count], some = timed(thumbnails, NEAR)
    copies += every.sum()
    missed, added = missed + (every & ~some).sum(), added + (some & ~every).sum()
print(f"{copies} near ones: {missed} missed, {added} added")
assert added == 0 and missed < 0.02 * copies

# %% tags=["nbval-ignore-output"]
from matplotlib.figure import Figure
from paidiff_course.plots import picture

MANY, last = 10_000_000, profile.sizes[-1]
sorting = lambda n: n * np.log2(n)
expected = {
    "every pair": square[last] * (MANY / last) ** 2,
    "bands": bands[last] * sorting(MANY) / sorting(last),
}
figure = Figure((6, 3.4), dpi=96, layout="constrained")
axes = figure.subplots()
styles = zip(expected, (square, bands), ("#d55e00", "#0072b2"))
for name, seconds, colour in styles:
    axes.plot(list(seconds), list(seconds.values()), "o-", color=colour, label=name)
    axes.plot([last, MANY], [seconds[last], expected[name]], ":", color=colour)
axes.set(xscale="log", yscale="log", xlabel="n", ylabel="s")
axes.axhline(86400, color="#999999", linewidth=0.8)
axes.annotate(
    "24 h", (profile.sizes[0], 86400), xytext=(0, 3), textcoords="offset points"
)
axes.legend()
show(
    picture(figure),
    alt="双对数图：两两比的线陡一倍，一千万张时远高于一天；分带在几分钟 · logarithmic"
    " axes: every pair is twice as steep and far above a day at ten million; bands"
    " stay at minutes",
)
for name, seconds in expected.items():
    print(f"{name}, {MANY:,}: {seconds:,.0f} s")
days, minutes = expected["every pair"] / 86400, expected["bands"] / 60

# %% [markdown] lang="zh"
# 点是量的，虚线是照各自的涨法画到一千万：两两比要 {{ f"{days:.0f}" }} 天，分带 {{ f"{minutes:.0f}" }} 分钟。两两比找到的 {{ copies }} 张，分带漏了 {{ missed }} 张，多了 {{ added }} 张：切块只决定*比谁*，距离还是原来的，所以不会凭空多出翻版。`benchmarks/near_duplicates.py` 量过一百万张：{{ f"{recorded('near_duplicates')['sizes']['1000000']['seconds']:.0f}" }} 秒，改过的翻版找到 {{ f"{recorded('near_duplicates')['sizes']['1000000']['altered copies found']:.0%}" }}。
#
# 这一步也是最难分摊的：每张图都可能和每张图重复，分到八台机器上各做各的，就看不见跨机器的翻版。

# %% [markdown] lang="en"
# The dots are measured, the dotted lines go on to ten million as each grows: {{ f"{days:.0f}" }} days for every pair, {{ f"{minutes:.0f}" }} minutes for bands. Of the {{ copies }} that all pairs found, the bands missed {{ missed }} and added {{ added }}: cells only decide *who is compared*, the distance is the same, so no copy comes from nowhere. `benchmarks/near_duplicates.py` measured a million: {{ f"{recorded('near_duplicates')['sizes']['1000000']['seconds']:.0f}" }} seconds, with {{ f"{recorded('near_duplicates')['sizes']['1000000']['altered copies found']:.0%}" }} of the altered copies found.
#
# It is also the step that is hardest to share out: any picture may be a copy of any other, and eight machines that each do their own part do not see copies across machines.

# %% [markdown] lang="zh"
# ## 16.4 清洗：Data-Juicer 和两个节点的 Ray
#
# `paidiff curate` 在一台机器上打分。再大，交给 **Data-Juicer**（阿里开源的数据处理框架，PAI-DLC 上原生支持），它下面是 **Ray**（把函数分到一个集群的库）。我们不写自己的引擎，只写一份**配方**（recipe）：读哪里、依次过哪些*算子*（operator）、写到哪里。我们的打分、近似重复、规则就是三个算子。
#
# ```bash
# paidiff curate pictures --recipe clean.yaml
# dj-process --config clean.yaml                                              # 一台机器
# dj-process --config clean.yaml --executor_type ray --ray_address auto       # 集群
# ```

# %% [markdown] lang="en"
# ## 16.4 Cleaning: Data-Juicer, and Ray on two nodes
#
# `paidiff curate` scores on one machine. For more there is **Data-Juicer** (Alibaba's open framework for processing data, which PAI-DLC runs natively), with **Ray** underneath (a library that spreads functions over a cluster). We write no engine, only a **recipe**: where to read, which *operators* to go through, where to write. Our scores, near duplicates and rule are three operators.
#
# ```bash
# paidiff curate pictures --recipe clean.yaml
# dj-process --config clean.yaml                                              # one machine
# dj-process --config clean.yaml --executor_type ray --ray_address auto       # a cluster
# ```

# %%
import yaml
from PIL import Image
from paidiff_lib import curate
from paidiff_lib.cleaning.recipe import write_recipe
from paidiff_world import dirty

truth = dirty.write(out / "dirty", profile.dirty, seed=16)
began = time.process_time()
cleaned = curate(out / "dirty")
clean_seconds = (time.process_time() - began) / profile.dirty
names = np.array([item.name for item in cleaned.items])
kept = set(names[cleaned.kept])
manifest, _ = write_recipe(out / "dirty", out / "clean.yaml")
recipe = yaml.safe_load((out / "clean.yaml").read_text(encoding="utf-8"))
print(*recipe["process"], sep="\n")
print(len(kept), "of", len(names))
spoiled = [name for name in names if name not in kept][:6]
show(
    [Image.open(out / "dirty" / name).convert("RGB") for name in spoiled],
    titles=[truth[name] or "✓" for name in spoiled],
    columns=6,
    alt="被丢掉的六张和它们的毛病 · six that were dropped, and what is wrong with them",
)

# %% tags=["nbval-ignore-output"]
JUICER = Path(sys.executable).parent / "dj-process"
INSTALL = 'pip install -c constraints.txt "paidiff[cluster]"'
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


def juice(name, *options):
    """The names that Data-Juicer keeps with the recipe."""
    shutil.rmtree(out / "dirty" / f"{name}.jsonl", ignore_errors=True)
    manifest, _ = write_recipe(out / "dirty", out / f"{name}.yaml")
    line = [JUICER, "--config", out / f"{name}.yaml", *options]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | QUIET)
    assert done.returncode == 0, done.stderr[-2000:]
    return {item.name for item in CaptionFolder(manifest).items}


if JUICER.exists():
    assert juice("here", "--np", "2") == kept
    print("dj-process:", len(kept))
else:
    print("dj-process:", INSTALL)

# %% [markdown] lang="zh"
# 没有装 `[cluster]`（多 1 GB，别的课用不着），上面就只有一行安装的命令；装了，它检查两边留下的是不是同样的图，再说有几张。
#
# 再在这台机器上搭一个两个节点的集群，每个节点一个处理器。真的集群里，第二行在另一台机器上运行，地址是第一台的。谁连得上 Ray 的端口，谁就能在那里运行代码：只在关着门的网络里用。
#
# ```bash
# ray start --head --port=6379 --num-cpus=1
# ray start --address=127.0.0.1:6379 --num-cpus=1
# ```

# %% [markdown] lang="en"
# Without `[cluster]` (1 GB more, which no other lesson needs) the cell above shows one line that installs it; with it, the cell checks that both kept the same pictures, and says how many.
#
# Now a cluster of two nodes on this machine, one processor each. On a real cluster the second line runs on another machine, and the address is that of the first. Whoever reaches Ray's port can run code there: only behind closed doors.
#
# ```bash
# ray start --head --port=6379 --num-cpus=1
# ray start --address=127.0.0.1:6379 --num-cpus=1
# ```

# %% tags=["nbval-ignore-output"]
sys.path.append("../benchmarks")


def on_two_nodes():
    """As juice, on a Ray cluster of two nodes, which is ended afterwards."""
    from cluster import end, free_port, node  # start and end a node's processes

    port, nodes = free_port(), []
    try:
        nodes.append(node("--head", f"--port={port}", "--include-dashboard=false"))
        nodes.append(node(f"--address=127.0.0.1:{port}"))
        address = ("--ray_address", f"127.0.0.1:{port}")
        return juice("cluster", "--executor_type", "ray", *address)
    finally:
        for each in nodes:
            end(each)


if JUICER.exists():
    assert on_two_nodes() == kept
    print("ray:", len(kept))
else:
    print("ray:", INSTALL)
cluster = recorded("cluster")

# %% [markdown] lang="zh"
# `benchmarks/cluster.py` 做的是同一件事，{{ cluster["pictures"] }} 张脏图，而且在半路上*杀掉*第二个节点：
#
# | | 留下 | 秒，含启动 |
# |---|---|---|
# | `paidiff curate` | {{ cluster["paidiff curate"]["kept"] }} | {{ cluster["paidiff curate"]["seconds"] }} |
# | `dj-process` | {{ cluster["dj-process"]["kept"] }} | {{ cluster["dj-process"]["seconds"] }} |
# | `dj-process`，Ray，杀掉一个节点 | {{ cluster["dj-process, Ray, a node killed"]["kept"] }} | {{ cluster["dj-process, Ray, a node killed"]["seconds"] }} |
#
# 三次留下的图完全一样：Ray 把死掉的节点手上的那些再做一遍。图这么少，启动占了大部分时间，所以越大的框架在这里越慢；它们的好处在一台机器做不完的时候才有。

# %% [markdown] lang="en"
# `benchmarks/cluster.py` does the same with {{ cluster["pictures"] }} dirty pictures, and *kills* the second node on the way:
#
# | | kept | seconds, starting included |
# |---|---|---|
# | `paidiff curate` | {{ cluster["paidiff curate"]["kept"] }} | {{ cluster["paidiff curate"]["seconds"] }} |
# | `dj-process` | {{ cluster["dj-process"]["kept"] }} | {{ cluster["dj-process"]["seconds"] }} |
# | `dj-process`, Ray, a node killed | {{ cluster["dj-process, Ray, a node killed"]["kept"] }} | {{ cluster["dj-process, Ray, a node killed"]["seconds"] }} |
#
# All three kept the same pictures: Ray does again what the dead node had in hand. With so few pictures most of the time is starting, so the larger the framework the slower it is here; what it is good for begins where one machine is not enough.

# %% [markdown] lang="zh"
# ## 16.5 PAI-DLC 的任务文件
#
# DLC 在几台机器上同时运行*同一句*命令，用环境变量告诉每台它是谁。`deploy/dlc/` 里是两个文件：`job.json` 是任务，`train.sh` 是那句命令。
#
# **先猜**：DLC 里 `WORLD_SIZE` 是 2。两台机器各八块卡，训练里的 `WORLD_SIZE` 是几？

# %% [markdown] lang="en"
# ## 16.5 The job files of PAI-DLC
#
# DLC runs *one and the same* command on several machines at once and tells each who it is by environment variables. There are two files in `deploy/dlc/`: `job.json` is the job, `train.sh` that command.
#
# **Predict**: DLC's `WORLD_SIZE` is 2. Two machines have eight cards each; what is `WORLD_SIZE` in the training?

# %%
dlc = Path("../deploy/dlc")
job = json.loads((dlc / "job.json").read_text(encoding="utf-8"))
for name in ("JobType", "JobSpecs"):
    print(name, json.dumps(job[name], indent=1))
print("UserCommand", job["UserCommand"].split(" --")[0], "...")
script = (dlc / "train.sh").read_text(encoding="utf-8").splitlines()
print(*(line for line in script if not line.startswith("#")), sep="\n")

# %% [markdown] lang="zh"
# `job.json`：
# * `JobType`：`PyTorchJob`，DLC 因此给每台机器下面四个变量；
# * `PodCount`：几台机器；`EcsSpec`：哪种机器（几块卡）；`Image`：容器镜像，里面装好了这个仓库；
# * `DataSources`（上面没有印）：把一份数据挂到每台机器的 `/mnt/data`，所以分片和检查点大家都看得见，编码只做一次（16.2）；
# * `UserCommand`：每台机器上运行的那一句。
#
# `train.sh`，一行一行：
# * `set -euo pipefail`：哪一步错了就停；变量没有给，也停；
# * `cards=…`：数这台机器的卡，没有就是 0；
# * `exec …torch.distributed.run`：就是 `torchrun`。用 `exec`，DLC 要停任务时的信号直接到它那里，训练就能先存盘；
# * `--nnodes="$WORLD_SIZE"`：**DLC 的 `WORLD_SIZE` 数的是机器**，torchrun 叫它 nnodes；
# * `--node-rank="$RANK"`：**DLC 的 `RANK` 是第几台机器**；
# * `--nproc-per-node=…`：一块卡一个进程，没有卡就一个；
# * `--master-addr`、`--master-port`：第 0 台在哪里，大家去那里碰头；
# * `"$@"`：后面是训练的命令，原样照抄。
#
# torchrun 再给每个进程*它自己的* `WORLD_SIZE` 和 `RANK`，名字一样，意思变了：一共几个进程，这是第几个。谁跳过 torchrun、直接把 DLC 的变量交给训练，八块卡里就只有一块在干活。
#
# 没有 DLC 也能看它会运行什么：给它那四个变量，把 `python` 换成 `echo`。

# %% [markdown] lang="en"
# `job.json`:
# * `JobType`: `PyTorchJob`, for which DLC sets four variables on each machine;
# * `PodCount`: how many machines; `EcsSpec`: which kind (how many cards); `Image`: the container with this repository in it;
# * `DataSources` (not printed above): a data set is mounted at `/mnt/data` on every machine, so all see shards and checkpoints, and encoding is done once (16.2);
# * `UserCommand`: what runs on each machine.
#
# `train.sh`, line by line:
# * `set -euo pipefail`: stop at the first error, and at a variable that is not set;
# * `cards=…`: counts this machine's cards, 0 if there is none;
# * `exec …torch.distributed.run`: that is `torchrun`. With `exec`, the signal by which DLC ends a job reaches it directly, and the training can save;
# * `--nnodes="$WORLD_SIZE"`: **DLC's `WORLD_SIZE` counts machines**; torchrun calls them nnodes;
# * `--node-rank="$RANK"`: **DLC's `RANK` is that of the machine**;
# * `--nproc-per-node=…`: one process a card, one if there is no card;
# * `--master-addr`, `--master-port`: where machine 0 is, at which all meet;
# * `"$@"`: the command of the training, as it is.
#
# torchrun then gives every process *its own* `WORLD_SIZE` and `RANK`: the names are the same, the meaning is another: how many processes, and which one. Whoever leaves torchrun out and hands DLC's variables to a training has one card of eight at work.
#
# What it would run can be seen without DLC: set the four variables and put `echo` in the place of `python`.

# %%
given = {"WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "23456"}
for rank in "01":
    line = ["bash", str(dlc / "train.sh"), "scripts/train_text_to_image.py"]
    own = os.environ | given | {"RANK": rank, "PYTHON": "echo"}
    print(subprocess.run(line, capture_output=True, text=True, env=own).stdout)

# %% [markdown] lang="zh"
# ## 16.6 一个式子
#
# 清洗、编码、训练，每张图的时间和别的图无关，所以可以先量一张，再乘：
#
# $$ T = \frac{n\,(t_c + t_e + E\,t_t)}{G} \qquad B = n\,(b_p + b_e) $$
#
# $n$ 张图，$E$ 遍，$G$ 个同样的处理器；$t_c$、$t_e$、$t_t$ 是清洗、编码、训练一张图的秒数，$b_p$、$b_e$ 是一张图和它的编码的字节数。**假定**（都没有量过）：分成 $G$ 份就快 $G$ 倍；磁盘和网络跟得上；没有机器坏。近似重复不在里面，它不是 $n$ 的倍数，也不分摊。

# %% [markdown] lang="en"
# ## 16.6 One formula
#
# In cleaning, encoding and training the time of a picture does not depend on the others, so it can be measured once and multiplied:
#
# $$ T = \frac{n\,(t_c + t_e + E\,t_t)}{G} \qquad B = n\,(b_p + b_e) $$
#
# $n$ pictures, $E$ epochs, $G$ processors of one kind; $t_c$, $t_e$, $t_t$ are the seconds of cleaning, encoding and training on one picture, $b_p$ and $b_e$ the bytes of a picture and of what it is encoded to. **Assumed**, and not measured: $G$ parts are $G$ times as fast; disks and network keep up; no machine fails. Near duplicates are not in it: they are no multiple of $n$, and not shared out.

# %% tags=["nbval-ignore-output"]
EPOCHS = 1
each = clean_seconds + encode_seconds + EPOCHS * train_seconds
print(f"{clean_seconds:.3f} + {encode_seconds:.3f} + {train_seconds:.3f} s a picture")
plan = {}
for count in (10**5, 10**7, 10**9):
    plan[count] = [count * each / cards / 86400 for cards in (1, 8, 64)]
    terabytes = count * (raw_bytes + encoded_bytes) / 1e12
    shown = " ".join(f"{days:12,.2f}" for days in plan[count])
    print(f"{count:13,}: {shown} days, {terabytes:8.3f} TB")

# %% [markdown] lang="zh"
# 三列是 1、8、64 个*这样的*处理器，模型是 {{ profile.size }} 像素的 mini。十亿张图在一个上要 {{ f"{plan[10**9][0] / 365:,.0f}" }} 年，在 64 个上 {{ f"{plan[10**9][2]:,.0f}" }} 天；哪一项最大，就先改哪一项。真模型、真的卡，每张图的秒数换成你量的那个，式子不变。照这里量到的，先坏的是：
#
# | 图片 | 先不够的 | 办法 |
# |---|---|---|
# | 十万 | 什么都够；两两比已经要一分钟 | `paidiff curate`，一个进程 |
# | 一千万 | 两两比（{{ f"{days:.0f}" }} 天）；散文件 | 分带；分片 |
# | 十亿 | 分带的内存（一张 300 多字节，都在一个进程里）；磁盘 | 先按哈希分堆再比；Data-Juicer 和 Ray |
#
# 每一步的秒和字节、带假定的表：[docs/scale.zh-CN.md](../docs/scale.zh-CN.md)。

# %% [markdown] lang="en"
# The three columns are for 1, 8 and 64 processors *like this one*, the model is mini at {{ profile.size }} pixels. A billion pictures take {{ f"{plan[10**9][0] / 365:,.0f}" }} years on one and {{ f"{plan[10**9][2]:,.0f}" }} days on 64; whichever term is largest is the one to work on first. For a real model on real cards put the seconds that you have measured there in their places; the formula stays. By what was measured here, what breaks first is:
#
# | pictures | what is short first | what to do |
# |---|---|---|
# | a hundred thousand | nothing; all pairs take a minute already | `paidiff curate`, one process |
# | ten million | all pairs ({{ f"{days:.0f}" }} days); loose files | bands; shards |
# | a billion | memory for the bands (more than 300 bytes a picture, in one process); disks | divide by a hash first, then compare; Data-Juicer and Ray |
#
# Seconds and bytes of each step, in a table with its assumptions: [docs/scale.md](../../docs/scale.md).

# %% [markdown] lang="zh"
# ## 16.7 说清楚
# * 没有跑过的：真的 DLC，几块 GPU，用真的网络连起来的几台机器。上面的都在一台两个核的机器上，进程之间用 gloo。
# * 损失一样，说的是这四次更新、这个方法。别的方法和断了再接的，在 `tests/test_processes.py` 里。
# * 16.3 的“图”是混出来的缩略图，真的数据里近似重复有多少、长什么样，要在你的数据上看。
# * 16.6 的表是乘出来的，不是跑出来的。
#
# ## 你学到了
# * 数据并行：各算各的梯度，平均，权重就一直一样；随机数按整批抽，才比得出对不对。
# * 分片：编码一次，从头读到尾，被杀了只丢手上的一片；它不比图小，换的是时间。
# * 先看什么随 $n$ 涨，什么随 $n^2$ 涨：一千万张时，前者是几分钟，后者是几天。
# * 清洗的引擎用现成的：一份配方，一台机器和一个集群留下同样的图。
# * DLC 的 `WORLD_SIZE` 是机器数；torchrun 之后才是进程数。

# %% [markdown] lang="en"
# ## 16.7 To be plain
# * What was not run: the real DLC, several GPUs, machines joined by a real network. All of the above ran on one machine with two cores, over gloo between its processes.
# * That the losses are the same is said of these four updates and this method. Other methods, and going on after a stop, are in `tests/test_processes.py`.
# * The "pictures" of 16.3 are blended thumbnails; how many near duplicates real data hold, and how they look, has to be seen in yours.
# * The table of 16.6 was multiplied, not run.
#
# ## What you have learnt
# * Data parallelism: each process computes its gradients, they are averaged, and the weights stay the same; only if chance is drawn for the whole batch can you check it.
# * Shards: encoded once, read from start to end, and a kill loses no more than the one at hand; they are no smaller than pictures, what they save is time.
# * Look first at what grows as $n$ and what as $n^2$: at ten million the one is minutes, the other days.
# * Cleaning uses an engine that exists: one recipe, and one machine or a cluster keep the same pictures.
# * DLC's `WORLD_SIZE` counts machines; only after torchrun does it count processes.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 练习
#
# 把 `...` 换成你的答案，运行单元格：`check` 说对不对，不对时说错在哪里，再给一条提示。

# %% [markdown] lang="en" tags=["exercise"]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell: `check` says whether it is right, if not what is wrong, and gives a hint.

# %% [markdown] lang="zh"
# ### 再试试
#
# 这些没有标准答案，写下你看到的。
#
# 1. 把 `work.py` 里的 `rank=8` 换成 64，梯度大了八倍。消息还是那么多条吗？处理器的秒数呢？
# 2. 把 16.3 的 `1.5` 换成 3、4：翻版改得更多。分带漏掉的，和两两比也找不到的，各有多少？
# 3. 运行 `python benchmarks/processes.py`：四个进程在两个核上，损失还一样吗？为什么处理器的秒数还在涨？

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. Put 64 in the place of `rank=8` in `work.py`: the gradients are eight times as large. Are there as many messages as before? And the processor seconds?
# 2. Put 3 and 4 in the place of `1.5` in 16.3: the copies are altered more. How many do the bands miss, and how many do all pairs not find either?
# 3. Run `python benchmarks/processes.py`: with four processes on two cores, are the losses still the same? Why do the processor seconds go on growing?
