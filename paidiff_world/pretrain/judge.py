"""Stage 4: the judge, trained on the world's pictures only. It measures the model; it never trains it."""

import torch
from torch.nn import functional as F

from .. import judge as metrics
from ..judge import CLASSES, truth
from .vae import to_tensor


def take_over(judge):
    """The same judge with the shipped one's weights; of its heads, the rows of the classes that both know."""
    old = metrics.judge()
    for part in ("stem", "body"):
        getattr(judge, part).load_state_dict(getattr(old, part).state_dict())
    for head, names in old.classes.items():
        for row, name in enumerate(names):
            if name in judge.classes[head]:
                to = judge.classes[head].index(name)
                judge.heads[head].weight.data[to] = old.heads[head].weight[row]
                judge.heads[head].bias.data[to] = old.heads[head].bias[row]
    return judge


def labels(specs):
    """(N, heads) class indices, in the order of CLASSES."""
    return torch.tensor([[CLASSES[head].index(name) for head, name in truth(spec).items()] for spec in specs])


def objective(judge, pictures, targets, batch):
    device = next(judge.parameters()).device

    def loss(step, generator):
        which = torch.randint(len(pictures), (batch,), generator=generator)
        x = to_tensor(pictures[which.numpy()], device)
        # Generated pictures are a little soft and a little noisy; the judge must not mind.
        if torch.rand(1, generator=generator) < 0.3:
            x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
        x = x + torch.randn(x.shape, generator=generator).to(device) * 0.06 * torch.rand(1, generator=generator).item()
        out, wanted = judge(x), targets[which].to(device)
        losses = {head: F.cross_entropy(out[head].float(), wanted[:, i]) for i, head in enumerate(CLASSES)}
        right = {h: (out[h].argmax(1) == wanted[:, i]).float().mean() for i, h in enumerate(CLASSES)}
        return sum(losses.values()), right

    return loss


@torch.no_grad()
def settle(judge, pictures, batch, rounds=40):
    """Measure the batch norms again under the averaged weights, which never saw a batch themselves."""
    device = next(judge.parameters()).device
    for module in judge.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    judge.train()
    for i in range(min(rounds, len(pictures) // batch)):
        judge(to_tensor(pictures[i * batch : (i + 1) * batch], device))
    judge.eval()


@torch.no_grad()
def accuracy(judge, pictures, targets):
    """{head: share right} on pictures the judge has not seen."""
    device, seen = next(judge.parameters()).device, {head: [] for head in CLASSES}
    for i in range(0, len(pictures), 100):
        out = judge(to_tensor(pictures[i : i + 100], device))
        for head in CLASSES:
            seen[head].append(out[head].argmax(1).cpu())
    return {h: round((torch.cat(seen[h]) == targets[:, i]).float().mean().item(), 4) for i, h in enumerate(CLASSES)}
