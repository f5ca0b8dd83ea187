"""What the readers return: examples of one entry, one domain and one split, checked when made.

None of them prints its content, since not all of it may be published.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What all sets of examples have.

    Attributes
    ----------
    entry
        The registry's entry that the examples come from.
    split
        What they are for: "train", "validation", "test", or "all" where there is no split.
    domain
        The part of the entry that they come from; by default the entry's name.
    """

    entry: str
    split: str
    domain: str = ""

    def __post_init__(self) -> None:
        if not self.domain:
            object.__setattr__(self, "domain", self.entry)  # frozen, but not yet made

    def _described(self, of: str) -> str:
        return f"{type(self).__name__}({self.domain}, {self.split}: {of})"


@dataclass(frozen=True, repr=False)
class Images(Examples):
    """Labelled images of one size.

    Attributes
    ----------
    images
        Shape (n, channels, height, width), float, in [0, 1].
    labels
        Shape (n,), integers that index ``classes``.
    classes
        Name of each class.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        images = self.images
        if images.ndim != 4 or not images.is_floating_point() or len(images) == 0:
            raise ValueError(
                "images must be floats of shape (n, channels, height, width) with n at least 1, "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        if not (images.min() >= 0 and images.max() <= 1):  # false for NaN, too
            raise ValueError("images must lie in [0, 1] and hold no NaN; divide bytes by 255")
        check_labels(self.labels, len(images), self.classes)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        return self._described(f"{len(self)} of {shape}, {len(self.classes)} classes")


@dataclass(frozen=True, repr=False)
class Features(Examples):
    """Labelled rows of features that others computed.

    Attributes
    ----------
    features
        Shape (n, width), float.
    labels
        Shape (n,), integers that index ``classes``.
    classes
        Name of each class.
    names
        Name of each feature; none where they have no meaning of their own.
    """

    features: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_features(self.features, self.names)
        check_labels(self.labels, len(self.features), self.classes)

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        width, classes = self.features.shape[1], len(self.classes)
        return self._described(f"{len(self)} rows of {width}, {classes} classes")


@dataclass(frozen=True, repr=False)
class Measurements(Examples):
    """Rows of features, each with a number to predict from them.

    Attributes
    ----------
    features
        Shape (n, width), float.
    values
        Shape (n,), float.
    names
        Name of each feature.
    """

    features: Tensor
    values: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_features(self.features, self.names)
        values = self.values
        if values.shape != (len(self.features),) or values.dtype != self.features.dtype:
            raise ValueError(
                f"values must be {len(self.features)} numbers of {self.features.dtype}, one an "
                f"example, got {values.dtype} {tuple(values.shape)}"
            )
        if not values.isfinite().all():
            raise ValueError("values hold NaN or infinity: find out where they come from")

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        return self._described(f"{len(self)} rows of {self.features.shape[1]}, one number each")


@dataclass(frozen=True, repr=False)
class Texts(Examples):
    """Labelled texts.

    Attributes
    ----------
    texts
        One string an example.
    labels
        Shape (n,), integers that index ``classes``.
    classes
        Name of each class.
    """

    texts: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_strings(texts=self.texts)
        check_labels(self.labels, len(self.texts), self.classes)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return self._described(f"{len(self)} texts, {len(self.classes)} classes")


@dataclass(frozen=True, repr=False)
class TaggedSentences(Examples):
    """Sentences whose every token has a tag, in the BIO scheme.

    Attributes
    ----------
    sentences
        The tokens of each sentence.
    tags
        The tag of each token: "O", or "B-" or "I-" and a type.
    types
        The types of entities, such as ("LOC", "MISC", "ORG", "PER").
    """

    sentences: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    types: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sentences or len(self.sentences) != len(self.tags):
            raise ValueError(
                f"{len(self.sentences)} sentences and {len(self.tags)} rows of tags: "
                "at least one, and one row for each, are due"
            )
        known = {"O"} | {f"{mark}-{kind}" for mark in "BI" for kind in self.types}
        for number, (tokens, tags) in enumerate(zip(self.sentences, self.tags, strict=True)):
            if len(tokens) != len(tags) or not tokens:
                raise ValueError(
                    f"sentence {number} has {len(tokens)} tokens and {len(tags)} tags: "
                    "one tag for each token is due"
                )
            if unknown := set(tags) - known:
                raise ValueError(
                    f"sentence {number} has the tags {sorted(unknown)}, not in BIO "
                    f"with the types {', '.join(self.types)}"
                )

    def __len__(self) -> int:
        return len(self.sentences)

    def __repr__(self) -> str:
        tokens = sum(map(len, self.sentences))
        return self._described(f"{len(self)} sentences, {tokens} tokens, {len(self.types)} types")


@dataclass(frozen=True, repr=False)
class Translations(Examples):
    """Pairs of texts that mean the same in two languages.

    Attributes
    ----------
    sources, targets
        One string a pair each.
    languages
        The two languages, such as ("en", "de").
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    languages: tuple[str, str]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_strings(sources=self.sources, targets=self.targets)
        if len(self.sources) != len(self.targets):
            raise ValueError(
                f"{len(self.sources)} sources and {len(self.targets)} targets: "
                "one target for each source is due"
            )

    def __len__(self) -> int:
        return len(self.sources)

    def __repr__(self) -> str:
        return self._described(f"{len(self)} pairs, {'→'.join(self.languages)}")


