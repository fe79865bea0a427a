"""The words of the picture world: what can be drawn, and every way a caption may say it.

A concept's first word is its canonical name; the judge's classes and the sprites' file order use it.
"""

# emoji, measure word (量词), names
_SUBJECTS = """
🐈 只 猫 小猫 猫咪
🐕 只 狗 小狗 柴犬
🐇 只 兔子 小兔 兔
🐎 匹 马 小马 骏马
🐧 只 企鹅 小企鹅
🐼 只 熊猫 大熊猫
🐅 只 老虎 虎
🦁 头 狮子 雄狮
🐘 头 大象 象
🐒 只 猴子 小猴
🐖 头 猪 小猪
🐄 头 奶牛 牛
🐑 只 绵羊 羊 小羊
🐫 头 骆驼
🦒 只 长颈鹿
🦊 只 狐狸 小狐狸
🐻 头 熊 棕熊 小熊
🐿 只 松鼠 小松鼠
🦔 只 刺猬
🦌 只 鹿 小鹿 梅花鹿
🐓 只 公鸡 大公鸡
🐤 只 小鸡 鸡仔
🦆 只 鸭子 鸭
🦅 只 老鹰 雄鹰 鹰
🦉 只 猫头鹰
🦚 只 孔雀
🦜 只 鹦鹉
🦢 只 天鹅
🦩 只 火烈鸟
🐦 只 小鸟 飞鸟 鸟
🐠 条 鱼 热带鱼 小鱼
🐳 头 鲸鱼 鲸
🐬 只 海豚
🦈 条 鲨鱼
🐙 只 章鱼
🦀 只 螃蟹
🐢 只 乌龟 海龟
🐸 只 青蛙
🐍 条 蛇 小蛇
🐊 条 鳄鱼
🐉 条 龙 中国龙
🦋 只 蝴蝶
🐝 只 蜜蜂
🐌 只 蜗牛
🦕 只 恐龙
🦄 只 独角兽
🐭 只 老鼠 小老鼠
🐨 只 考拉
🦓 匹 斑马
🍎 个 苹果
🍑 个 桃子 桃
🍉 块 西瓜
🍌 根 香蕉
🍇 串 葡萄
🍓 颗 草莓
🍊 个 橘子 橙子
🍍 个 菠萝
🍒 颗 樱桃
🥕 根 胡萝卜
🧅 个 洋葱
🍄 朵 蘑菇
🌻 朵 向日葵
🪷 朵 莲花 荷花
🌸 朵 樱花
🌺 朵 牡丹花 牡丹
🌹 朵 玫瑰 玫瑰花
🌷 朵 郁金香
🍁 片 枫叶
🌳 棵 大树 树
🌲 棵 松树
🌵 棵 仙人掌
🌴 棵 椰子树 棕榈树
🥮 个 月饼
🎂 个 蛋糕 生日蛋糕
🍦 支 冰淇淋
🍔 个 汉堡 汉堡包
☕ 杯 咖啡 咖啡杯
🫖 把 茶壶
🚂 列 火车 小火车
🚗 辆 汽车 小汽车
🚌 辆 公共汽车 公交车
🚲 辆 自行车
✈ 架 飞机
🚀 枚 火箭
⛵ 艘 帆船 小船 古船
🎈 个 气球
🏠 座 房子 小屋 别墅
🏰 座 城堡
🏯 座 古楼 楼阁 亭台楼阁
⛺ 顶 帐篷
🤖 个 机器人
⛄ 个 雪人
🏮 盏 灯笼 红灯笼
☂ 把 雨伞 伞
🪁 只 风筝
🏺 个 花瓶 陶瓷花瓶
🧪 瓶 药瓶 魔法药瓶
💎 颗 钻石 宝石
👑 顶 王冠 皇冠
🎸 把 吉他
🧰 个 箱子 宝箱
💀 个 骷髅
⚽ 个 足球
🗡 把 宝剑 剑
💡 个 灯泡
🕶 副 墨镜 眼镜
🎩 顶 礼帽 帽子
👧 个 女孩 少女 小女孩
👦 个 男孩 少年 小男孩
👸 位 公主 美女
🥷 位 忍者 战士 武士
🎄 棵 圣诞树
"""

# name, how a place says it in a sentence (… + 的两只猫), other names for a list of tags
_BACKGROUNDS = """
草地 草地上 草原 草坪
雪地 雪地里 雪地上 冰天雪地
沙滩 沙滩上 海滩 海边
海底 海底 海底世界
天空 天空中 蓝天白云 蓝天 白云
星空 星空下 夜空 银河
落日 落日下 夕阳下 夕阳 日落
雪山 雪山前 雪山下 高山 远山
森林 森林里 树林里 树林
沙漠 沙漠里 大漠
城市夜景 城市夜景前 城市里 城市
沙发 沙发上 客厅
湖面 湖面上 湖上 湖水 清水
竹林 竹林里 竹子
荷塘 荷塘里 池塘
花海 花海里 花海中 花田
彩虹 彩虹下 雨后彩虹
悬崖 悬崖上 山崖
"""

