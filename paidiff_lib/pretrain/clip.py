"""Stage 2: a Chinese CLIP on the world's pictures and captions; its text encoder then stays frozen (article, row 5).

Radford et al. 2021. transformers' CLIPModel, with BERT's ids for [CLS], [SEP] and [PAD].
"""
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextModel

from .tokenizer import LIMIT
from .vae import to_tensor


def build(vocab_size):
    shape = dict(hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4)
    text = dict(shape, vocab_size=vocab_size, max_position_embeddings=LIMIT, projection_dim=192,
                bos_token_id=101, eos_token_id=102, pad_token_id=0)
    vision = dict(shape, image_size=128, patch_size=32, projection_dim=192)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=192))


def tokenize(tokenizer, captions):
    """Token ids (N, LIMIT), padded and cut as a pipeline does it."""
    return tokenizer(captions, padding="max_length", truncation=True, max_length=LIMIT,
                     return_tensors="pt").input_ids


def objective(clip, pictures, ids, batch):
    """Contrastive loss; ids (N, 2, LIMIT) hold two captions of every picture."""
    device = next(clip.parameters()).device

    def loss(step, generator):
        which = torch.randint(len(pictures), (batch,), generator=generator)
        x = to_tensor(pictures[which.numpy()], device)
        text = ids[which, torch.randint(ids.shape[1], (batch,), generator=generator)]
        text = text[:, :(text != 0).sum(1).max()].to(device)  # causal: what follows [SEP] changes nothing before it
        out = clip(input_ids=text, pixel_values=x, return_loss=True)
        right = (out.logits_per_image.argmax(1) == torch.arange(batch, device=device)).float().mean()
        return out.loss, {"top1": right}
    return loss


@torch.no_grad()
def top1(clip, pictures, ids, batch=128):
    """How often the right caption is picked out of `batch`, on pictures (N, H, W, 3) and ids (N, 2, LIMIT)."""
    device, right = next(clip.parameters()).device, []
    batch = min(batch, len(pictures))
    for i in range(0, len(pictures) - batch + 1, batch):
        out = clip(input_ids=ids[i:i + batch, 0].to(device), pixel_values=to_tensor(pictures[i:i + batch], device))
        right.append(out.logits_per_image.argmax(1).cpu() == torch.arange(batch))
    return round(torch.cat(right).float().mean().item(), 4)


def text_encoder(clip):
    """CLIP's text half as the CLIPTextModel of a pipeline."""
    encoder = CLIPTextModel(clip.config.text_config)
    encoder.load_state_dict(clip.text_model.state_dict())
    return encoder.eval()
