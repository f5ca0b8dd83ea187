"""Two heads on frozen encoders, trained by contrast: a small CLIP, and words for the photographs.

Taught in :ref:`cross-modal-transfer` (section 8.1.1).
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mapping_lib._checks import require_features, require_labels, require_number
from mapping_lib.crossmodal import clip_loss

DESCRIPTIONS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "astronaut": ("an astronaut", "a woman in a space suit", "a portrait of a person"),
        "brick": ("a brick wall", "rows of bricks with mortar", "masonry of a house"),
        "camera": ("a photographer with a camera", "a man with a tripod", "a person on a lawn"),
        "cell": ("a cell under the microscope", "a single biological cell", "microscopy"),
        "cat": ("a cat", "the face of a cat", "a furry pet"),
        "clock": ("a clock", "the hands of a clock", "a dial that shows the time"),
        "coffee": ("a cup of coffee", "a mug and a spoon", "a hot drink on a table"),
        "coins": ("coins", "old metal money", "many round coins"),
        "grass": ("grass", "blades of a lawn", "green plants on the ground"),
        "gravel": ("gravel", "small stones", "pebbles on the ground"),
        "stars": ("stars and galaxies", "the night sky through a telescope", "outer space"),
        "tissue": ("stained tissue under the microscope", "a histology slide", "human tissue"),
        "moon": ("the moon", "craters of the moon", "the surface of a moon"),
        "motorcycle": ("a motorcycle", "a motorbike in a garage", "a vehicle with two wheels"),
        "print": ("a printed page", "a page of a book", "paragraphs of text"),
        "retina": ("the retina of an eye", "a medical picture of an eye", "blood vessels"),
        "rocket": ("a rocket", "the launch of a rocket", "a spacecraft that takes off"),
        "text": ("handwritten text", "words on paper", "handwriting"),
        "china": ("a Chinese palace", "a temple with a roof of tiles", "a building in China"),
        "flower": ("a flower", "the petals of a blossom", "a plant in bloom"),
    }
)
"""Three descriptions of each of the twenty photographs, written for this book."""


class Towers(nn.Module):
    """Two linear heads into one space, for features of images and embeddings of texts.

    Both are centred, and scaled to one unit of root mean square, by what the rows given here have.

    Parameters
    ----------
    images, texts
        Rows to centre by, ``(n, d_images)`` and ``(m, d_texts)``: training rows.
    width
        Of the common space.
    temperature
        Where the learned temperature starts; with `learned` false it stays there.
    learned
        Whether the temperature is learned.
    centre
        Whether the mean is taken off; if not, rows are scaled only.
    seed
        Draws the heads.

    Examples
    --------
    >>> towers = Towers(torch.randn(5, 8), torch.randn(4, 6), width=3, seed=0)
    >>> towers.of_images(torch.randn(2, 8)).shape, towers.of_texts(torch.randn(7, 6)).shape
    (torch.Size([2, 3]), torch.Size([7, 3]))
    """

    image_mean: Tensor
    text_mean: Tensor

    def __init__(
        self,
        images: Tensor,
        texts: Tensor,
        *,
        width: int = 256,
        temperature: float = 0.07,
        learned: bool = True,
        centre: bool = True,
        seed: int,
    ) -> None:
        super().__init__()
        require_features(least=2, images=images)
        require_features(least=2, texts=texts)
        generator = torch.Generator().manual_seed(seed)
        for name, rows in (("image", images), ("text", texts)):
            mean = rows.mean(0) if centre else rows.new_zeros(rows.shape[1])
            self.register_buffer(f"{name}_mean", mean)
            self.register_buffer(f"{name}_unit", (rows - mean).square().mean().sqrt())
            weight = torch.randn(width, rows.shape[1], generator=generator)
            setattr(self, f"{name}_head", nn.Parameter(weight / rows.shape[1] ** 0.5))
        self.log_scale = nn.Parameter(-torch.tensor(temperature).log(), requires_grad=learned)

    @property
    def temperature(self) -> Tensor:
        """τ, not less than CLIP's 0.01."""
        return (-self.log_scale).exp().clamp(min=0.01)

    def of_images(self, images: Tensor) -> Tensor:
        """Map features of images, unit rows ``(n, width)``."""
        return self._mapped("image", images)

    def of_texts(self, texts: Tensor) -> Tensor:
        """Map embeddings of texts, unit rows ``(m, width)``."""
        return self._mapped("text", texts)

    def _mapped(self, name: str, rows: Tensor) -> Tensor:
        mean, unit, head = (getattr(self, f"{name}_{part}") for part in ("mean", "unit", "head"))
        return normalize((rows - mean) / unit @ head.mT)


def learn(
    towers: Towers,
    images: Tensor,
    concepts: Tensor,
    prompts: Tensor,
    *,
    steps: int,
    batch_size: int,
    rate: float = 1e-3,
    decay: float = 0.1,
    dropout: float = 0.5,
    seed: int,
) -> list[float]:
    """Train both heads by contrast, and return the losses.

    Each step draws different concepts, and of each an image and a prompt. So no other text of a
    batch fits an image by having the same name; what is alike under two names counts as wrong.

    Parameters
    ----------
    images
        Features, ``(n, d_images)``.
    concepts
        What each shows, ``(n,)``, integers that index `prompts`; others don't take part.
    prompts
        Embeddings of the prompts of every concept, ``(K, prompts, d_texts)``.
    steps, rate, decay
        Of AdamW.
    batch_size
        Pairs a step, at least 2.
    dropout
        Share of the features that each row of a batch loses, as if they were the mean.
    seed
        Draws the batches.

    Raises
    ------
    ValueError
        More pairs a step than there are concepts with images, or fewer than two.
    """
    require_labels("concepts", concepts, len(images), len(prompts))
    require_number("steps", steps, least=1)
    require_number("dropout", dropout, below=1)
    present: Tensor = concepts.unique()  # type: ignore[no-untyped-call]
    if not 2 <= batch_size <= len(present):
        raise ValueError(
            f"batch_size must lie between 2 and {len(present)}, the number of concepts that have "
            f"images, got {batch_size}"
        )
    rows = [(concepts == k).nonzero().flatten() for k in present]
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(towers.parameters(), lr=rate, weight_decay=decay)
    losses = []
    for _ in range(steps):
        drawn = torch.randperm(len(present), generator=generator)[:batch_size]
        luck = torch.rand(2, batch_size, generator=generator)
        chosen = torch.stack(
            [rows[k][int(u * len(rows[k]))] for k, u in zip(drawn, luck[0], strict=True)]
        )
        which = (luck[1] * prompts.shape[1]).long()
        seen = images[chosen], prompts[present[drawn], which]
        kept = [
            mean + (rows - mean) * (torch.rand(rows.shape, generator=generator) >= dropout)
            for rows, mean in zip(seen, (towers.image_mean, towers.text_mean), strict=True)
        ]
        loss = clip_loss(
            towers.of_images(kept[0]), towers.of_texts(kept[1]), temperature=towers.temperature
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return losses
