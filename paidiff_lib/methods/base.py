"""What the training loop has to know about a method: what is trained, what the model predicts, what is saved."""

from ..generate import sample
from ..models.encode import digest_of, encode_captions


class Method:
    """The base of every method. A method holds a pipeline and changes it in place: it can be drawn with at any time.

    caption_dropout: the share of captions replaced by the empty one. weight_decay: of AdamW.
    trains_text: if True, captions go through the text encoder at every step, with gradients.
    condition: None, or what makes a picture (PIL) into the picture that steers it; `predict` then gets `conditions`.
    shardable: whether its weights may be divided between processes, with FSDP.
    """

    caption_dropout, weight_decay, trains_text, condition, shardable = 0.0, 1e-2, False, None, False

    def __init__(self, pipe):
        self.pipe = pipe
        self.base = digest_of(pipe.unet.conv_in)  # enough to tell one base model from another

    def parameters(self):
        """{name: parameter} of everything that is trained, in a fixed order."""
        raise NotImplementedError

    def parts(self):
        """{name: module} of those that gradients go through."""
        parts = {"unet": self.pipe.unet}
        return {**parts, "text_encoder": self.pipe.text_encoder} if self.trains_text else parts

    def settings(self):
        """What a run must agree on with the run that it continues."""
        return {"method": type(self).__name__, "base": self.base}

    def start(self, device, dtype=None):
        """Get ready for training: what is trained in float32 whatever the precision, everything else in its own.

        dtype: what the whole pipeline is put into before.
        """
        import torch

        self.pipe.to(device)
        for part in self.pipe.components.values():
            if dtype and isinstance(part, torch.nn.Module):
                torch.nn.Module.to(part, dtype)  # diffusers' own logs a line about it, needed or not
        for part in (self.pipe.unet, self.pipe.text_encoder, self.pipe.vae):
            part.requires_grad_(False)
        for parameter in self.parameters().values():
            parameter.data = parameter.data.to(device).float()
            parameter.requires_grad_(True)

    def caption(self, text):
        """What is trained on in place of the data set's caption."""
        return text

    def hidden(self, captions):
        """Hidden states (B, tokens, width) with gradients. Called only where `trains_text`."""
        return encode_captions(self.pipe, captions)

    def predict(self, noisy_latents, timesteps, hidden_states, conditions=None):
        """What the model says about noisy latents, (B, C, h, w): the noise in them, or the velocity.

        timesteps: (B,). hidden_states: of the captions, (B, tokens, width). conditions: (B, 3, H, W) in 0..1, or None.
        """
        return self.pipe.unet(noisy_latents, timesteps, hidden_states).sample

    def after_step(self):
        """Called after every change of the parameters."""

    def sample(self, prompts, seed, data):
        """Pictures of the prompts, as PIL, to watch a training by. data: what it is trained on."""
        return sample(self.pipe, prompts, seed)

    def save(self, folder):
        """Write what the method has made into `folder`, in a form that plain diffusers opens."""
        raise NotImplementedError
