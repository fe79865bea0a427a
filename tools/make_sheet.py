"""Draw data/sheet.jpg, the first screen of the README: 64 prompts, one seed, nothing picked out afterwards."""

from pathlib import Path

import paidiff_lib as paidiff
from paidiff_lib.generate import sample

SEED = 1
PROMPTS = """
雪地里的两只企鹅 猫头鹰,竹林,水墨画 一只红色的马在草地上 三朵向日葵,蓝色背景 城市夜景,火车,赛博朋克 湖面上的古楼,水彩画 熊猫,竹林,剪纸 落日下的帆船,油画
沙漠里的骆驼 狐狸,雪山,童话绘本 两只蝴蝶,花海 海底的海豚 机器人,城市夜景 大象,草地,素描 公主,粉色背景 星空下的帐篷
粉色的猫,沙发 老虎,森林,油画 两头鲸鱼,海底 孔雀,草地,水彩画 城堡,悬崖,童话绘本 蓝色的小狗,雪地 汽车,沙滩,像素画 龙,天空,剪纸
三个苹果,白色背景 灯笼,城市夜景 长颈鹿,落日 乌龟,沙滩,浮雕 鹦鹉,森林 自行车,湖面,水墨画 紫色的兔子,花海 雪人,雪地,像素画
莲花,荷塘 骷髅,沙漠,素描 飞机,天空 狮子,草地,水墨画 两棵椰子树,沙滩 女孩,花海,童话绘本 独角兽,彩虹 咖啡,沙发,油画
公鸡,草地,剪纸 火箭,星空 绿色的恐龙,沙漠 蘑菇,森林,童话绘本 奶牛,雪山 钻石,黄色背景,赛博朋克 章鱼,海底,水彩画 两只天鹅,湖面
气球,蓝天白云 猴子,竹林,浮雕 花瓶,红色背景 枫叶,湖面,水墨画 忍者,落日,剪纸 黑色的马,雪地 热带鱼,海底,像素画 房子,草地,水彩画
吉他,绿色背景 鹿,雪山,素描 玫瑰,星空 火烈鸟,湖面 白色的猫头鹰,森林 蛋糕,粉色背景,童话绘本 圣诞树,雪地 松鼠,悬崖,油画
""".split()


def main():
    pipe = paidiff.load("mini")
    out = Path(__file__).parents[1] / "data/sheet.jpg"
    sheet = paidiff.grid(sample(pipe, PROMPTS, seed=SEED), columns=8)
    sheet.save(out, quality=88, optimize=True)
    print(f"{len(PROMPTS)} pictures -> {out.name} ({out.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
