"""Train a LoRA on captioned pictures, with the PAI-Diffusion article's flags.

    accelerate launch scripts/train_text_to_image_lora.py --pretrained_model_name_or_path mini --train_data_dir DIR \
        --resolution=128 --center_crop --random_flip --train_batch_size=1 --gradient_accumulation_steps=4 \
        --max_train_steps=200 --learning_rate=1e-03 --max_grad_norm=1 --lr_scheduler="cosine" --lr_warmup_steps=0 \
        --output_dir out/lora

The result: `pipe.load_lora_weights("out/lora")`, or `load_lora_weights("out/lora/checkpoint-500")` on the way.
"""

from paidiff_app.train import main

if __name__ == "__main__":
    main("text_to_image_lora")
