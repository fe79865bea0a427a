"""DreamBooth: a rare word comes to mean one particular thing, with the flags of diffusers' own script.

    accelerate launch scripts/train_dreambooth.py --pretrained_model_name_or_path mini --instance_data_dir data/bear \
        --with_prior_preservation --class_prompt="一只熊" --class_data_dir out/bears \
        --num_class_images=100 --train_text_encoder --train_batch_size=4 --max_train_steps=150 --learning_rate=3e-4 \
        --output_dir out/dreambooth

The result is a whole model: `StableDiffusionPipeline.from_pretrained("out/dreambooth")`; with --rank it is a LoRA,
`pipe.load_lora_weights("out/dreambooth")`.
"""

from paidiff_app.train import main

if __name__ == "__main__":
    main("dreambooth")
