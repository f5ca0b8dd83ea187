"""Pretrained networks in one form: a body that maps images to features, a head that maps features
to logits. ``model = head ∘ body``.

Images go in as they come from :mod:`mapping_lib.lab.data`, in [0, 1]; the network normalises them
itself, so that nobody can forget to.
"""

from collections.abc import Callable
from typing import Any, Self

import timm
import torch
import torchvision
from torch import Tensor, nn
from tqdm import tqdm

from mapping_lib._checks import require_tensor
from mapping_lib.lab.machine import shows_progress
from mapping_lib.lab.registry import CorruptKnowledge, check_tier, locate


class Backbone(nn.Module):
    """A network as two mappings, ``head(body((x - mean) / std))``.

    Attributes
    ----------
    body
        Images to features, shape (n, width).
    head
        Features to logits, a linear layer.
    statistics_fixed
        Whether batch norm in the body keeps its stored statistics even in train mode. None until
        :func:`freeze` or :func:`unfreeze` is told.
    """

    head: nn.Linear
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        body: nn.Module,
        head: nn.Linear,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.name = name
        self.body = body
        self.head = head
        self.statistics_fixed: bool | None = None
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @property
    def width(self) -> int:
        """Number of features."""
        return self.head.in_features

    def features(self, images: Tensor) -> Tensor:
        """Map images (n, 3, height, width) in [0, 1] to features (n, width)."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"{self.name} maps images of shape (n, 3, height, width), "
                f"got {tuple(images.shape)}; repeat a grey channel three times"
            )
        pooled: Tensor = self.body((images - self.mean) / self.std)
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 3, height, width) in [0, 1] to logits (n, classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Set the mode as usual, but leave the body in eval mode while its statistics are fixed."""
        super().train(mode)
        if self.statistics_fixed:
            self.body.eval()
        return self


def efficientnet_lite0(*, pretrained: bool = True, classes: int | None = None) -> Backbone:
    """Return EfficientNet-Lite0 :cite:p:`tan2019efficientnet`, with ImageNet's 1,000 classes.

    Parameters
    ----------
    pretrained
        Load the bundled ImageNet weights, else draw random ones.
    classes
        Replace the head by a new one for so many classes; None keeps the head.

    Examples
    --------
    >>> model = efficientnet_lite0(classes=20)
    >>> model.width, model.head.out_features
    (1280, 20)
    """
    network: Any = timm.create_model("tf_efficientnet_lite0")
    if pretrained:
        path = locate("efficientnet-lite0")
        stored = list(_read(str(path)).values())
        wanted = network.state_dict()
        shapes = [tensor.shape for tensor in stored]
        if shapes != [tensor.shape for tensor in wanted.values()]:
            raise CorruptKnowledge(
                f"the {len(stored)} tensors of {path} don't have the shapes of timm's "
                f"{len(wanted)}: install the versions of requirements.txt"
            )
        network.load_state_dict(dict(zip(wanted, stored, strict=True)), strict=True)
    head = network.get_classifier()
    network.reset_classifier(0)
    model = Backbone("efficientnet-lite0", network, head, mean=(0.498,) * 3, std=(0.502,) * 3)
    return _ready(model, classes)


def resnet18(
    *, pretrained: bool = True, classes: int | None = None, download: bool = False
) -> Backbone:
    """Return ResNet-18 :cite:p:`he2016deep` from torchvision, with ImageNet's 1,000 classes.

    Parameters
    ----------
    pretrained
        Load the ImageNet weights from torch's cache, their hash checked first (torchvision
        trusts any file of that name), else draw random ones.
    classes
        Replace the head by a new one for so many classes; None keeps the head.
    download
        Fetch the weights (47 MB) if they aren't in the cache.
    """
    return _resnet(torchvision.models.resnet18, "resnet18", pretrained, classes, download)


def resnet50(
    *, pretrained: bool = True, classes: int | None = None, download: bool = False
) -> Backbone:
    """Return ResNet-50 :cite:p:`he2016deep` from torchvision, with ImageNet's 1,000 classes.

    Parameters
    ----------
    pretrained, classes
        As :func:`resnet18` takes them.
    download
        Fetch the weights (103 MB) if they aren't in the cache.
    """
    return _resnet(torchvision.models.resnet50, "resnet50", pretrained, classes, download)


def _resnet(
    build: Callable[..., Any], name: str, pretrained: bool, classes: int | None, download: bool
) -> Backbone:
    """Build a ResNet of torchvision, and cut it into body and head."""
    network = build(weights=None)
    if pretrained:
        network.load_state_dict(_read(str(locate(name, download=download))), strict=True)
    head = network.fc
    network.fc = nn.Identity()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return _ready(Backbone(name, network, head, mean=mean, std=std), classes)


def backbone(
    tier: str, *, pretrained: bool = True, classes: int | None = None, download: bool = False
) -> Backbone:
    """Return the backbone of a tier: ResNet-18 for ``"full"``, else EfficientNet-Lite0.

    Taught in :ref:`pytorch-fine-tuning` (section 5.2).

    Parameters
    ----------
    tier
        ``"bundled"``, ``"real"`` or ``"full"``.
    pretrained, classes, download
        As :func:`efficientnet_lite0` and :func:`resnet18` take them.

    Raises
    ------
    ValueError
        An unknown tier.
    MissingKnowledge, CorruptKnowledge, DownloadFailed
        The weights aren't there, aren't the right ones, or can't be fetched.
    """
    if check_tier(tier) == "full":
        return resnet18(pretrained=pretrained, classes=classes, download=download)
    return efficientnet_lite0(pretrained=pretrained, classes=classes)


