#!/usr/bin/env bash
# PAI-DLC 的 PyTorch 任务:每台机器上运行同一句 · a PyTorch job of PAI-DLC: the same command on every machine
#
#     bash deploy/dlc/train.sh scripts/train_text_to_image.py --train_data_dir /mnt/data/shards --output_dir /mnt/data/out ...
#     bash deploy/dlc/train.sh -m paidiff_app.cli encode /mnt/data/pictures -o /mnt/data/shards
#
# DLC 给出 MASTER_ADDR, MASTER_PORT, WORLD_SIZE, RANK。WORLD_SIZE 是机器数,RANK 是第几台;torchrun 再给每个进程它自己的。
# DLC sets them: WORLD_SIZE counts machines there and RANK is this machine's; torchrun then gives each process its own.
set -euo pipefail
cards=$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="$WORLD_SIZE" --node-rank="$RANK" --nproc-per-node="$((cards > 0 ? cards : 1))" \
    --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" "$@"
