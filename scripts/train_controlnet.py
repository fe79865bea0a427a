"""Train a Canny ControlNet on captioned pictures; their edges are found on the way.

    accelerate launch scripts/train_controlnet.py --pretrained_model_name_or_path mini --train_data_dir DIR \
        --resolution=128 --train_batch_size=4 --max_train_steps=500 --learning_rate=3e-4 --output_dir out/canny

The result: `paidiff_lib.load(task="controlnet", control="out/canny")`, or `ControlNetModel.from_pretrained("out/canny")`.
"""

from paidiff_app.train import main

if __name__ == "__main__":
    main("controlnet")
