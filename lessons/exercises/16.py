"""Exercises of lesson 16."""

from collections import Counter

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 16.1 from DLC's variables to those of a process ----------------------------------------------------------------


def process_of(nodes, node, cards, card):
    return nodes * cards, node * cards + card


def process_by_list(nodes, node, cards, card):
    everybody = [(n, c) for n in range(nodes) for c in range(cards)]
    return len(everybody), everybody.index((node, card))


def process_by_array(nodes, node, cards, card):
    numbers = np.arange(nodes * cards).reshape(nodes, cards)
    return numbers.size, numbers[node, card]


def a_cluster(rs):
    """Machines, one of them that is not the first, cards in each, one of them that is not the first."""
    nodes, cards = rs.choice([2, 3, 5, 6, 7], 2, replace=False)
    return int(nodes), int(rs.randint(1, nodes)), int(cards), int(rs.randint(1, cards))


# --- 16.2 how many pairs are compared -------------------------------------------------------------------------------


def pairs_compared(cells):
    return sum(count * (count - 1) // 2 for count in Counter(cells.tolist()).values())


def pairs_by_matrix(cells):
    same = cells[:, None] == cells
    return np.triu(same, k=1).sum()


def pairs_by_sorting(cells):
    there = np.sort(cells)
    return sum((there[:-step] == there[step:]).sum() for step in range(1, len(there)))


def some_cells(rs):
    """(40,) the cell of each picture: some cells hold many, some one."""
    return (rs.permutation(rs.geometric(0.25, 40)),)


def counts_of(cells):
    return np.unique(cells, return_counts=True)[1]


# --- 16.3 how long the whole takes ----------------------------------------------------------------------------------


def hours_for(count, clean, encode, train, epochs, cards):
    return count * (clean + encode + epochs * train) / cards / 3600


def hours_by_parts(count, clean, encode, train, epochs, cards):
    own = count / cards
    return (own * clean + own * encode + own * epochs * train) / 60 / 60


def hours_by_product(count, clean, encode, train, epochs, cards):
    return count / 3600 / cards * np.dot([clean, encode, train], [1, 1, epochs])


def a_plan(rs):
    """Pictures; seconds of cleaning, encoding and training on one; epochs; cards."""
    return int(rs.randint(10**5, 10**7)), *rs.uniform(0.01, 0.2, 3), int(rs.randint(2, 9)), int(rs.choice([2, 8, 64]))


EXERCISES = [
    Exercise(
        number="16.1",
        kind="function",
        zh="DLC 给一台机器 `WORLD_SIZE=nodes`、`RANK=node`；每台机器有 `cards` 块卡。写出 torchrun 给这台机器上第 `card`（从 0"
        " 数）块卡的进程的两个数：`(WORLD_SIZE, RANK)`。进程一台机器接着一台机器地编号。",
        en="DLC gives a machine `WORLD_SIZE=nodes` and `RANK=node`, and each machine has `cards` cards. Return the two numbers"
        " that torchrun gives the process of card `card` (counted from 0) of this machine: `(WORLD_SIZE, RANK)`. Processes"
        " are numbered one machine after the other.",
        hints=(
            ("每块卡一个进程：一共几个？", "A process for each card: how many are there?"),
            (
                "这台机器前面的 `node` 台机器上，一共有几个进程？",
                "How many processes are on the `node` machines before this one?",
            ),
            ("`nodes * cards`，和 `node * cards + ...`", "`nodes * cards`, and `node * cards + ...`"),
        ),
        solution=process_of,
        also=(process_by_list, process_by_array),
        inputs=a_cluster,
        tolerance=0,
        wrong=(
            Wrong(
                lambda nodes, node, cards, card: (nodes, node),
                "这是 DLC 的两个数，数的是机器；进程多得多",
                "these are DLC's numbers, which count machines; there are more processes",
            ),
            Wrong(
                lambda nodes, node, cards, card: (nodes * cards, card),
                "这是在这台机器上的编号（LOCAL_RANK），每台机器都有一个一样的",
                "this is the number on this machine (LOCAL_RANK): every machine has one like it",
            ),
            Wrong(
                lambda nodes, node, cards, card: (nodes * cards, node + card),
                "两个编号相加会重：0 号机器的 1 号卡和 1 号机器的 0 号卡都是 1",
                "the sum is not unique: card 1 of machine 0 and card 0 of machine 1 both get 1",
            ),
            Wrong(
                lambda nodes, node, cards, card: (nodes * cards, card * nodes + node),
                "这是先数完所有机器的 0 号卡；进程是一台机器接着一台机器编号的",
                "this counts card 0 of all machines first; processes are numbered machine after machine",
            ),
            Wrong(
                lambda nodes, node, cards, card: (nodes * cards, node * cards + card + 1),
                "编号从 0 开始，多了 1",
                "numbers begin with 0: this is one too many",
            ),
            Wrong(
                lambda nodes, node, cards, card: (nodes + cards, node * cards + card),
                "进程的数目是机器数乘卡数，不是加",
                "the number of processes is machines times cards, not their sum",
            ),
            Wrong(
                lambda nodes, node, cards, card: (cards, node * cards + card),
                "这只数了一台机器上的进程",
                "this counts the processes of one machine only",
            ),
        ),
    ),
    Exercise(
        number="16.2",
        kind="function",
        zh="一条带把 N 张图分进小块，`cells` `(N,)` 是每张图的块号。只比同一块里的图，每对比一次：一共要比几对？",
        en="A band puts N pictures into cells; `cells` `(N,)` holds the cell of each. Only pictures of one cell are compared,"
        " each pair once: how many pairs are that?",
        hints=(
            ("先数每一块里有几张。", "First count the pictures of each cell."),
            ("一块里有 c 张，能配成几对？", "How many pairs do c pictures make?"),
            (
                "`Counter(cells.tolist()).values()` 是各块的张数，把 `c * (c - 1) // 2` 加起来。",
                "`Counter(cells.tolist()).values()` are the counts: add up `c * (c - 1) // 2`.",
            ),
        ),
        solution=pairs_compared,
        also=(pairs_by_matrix, pairs_by_sorting),
        inputs=some_cells,
        tolerance=0,
        wrong=(
            Wrong(
                lambda cells: len(cells) * (len(cells) - 1) // 2,
                "这是两两比全部的图；要的是同一块里的",
                "these are the pairs of all pictures; those of one cell are wanted",
            ),
            Wrong(
                lambda cells: (counts_of(cells) * (counts_of(cells) - 1)).sum(),
                "每一对数了两次：除以 2",
                "each pair is counted twice: divide by 2",
            ),
            Wrong(
                lambda cells: (counts_of(cells) ** 2).sum(),
                "这把每张图和它自己也比了，还数了两次",
                "this compares each picture with itself too, and counts twice",
            ),
            Wrong(
                lambda cells: (counts_of(cells) > 1).sum(),
                "这是有几块不止一张图；要的是对数",
                "this is how many cells hold more than one picture; pairs are wanted",
            ),
            Wrong(
                lambda cells: (counts_of(cells) - 1).sum(),
                "这是每块里只和第一张比；要的是块里所有的对",
                "this compares with the first of each cell only; all pairs in it are wanted",
            ),
            Wrong(
                lambda cells: len(set(cells.tolist())),
                "这是一共有几块；要的是对数",
                "this is the number of cells; pairs are wanted",
            ),
            Wrong(
                lambda cells: (counts_of(cells) * (counts_of(cells) + 1) // 2).sum(),
                "这把每张图和它自己也算了一对：是 c - 1，不是 c + 1",
                "this counts each picture with itself as a pair: c - 1, not c + 1",
            ),
        ),
    ),
    Exercise(
        number="16.3",
        kind="function",
        zh="写 16.6 的式子：`count` 张图，清洗、编码、训练一张各要 `clean`、`encode`、`train` 秒，清洗和编码一次，训练 `epochs`"
        " 遍，`cards` 块卡平分。一共几*小时*？",
        en="Write the formula of 16.6: `count` pictures, `clean`, `encode` and `train` seconds for one; cleaned and encoded once,"
        " trained on for `epochs` epochs, shared out to `cards` cards. How many *hours* are that?",
        hints=(
            ("先算一张图一共要几秒。", "First the seconds that one picture takes in all."),
            ("哪一项要乘遍数？", "Which of the terms is multiplied by the epochs?"),
            (
                "`count * (clean + encode + epochs * train)`，除以卡数，再除以一小时的秒数。",
                "`count * (clean + encode + epochs * train)`, divided by the cards and by the seconds of an hour.",
            ),
        ),
        solution=hours_for,
        also=(hours_by_parts, hours_by_product),
        inputs=a_plan,
        tolerance=1e-6,
        wrong=(
            Wrong(
                lambda count, clean, encode, train, epochs, cards: (
                    count * (clean + encode + train) * epochs / cards / 3600
                ),
                "清洗和编码只做一次，只有训练乘遍数",
                "cleaning and encoding are done once: only training is multiplied",
            ),
            Wrong(
                lambda count, clean, encode, train, epochs, cards: count * (clean + encode + train) / cards / 3600,
                "忘了遍数：每一遍都要把所有的图训练一次",
                "the epochs are missing: each of them trains on all pictures",
            ),
            Wrong(
                lambda count, clean, encode, train, epochs, cards: count * (clean + encode + epochs * train) / 3600,
                "忘了平分：除以卡数",
                "not shared out: divide by the cards",
            ),
            Wrong(
                lambda count, clean, encode, train, epochs, cards: (
                    count * (clean + encode + epochs * train) * cards / 3600
                ),
                "卡多了反而更久：要除，不是乘",
                "more cards took longer: divide, do not multiply",
            ),
            Wrong(
                lambda count, clean, encode, train, epochs, cards: count * (clean + encode + epochs * train) / cards,
                "这是秒；要小时",
                "these are seconds; hours are wanted",
            ),
            Wrong(
                lambda count, clean, encode, train, epochs, cards: (
                    count * (clean + encode + epochs * train) / cards / 60
                ),
                "这是分钟；要小时",
                "these are minutes; hours are wanted",
            ),
            Wrong(
                lambda count, clean, encode, train, epochs, cards: count * epochs * train / cards / 3600,
                "只算了训练；清洗和编码也要时间",
                "this is training alone; cleaning and encoding take time too",
            ),
        ),
    ),
    Exercise(
        number="16.4",
        kind="predict",
        zh="两两比 100,000 张图要 60 秒。10,000,000 张要几天？（写一个数，一位小数。）",
        en="All pairs of 100,000 pictures take 60 seconds. How many days do 10,000,000 take? (A number, one decimal.)",
        hints=(
            ("图多了几倍？时间多几倍？", "How many times the pictures? How many times the time?"),
            ("时间按平方涨：100 倍的图，10,000 倍的时间。", "Time grows as the square: 100 times, so 10,000 times."),
            ("60 × 10,000 秒，一天 86,400 秒。", "60 × 10,000 seconds; a day has 86,400."),
        ),
        solution=6.9,
        also=(6.944,),
        tolerance=0.02,
        wrong=(
            Wrong(0.1, "这是按倍数涨；两两比按平方涨", "this grows in proportion; all pairs grow as the square"),
            Wrong(
                0.0694, "这是按倍数涨；两两比按平方涨，再看看", "in proportion, precisely; but pairs grow as the square"
            ),
            Wrong(600000, "这是秒；要天", "these are seconds; days are wanted"),
            Wrong(10000, "这是分钟；要天", "these are minutes; days are wanted"),
            Wrong(166.7, "这是小时；要天", "these are hours; days are wanted"),
            Wrong(694.4, "这是按立方涨；两两比是平方", "this is the cube; pairs are the square"),
            Wrong(
                3.5,
                "半数的对已经在那 60 秒里算过了，不要再除以 2",
                "the half is in those 60 seconds already: do not halve",
            ),
        ),
    ),
]
