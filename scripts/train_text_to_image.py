"""Full fine-tuning on captioned pictures, with the flags of the PAI-Diffusion models' own tutorial.

    accelerate launch scripts/train_text_to_image.py --pretrained_model_name_or_path mini --train_data_dir DIR --use_ema \
        --resolution=128 --center_crop --random_flip --train_batch_size=1 --gradient_accumulation_steps=4 \
        --gradient_checkpointing --mixed_precision=fp16 --max_train_steps=200 --learning_rate=1e-05 --max_grad_norm=1 \
        --lr_scheduler=constant --output_dir out/full

fp16 needs a GPU: leave --mixed_precision away on a CPU.
The result is a whole model: `StableDiffusionPipeline.from_pretrained("out/full")`.
"""

from paidiff_app.train import main

if __name__ == "__main__":
    main("text_to_image")