@dataclass(frozen=True, repr=False)
class Clips(Examples):
    """Labelled recordings of one voice each.

    Attributes
    ----------
    waves
        One tensor a clip, shape (samples,), float, in [-1, 1].
    rate
        Samples a second.
    labels
        Shape (n,), integers that index ``classes``.
    classes
        Name of each class.
    speakers
        Shape (n,), integers that index ``voices``.
    voices
        Name of each speaker.
    """

    waves: tuple[Tensor, ...]
    rate: int
    labels: Tensor
    classes: tuple[str, ...]
    speakers: Tensor
    voices: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.waves:
            raise ValueError("there are no clips: at least one is due")
        for number, wave in enumerate(self.waves):
            if wave.ndim != 1 or not wave.is_floating_point() or len(wave) == 0:
                raise ValueError(
                    f"clip {number} must be floats of shape (samples,), "
                    f"got {wave.dtype} {tuple(wave.shape)}"
                )
            if not (wave.abs().max() <= 1):  # false for NaN, too
                raise ValueError(f"clip {number} must lie in [-1, 1] and hold no NaN")
        check_labels(self.labels, len(self.waves), self.classes)
        check_labels(self.speakers, len(self.waves), self.voices, "speakers")

    def __len__(self) -> int:
        return len(self.waves)

    def __repr__(self) -> str:
        seconds = sum(map(len, self.waves)) / self.rate
        return self._described(
            f"{len(self)} clips, {seconds:.0f} s at {self.rate} Hz, {len(self.classes)} classes, "
            f"{len(self.voices)} voices"
        )


@dataclass(frozen=True, repr=False)
class Scenes(Examples):
    """Images of any size with boxes around their objects, and for some a mask.

    Attributes
    ----------
    images
        One tensor an image, shape (3, height, width), float, in [0, 1].
    boxes
        One tensor an image, shape (objects, 4): left, top, right, bottom in pixels.
    labels
        One tensor an image, shape (objects,), integers that index ``classes``.
    classes
        Name of each class of objects.
    masks
        One tensor an image, shape (height, width), integers that are keys of ``regions``; None for
        an image without a mask.
    regions
        Names of what a mask's numbers mean.
    """

    images: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    classes: tuple[str, ...]
    masks: tuple[Tensor | None, ...]
    regions: dict[int, str]

    def __post_init__(self) -> None:
        super().__post_init__()
        n = len(self.images)
        if n == 0 or {len(self.boxes), len(self.labels), len(self.masks)} != {n}:
            raise ValueError(
                f"{n} images, {len(self.boxes)} sets of boxes, {len(self.labels)} of labels and "
                f"{len(self.masks)} masks: at least one image, and one of each for it, are due"
            )
        for number in range(n):
            try:
                self._check(number)
            except ValueError as error:
                raise ValueError(f"scene {number}: {error}") from None

    def _check(self, number: int) -> None:
        """Check one image with its boxes, labels and mask."""
        image, boxes, mask = self.images[number], self.boxes[number], self.masks[number]
        if image.ndim != 3 or len(image) != 3 or not (image.min() >= 0 and image.max() <= 1):
            raise ValueError(f"an image (3, h, w) in [0, 1] is due, got {tuple(image.shape)}")
        height, width = image.shape[1:]
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes (objects, 4) are due, got {tuple(boxes.shape)}")
        if len(boxes):
            left, top, right, bottom = boxes.unbind(1)
            if not ((left < right) & (top < bottom)).all():
                raise ValueError("a box has no area; left, top, right, bottom are due, in pixels")
            if boxes.min() < 0 or right.max() > width or bottom.max() > height:
                raise ValueError(f"a box reaches beyond the image of {width} × {height} pixels")
            check_labels(self.labels[number], len(boxes), self.classes)
        if mask is not None and mask.shape != image.shape[1:]:
            raise ValueError(f"the mask is {tuple(mask.shape)}, the image {height, width}")
        if mask is not None and (unknown := set(torch.unique(mask).tolist()) - set(self.regions)):
            raise ValueError(f"the mask has the numbers {sorted(unknown)}, which have no name")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        objects, masks = sum(map(len, self.boxes)), sum(m is not None for m in self.masks)
        return self._described(
            f"{len(self)} images, {objects} objects, {len(self.classes)} classes, {masks} masks"
        )


def check_labels(labels: Tensor, n: int, classes: Sequence[str], name: str = "labels") -> None:
    """Require n whole numbers that index the classes."""
    if labels.shape != (n,) or labels.dtype != torch.int64:
        raise ValueError(
            f"{name} must be {n} int64 numbers, one an example, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(
            f"{name} must lie in 0 … {len(classes) - 1} (there are {len(classes)} "
            f"classes), got {int(labels.min())} … {int(labels.max())}"
        )


def _check_features(features: Tensor, names: tuple[str, ...]) -> None:
    """Require finite rows, and a name for each column or none."""
    if features.ndim != 2 or not features.is_floating_point() or len(features) == 0:
        raise ValueError(
            "features must be floats of shape (n, width) with n at least 1, "
            f"got {features.dtype} {tuple(features.shape)}"
        )
    if not features.isfinite().all():
        raise ValueError("features hold NaN or infinity: find out where they come from")
    if names and len(names) != features.shape[1]:
        raise ValueError(
            f"{len(names)} names for {features.shape[1]} features: one for each is due"
        )


def _check_strings(**columns: tuple[str, ...]) -> None:
    """Require columns of texts, none of them empty."""
    for name, column in columns.items():
        if not column:
            raise ValueError(f"{name} is empty: at least one text is due")
        for number, text in enumerate(column):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name}[{number}] must be a text that isn't blank, got {text!r}")
