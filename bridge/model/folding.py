"""Normalisation folded into convolutions: a network without BatchNorm that computes the same.

The paper drops the normalisation layers of a pretrained network, which leaves convolutions that
were trained to be normalised. Folding keeps their effect: a convolution and the BatchNorm behind
it are together one convolution with a bias, so the pretrained features stay as they are and what
is trained has no normalisation left.
"""

from __future__ import annotations

import torch
from torch import nn

from bridge.common.errors import InputError

CALIBRATION_IMAGES = 8
CALIBRATION_SIZE = 64
"""Height and width of the images that set the scale of a network with random weights."""


def fold_norms(net: nn.Module, images: torch.Tensor) -> None:
    """Fold every BatchNorm of `net` into the convolution before it, in place.

    Args:
        net: a network in evaluation mode.
        images: float [B, 3, H, W], to see which layer feeds which; the values do not matter.

    Raises:
        InputError: a BatchNorm follows something else than a convolution of its own.
    """
    for norm_name, convolution in _pairs(net, images).items():
        norm = net.get_submodule(norm_name)
        assert isinstance(norm, nn.BatchNorm2d)
        _fold(convolution, norm)
        # timm's normalisation layers hold the activation that follows them.
        parent, _, name = norm_name.rpartition(".")
        setattr(net.get_submodule(parent), name, getattr(norm, "act", nn.Identity()))


def calibrate(net: nn.Module) -> None:
    """Set the statistics of all BatchNorms to those of noise with the spectrum of photos.

    Folded, they make an initialisation of a network with random weights under which signals keep
    their size from layer to layer without normalisation.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    training, momenta = net.training, [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None: the plain mean over the batches seen.
        norm.momentum = None
    with torch.no_grad():
        net.train()(photo_noise(CALIBRATION_IMAGES, CALIBRATION_SIZE))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.train(training)


def photo_noise(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Noise whose power falls with the square of the frequency: float [count, 3, size, size].

    Mean 0.45 and standard deviation 0.25, about those of photos in 0..1.
    """
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(count, 3, size, size, generator=generator)
    frequency = torch.fft.fftfreq(size)
    radius = (frequency[:, None].square() + frequency.square()).sqrt().clamp(min=1 / size)
    pink = torch.fft.ifft2(torch.fft.fft2(white) / radius).real
    pink = pink / pink.std(dim=(1, 2, 3), keepdim=True)
    return 0.45 + 0.25 * pink


def _pairs(net: nn.Module, images: torch.Tensor) -> dict[str, nn.Conv2d]:
    """The convolution whose output each BatchNorm takes, by the name of the BatchNorm."""
    made_by: dict[int, nn.Conv2d] = {}
    pairs: dict[str, nn.Conv2d] = {}
    alive: list[torch.Tensor] = []
    hooks = []

    def made(module: nn.Module, _: tuple[torch.Tensor], output: torch.Tensor) -> None:
        made_by[id(output)] = module
        # A tensor that is gone could pass its identity on to another.
        alive.append(output)

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(made))
        elif isinstance(module, nn.BatchNorm2d):

            def taken(_: nn.Module, inputs: tuple[torch.Tensor], name: str = name) -> None:
                if (convolution := made_by.get(id(inputs[0]))) is not None:
                    pairs[name] = convolution

            hooks.append(module.register_forward_pre_hook(taken))
    try:
        with torch.no_grad():
            net(images)
    finally:
        for hook in hooks:
            hook.remove()
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if len(pairs) != len(norms) or len(set(map(id, pairs.values()))) != len(norms):
        raise InputError(
            "The normalisation of this backbone cannot be folded into its convolutions: choose "
            "`norm` frozen, or another backbone."
        )
    return pairs


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give the convolution the weight and bias of both together."""
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = norm.bias - norm.running_mean * scale
        if convolution.bias is not None:
            bias = bias + convolution.bias * scale
        convolution.weight.mul_(scale[:, None, None, None])
        convolution.bias = nn.Parameter(bias)
