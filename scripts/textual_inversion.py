"""Teach a model a new word from a few pictures, with the PAI-Diffusion article's flags.

    accelerate launch scripts/textual_inversion.py --pretrained_model_name_or_path mini --train_data_dir DIR \
        --learnable_property="object" --placeholder_token="<小奶猫>" --initializer_token="猫" --resolution=128 \
        --train_batch_size=1 --gradient_accumulation_steps=4 --max_train_steps=100 --learning_rate=5.0e-04 --scale_lr \
        --lr_scheduler="constant" --lr_warmup_steps=0 --output_dir out/kitten

The result is a whole model: `StableDiffusionPipeline.from_pretrained("out/kitten")`; the word alone is in
out/kitten/learned_embeds.safetensors.
"""

from paidiff_app.train import main

if __name__ == "__main__":
    main("textual_inversion")
