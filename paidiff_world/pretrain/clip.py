"""Stage 2: a Chinese CLIP on the world's pictures and captions; its text encoder then stays frozen (article, row 5).

Radford et al. 2021. transformers' CLIPModel, with BERT's ids for [CLS], [SEP] and [PAD].
"""

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModel

from ..judge import CLASSES
from .tokenizer import LIMIT
from .vae import to_tensor


def build(vocab_size):
    shape = dict(hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4)
    special = dict(bos_token_id=101, eos_token_id=102, pad_token_id=0)
    text = dict(shape, **special, vocab_size=vocab_size, max_position_embeddings=LIMIT, projection_dim=192)
    vision = dict(shape, image_size=128, patch_size=32, projection_dim=192)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=192))


def tokenize(tokenizer, captions):
    """Token ids (N, LIMIT), padded and cut as a pipeline does it."""
    return tokenizer(captions, padding="max_length", truncation=True, max_length=LIMIT, return_tensors="pt").input_ids


def tokenize_pairs(tokenizer, captions):
    """Two captions a picture -> ids (N, 2, LIMIT)."""
    return torch.stack([tokenize(tokenizer, [pair[k] for pair in captions]) for k in (0, 1)], 1)


class Taught(nn.Module):
    """A CLIP with one linear head an attribute (subject, background, style, ...) on both towers, for training only.

    Contrast alone is satisfied by background and style, which already tell most of a batch apart: subjects were then
    right in only half of the cases when read linearly from the text's states. The heads make every part of a caption
    readable; they are thrown away afterwards.
    """

    def __init__(self, vocab_size):
        super().__init__()
        self.clip = build(vocab_size)
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(names)) for name, names in CLASSES.items()})


def objective(taught, pictures, ids, targets, batch):
    """Contrastive loss + attribute losses; ids (N, 2, LIMIT): two captions a picture; targets (N, heads)."""
    clip, device = taught.clip, next(taught.parameters()).device

    def loss(step, generator):
        which = torch.randint(len(pictures), (batch,), generator=generator)
        x = to_tensor(pictures[which.numpy()], device)
        text = ids[which, torch.randint(ids.shape[1], (batch,), generator=generator)]
        text = text[:, : (text != 0).sum(1).max()].to(device)  # causal: what follows [SEP] changes nothing before it
        out = clip(input_ids=text, pixel_values=x, return_loss=True)
        wanted = targets[which].to(device)
        parts = {
            f"{tower[0]}-{name}": nn.functional.cross_entropy(head(states.pooler_output).float(), wanted[:, i])
            for tower, states in (("text", out.text_model_output), ("picture", out.vision_model_output))
            for i, (name, head) in enumerate(taught.heads.items())
        }
        right = (out.logits_per_image.argmax(1) == torch.arange(batch, device=device)).float().mean()
        shown = {"top1": right, "t-subject": parts["t-subject"], "p-subject": parts["p-subject"]}
        return out.loss + sum(parts.values()) / 4, shown

    return loss


@torch.no_grad()
def top1(clip, pictures, ids, batch=128):
    """How often the right caption is picked out of `batch`, on pictures (N, H, W, 3) and ids (N, 2, LIMIT)."""
    device, right = next(clip.parameters()).device, []
    batch = min(batch, len(pictures))
    for i in range(0, len(pictures) - batch + 1, batch):
        out = clip(input_ids=ids[i : i + batch, 0].to(device), pixel_values=to_tensor(pictures[i : i + batch], device))
        right.append(out.logits_per_image.argmax(1).cpu() == torch.arange(batch))
    return round(torch.cat(right).float().mean().item(), 4)


def text_encoder(clip):
    """CLIP's text half as the CLIPTextModel of a pipeline."""
    encoder = CLIPTextModel(clip.config.text_config)
    encoder.load_state_dict(clip.text_model.state_dict())
    return encoder.eval()
