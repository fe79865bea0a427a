"""A method as one torch module: what accelerate wraps, so that DDP and FSDP see all that is trained, and every pass."""

import torch


class Trained(torch.nn.Module):
    """The parts of a method that gradients go through, and its parameters that lie in none of them."""

    def __init__(self, method):
        super().__init__()
        self.method = method
        for name, part in method.parts().items():
            self.add_module(name, part)
        inside = set(self.parameters())
        for name, parameter in method.parameters().items():
            if parameter not in inside:
                self.register_parameter(name, parameter)

    def forward(self, noisy_latents, timesteps, text, conditions=None):
        """What the method predicts, (B, C, h, w). text: captions, where they are encoded with gradients; else their hidden
        states (B, tokens, width).
        """
        if self.method.trains_text:
            text = self.method.hidden(text).to(noisy_latents.dtype)
        return self.method.predict(noisy_latents, timesteps, text, conditions)
