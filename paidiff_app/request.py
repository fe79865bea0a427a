"""What is asked for: the one form in which the page, the playground, the service and the command put it."""

from dataclasses import dataclass, field, replace

from paidiff_lib.errors import PaidiffError
from paidiff_lib.generate import STEPS
from paidiff_lib.prompts import TAG, take_tags


@dataclass(frozen=True)
class GenerationRequest:
    """What to draw and how. None: what suits the model.

    prompt: with weights, and with <lora:name:scale> beside `lora`. task: "text2img", "img2img", "inpaint" or "controlnet".
    lora, embeddings: names in the engine's folder. size: (width, height). n: images, with seeds seed, seed + 1, ...
    strength: of img2img, inpaint and hires. hires: text2img draws at the model's own size first, see paidiff_lib.hires.
    control_scale: how strongly the edges steer. image, mask: PIL images that a task
    begins with, cut to the size drawn. mask_blur: how softly its edge runs out, in pixels drawn.
    """

    prompt: str = ""
    negative_prompt: str = ""
    task: str = "text2img"
    model: str | None = None
    lora: str | None = None
    lora_scale: float = 1.0
    embeddings: tuple = ()
    sampler: str | None = None
    seed: int = 0
    steps: int = STEPS
    guidance: float | None = None
    size: tuple | None = None
    hires: bool = False
    n: int = 1
    strength: float | None = None
    control_scale: float = 1.0
    mask_blur: float = 0.0
    image: object = field(default=None, repr=False)
    mask: object = field(default=None, repr=False)

    def settings(self):
        """What images must share to be drawn at once: all but texts, seed and what they begin with."""
        return replace(self, prompt="", negative_prompt="", seed=0, n=1, image=None, mask=None), self.loras()

    def words(self):
        """The prompt without LoRA tags."""
        return TAG.sub("", self.prompt)

    def loras(self):
        """{name: scale} of `lora` and of the prompt's tags; of one named twice, the sum. Raises PaidiffError."""
        named = ((self.lora, self.lora_scale),) if self.lora else ()
        found = {}
        for name, scale in (*named, *take_tags(self.prompt)[1]):
            found[name] = found.get(name, 0.0) + scale
        return found

    def check_tags(self):
        """Raise PaidiffError on tags that cannot be read, and on those in the negative prompt."""
        self.loras()
        if TAG.search(self.negative_prompt):
            raise PaidiffError("反向提示词里不能有 LoRA 标签", "no LoRA tags in the negative prompt")