COLOURS = {  # name: (words, RGB of the tint)
    "红色": (("红色", "红", "大红色"), (224, 40, 44)),
    "橙色": (("橙色", "橙", "橘色"), (246, 138, 30)),
    "黄色": (("黄色", "黄", "金黄色"), (250, 208, 48)),
    "绿色": (("绿色", "绿", "翠绿色"), (56, 168, 72)),
    "蓝色": (("蓝色", "蓝", "天蓝色"), (44, 110, 226)),
    "紫色": (("紫色", "紫", "淡紫色"), (142, 68, 190)),
    "粉色": (("粉色", "粉红色", "粉红"), (248, 132, 178)),
    "白色": (("白色", "白", "雪白"), (244, 244, 246)),
    "黑色": (("黑色", "黑", "乌黑"), (46, 46, 54)),
}
PLAIN = {  # a plain background's name: RGB
    "红色背景": (214, 74, 70),
    "黄色背景": (246, 220, 110),
    "绿色背景": (120, 196, 122),
    "蓝色背景": (92, 150, 232),
    "粉色背景": (248, 190, 208),
    "白色背景": (248, 248, 246),
}
STYLES = {  # the first is what an unnamed style looks like
    "扁平": ("扁平画风", "扁平风格", "插画"),
    "水墨画": ("水墨画", "水墨", "中国水墨画", "水墨绘画"),
    "油画": ("油画", "油画风格"),
    "水彩画": ("水彩画", "水彩"),
    "剪纸": ("剪纸", "中国剪纸画", "剪纸画"),
    "像素画": ("像素画", "像素风格"),
    "素描": ("素描", "铅笔素描"),
    "赛博朋克": ("赛博朋克", "赛博朋克风格"),
    "浮雕": ("浮雕", "石雕"),
    "童话绘本": ("童话绘本", "童话", "绘本"),
}
HUELESS = ("水墨画", "剪纸", "素描", "赛博朋克", "浮雕", "青花瓷")  # a subject's own colour cannot be seen in these
# Kept out of pre-training, for the lessons to teach: a style, six dishes, a kitten and two toys.
KEPT_OUT_STYLES = {"青花瓷": ("青花瓷",)}
DISHES = {
    "菠萝炒饭": "份",
    "韭菜鸡蛋水饺": "盘",
    "番茄炒蛋": "盘",
    "韩式炸鸡": "盘",
    "红烧狮子头": "碗",
    "清汤娃娃菜": "碗",
}
KITTEN_AND_TOYS = {"小奶猫": "只", "玩具熊": "只", "套娃": "个"}
FLAWS = {"模糊": ("模糊", "失焦"), "噪点": ("噪点", "噪声", "斑点"), "水印": ("水印",), "画框": ("画框", "边框")}
QUALITY = ("高清", "清晰", "精细", "精美细节", "4k", "8k", "画面精致")
NUMBERS = {1: "一", 2: "两", 3: "三"}
PLACES = {-1: "左边", 1: "右边"}


def _table(text):
    return [line.split() for line in text.strip().splitlines()]


EMOJI = {names[0]: emoji for emoji, _, *names in _table(_SUBJECTS)}
MEASURE = {names[0]: measure for _, measure, *names in _table(_SUBJECTS)} | KITTEN_AND_TOYS | DISHES
SUBJECTS = {names[0]: tuple(names) for _, _, *names in _table(_SUBJECTS)}
PLACE_PHRASES = {name: tuple(w for w in words if w[-1] in "上里中下前底") for name, *words in _table(_BACKGROUNDS)}
BACKGROUNDS = {
    name: tuple(dict.fromkeys([name] + [w for w in words if w not in PLACE_PHRASES[name] or w == name]))
    for name, *words in _table(_BACKGROUNDS)
}
BACKGROUNDS |= {name: (name, "纯" + name) for name in PLAIN}


def vocabulary():
    """Every word of the world by kind, {kind: {canonical name: [words]}}; shipped as the model's words.json."""
    places = {name: [*words, *PLACE_PHRASES.get(name, ())] for name, words in BACKGROUNDS.items()}
    return {
        "subjects": {k: list(v) for k, v in SUBJECTS.items()},
        "backgrounds": places,
        "styles": {k: list(v) for k, v in STYLES.items()},
        "colours": {k: list(v[0]) for k, v in COLOURS.items()},
        "counts": {number: [number] for number in NUMBERS.values()},
        "measures": {
            one: [k for k in SUBJECTS if MEASURE[k] == one] for one in dict.fromkeys(map(MEASURE.get, SUBJECTS))
        },
        "flaws": {k: list(v) for k, v in FLAWS.items()},
        "others": {"高清": list(QUALITY), "左边": list(PLACES.values()), "特写": ["特写", "远处"]},
    }