class _Standardise(nn.Module):
    """Give each image mean 0 and standard deviation 1."""

    def forward(self, images: Tensor) -> Tensor:
        centred = images - images.mean((1, 2, 3), keepdim=True)
        return centred / (images.std((1, 2, 3), keepdim=True) + 1e-3)


def small_cnn(classes: int) -> Backbone:
    """Return a network with random weights that a few dozen images can train: the baseline.

    Four convolutions, 101,028 parameters for 20 classes. Each image is standardised first: without
    that, it learns much less from patches whose brightness and contrast vary.

    Parameters
    ----------
    classes
        Number of logits.
    """
    layers: list[nn.Module] = [_Standardise()]
    for narrow, wide, side, stride in (
        (3, 16, 5, 2),
        (16, 32, 3, 1),
        (32, 64, 3, 1),
        (64, 128, 3, 1),
    ):
        layers += [nn.Conv2d(narrow, wide, side, stride, side // 2, bias=False)]
        layers += [nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2)]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Linear(128, classes)
    return Backbone("small-cnn", body, head, mean=(0.0,) * 3, std=(1.0,) * 3).eval()


def _read(path: str) -> dict[str, Tensor]:
    """Read tensors and nothing else; code hidden in the file is refused, not run."""
    state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def _ready(model: Backbone, classes: int | None) -> Backbone:
    """Put on a new head if asked, and set eval mode."""
    if classes is not None:
        replace_head(model, classes)
    return model.eval()


def replace_head(model: Backbone, classes: int) -> Backbone:
    """Put a new, random linear head on a model, and return the model.

    Parameters
    ----------
    model
        The model to change.
    classes
        Number of logits of the new head, at least 1.

    Raises
    ------
    ValueError
        There is no class.
    """
    if classes < 1:
        raise ValueError(f"classes must be at least 1, got {classes}")
    model.head = nn.Linear(model.width, classes).to(model.head.weight)
    return model


def freeze(model: Backbone, *, statistics_fixed: bool = True) -> Backbone:
    """Freeze all parameters but the head's, and return the model.

    A parameter without gradient stays where it is, but batch norm's running mean and variance are
    no parameters: in train mode they move with every batch. So the body is kept in eval mode,
    also when :meth:`Backbone.train` is called.

    Parameters
    ----------
    model
        The model to freeze.
    statistics_fixed
        False leaves the statistics free: the mistake that section 5.2 measures.
    """
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    model.statistics_fixed = statistics_fixed
    return model.train(model.training)


def unfreeze(model: Backbone, *, statistics_fixed: bool = True) -> Backbone:
    """Let all parameters learn again, and return the model.

    Parameters
    ----------
    model
        The model to unfreeze.
    statistics_fixed
        Whether batch norm keeps the statistics of its old task; usual with small batches.
    """
    model.requires_grad_(True)
    model.statistics_fixed = statistics_fixed
    return model.train(model.training)


def parameter_groups(
    model: Backbone, *, head_rate: float, body_rate: float
) -> list[dict[str, Any]]:
    """Return what an optimiser takes to give head and body their own learning rates.

    Parameters
    ----------
    model
        Whose parameters are to be trained.
    head_rate, body_rate
        The learning rates of the two groups.
    """
    return [
        {"params": list(model.head.parameters()), "lr": head_rate},
        {"params": list(model.body.parameters()), "lr": body_rate},
    ]


def features(
    model: Backbone, images: Tensor, *, batch_size: int = 32, progress: bool | None = None
) -> Tensor:
    """Map images to frozen features, shape (n, width): eval mode, no gradients.

    The model is left in the mode it was in.

    Computed where the model is, returned where `images` are.

    Parameters
    ----------
    model
        Whose body maps.
    images
        Shape (n, 3, height, width), in [0, 1].
    batch_size
        Images at a time; doesn't change the result beyond rounding.
    progress
        Whether to show a bar; by default as :func:`mapping_lib.lab.training.fit` does.

    Raises
    ------
    TypeError
        The images aren't a tensor of real numbers.
    ValueError
        There are none, they hold NaN, they lie so far from [0, 1] that they are pixels from 0 to
        255 or normalised already, or a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    _require_images(images)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            batches = torch.split(images, batch_size)
            bar = tqdm(batches, desc="features", leave=False, disable=not shows_progress(progress))
            place = model.mean.device
            found = torch.cat([model.features(batch.to(place)) for batch in bar])
            return found.to(images.device)
    finally:
        model.train(was_training)


def _require_images(images: Tensor) -> None:
    """Require images as the backbones of this module take them; noise may leave [0, 1] a little."""
    require_tensor(images=images)
    if not images.is_floating_point():
        raise TypeError(f"images must be real numbers in [0, 1], got {images.dtype}: divide by 255")
    if len(images) == 0:
        raise ValueError("there are no images to map")
    if not torch.isfinite(images).all():
        raise ValueError("images hold NaN or infinity: find out where they come from")
    least, most = images.min().item(), images.max().item()
    if least < -1 or most > 2:
        raise ValueError(
            f"images must lie in [0, 1], got {least:.3g} to {most:.3g}: divide pixels from 0 to "
            "255 by 255, and don't normalise, for the backbone does"
        )
