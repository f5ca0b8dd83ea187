"""Every method of the book in one table: what is mapped, how, and what the target has to give."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Mapped = Literal["features", "parameters", "instances"]
Gives = Literal["nothing", "inputs", "pairs", "labels"]

MAPPED: tuple[Mapped, ...] = ("features", "parameters", "instances")
"""What can be mapped, in the order of the book's chapters."""

GIVES: tuple[Gives, ...] = ("nothing", "inputs", "pairs", "labels")
"""What the target has to give. Pairs are inputs that the source has seen, too."""


class Method(NamedTuple):
    """One way of transferring knowledge.

    Attributes
    ----------
    name
        As the book calls it.
    mapped
        What the mapping is applied to: features, parameters or instances.
    how
        The mapping, in a few words.
    gives
        What the target has to give for it.
    number, label
        The section that teaches it.
    function
        Its function in the library, ``module.name``; empty where it has none.
    """

    name: str
    mapped: Mapped
    how: str
    gives: Gives
    number: str
    label: str
    function: str = ""


def _of(
    mapped: Mapped, number: str, label: str, rows: Iterable[tuple[str, str, Gives, str]]
) -> list[Method]:
    """Make the methods that one section teaches."""
    return [
        Method(name, mapped, how, gives, number, label, function)
        for name, how, gives, function in rows
    ]


METHODS: tuple[Method, ...] = (
    *_of("features", "3.1.1", "extractor-transfer", [
        ("feature extraction", "keep the first layers, learn a new head", "labels",
         "features.extract"),
    ]),
    *_of("features", "3.1.2", "feature-alignment", [
        ("CORAL map", "linear, equal covariances", "inputs", "features.coral_map"),
        ("subspace alignment", "principal directions onto principal directions", "inputs",
         "features.subspace_alignment"),
        ("TCA", "components in which the domains agree", "inputs", "features.tca"),
        ("JDA", "the same, class by class", "inputs", "features.joint_distribution_adaptation"),
        ("transport map", "each row to where its mass goes", "inputs", "features.transport_map"),
        ("Procrustes", "rotation and shift onto partners", "pairs", "features.procrustes"),
        ("canonical correlation", "both views to where they correlate", "pairs",
         "features.canonical_correlation"),
    ]),
    *_of("features", "3.1.3", "feature-selection-and-fusion", [
        ("selection and fusion", "keep what is shared, join views", "labels",
         "features.select_features"),
    ]),
    *_of("features", "4.3.1", "domain-adaptation", [
        ("Deep CORAL, MMD", "learned, so that the domains' features agree", "inputs",
         "distances.coral"),
        ("adversarial adaptation", "learned, so that no classifier tells the domains apart",
         "inputs", "adaptation.domain_adversarial_loss"),
        ("classifier discrepancy", "learned, so that two heads agree", "inputs",
         "adaptation.classifier_discrepancy"),
        ("information maximisation", "learned, so that predictions are sure and varied",
         "inputs", "adaptation.information_maximisation"),
        ("DeepJDOT", "learned, along a transport plan", "inputs", "adaptation.deep_jdot"),
    ]),
    *_of("features", "4.3.3", "meta-learning", [
        ("prototypes", "learned, so that class means suffice", "labels",
         "meta.prototype_logits"),
    ]),
    *_of("features", "8.1.1", "cross-modal-transfer", [
        ("contrastive pairs", "image and text into one space", "pairs",
         "crossmodal.clip_loss"),
    ]),
    *_of("features", "8.3.2", "distillation", [
        ("distillation", "the student's outputs to the teacher's", "inputs",
         "distillation.kd_loss"),
        ("relational distillation", "the student's distances to the teacher's", "inputs",
         "distillation.relational_distance"),
    ]),
    *_of("parameters", "2.3.2", "mapping-parameter-spaces", [
        ("weight matching", "permute the units", "nothing", "merging.weight_matching"),
        ("interpolation and soup", "a point between networks", "nothing", "merging.soup"),
        ("task vectors", "add or subtract what fine-tuning changed", "nothing",
         "merging.add_task_vectors"),
    ]),
    *_of("parameters", "3.2.1", "parameter-initialisation", [
        ("copying what matches", "identity on the tensors that fit", "nothing",
         "initialisation.copy_matching"),
    ]),
    *_of("parameters", "3.2.2", "fine-tuning", [
        ("fine-tuning", "gradient descent from the source's", "labels", ""),
        ("gradual unfreezing", "the same, from the head downwards", "labels",
         "parameters.gradual_unfreezing"),
        ("layer-wise rates", "the same, slower the nearer to the input", "labels",
         "parameters.layerwise_rates"),
        ("L2-SP", "the same, held near the source", "labels", "parameters.l2_sp"),
        ("BitFit", "biases alone move", "labels", "parameters.bitfit"),
        ("LoRA", "add a matrix of low rank", "labels", "parameters.add_lora"),
        ("adapters", "insert small layers", "labels", "parameters.add_adapters"),
    ]),
    *_of("parameters", "3.2.3", "parameter-sharing", [
        ("hard and soft sharing", "equal, or pulled together", "labels",
         "parameters.soft_sharing"),
        ("AdaBN", "the target's own statistics", "inputs", "parameters.adabn"),
        ("Tent", "norm layers, by the entropy of predictions", "inputs", "parameters.tent"),
    ]),
    *_of("parameters", "4.3.2", "multi-task-learning", [
        ("multi-task learning", "one set for several tasks", "labels",
         "multitask.multitask_loss"),
    ]),
    *_of("parameters", "4.3.3", "meta-learning", [
        ("MAML", "a start from which a step suffices", "labels", "meta.maml_loss"),
    ]),
    *_of("parameters", "8.1.3", "lifelong-transfer", [
        ("EWC", "held near the old task where it matters", "labels",
         "continual.ewc_penalty"),
    ]),
    *_of("parameters", "8.3.3", "federated-transfer", [
        ("FedAvg", "average what clients trained", "labels",
         "federated.fedavg"),
    ]),
    *_of("instances", "3.3.1", "instance-weighting", [
        ("kernel mean matching", "weights that match the domains' means", "inputs",
         "instances.kernel_mean_matching"),
        ("KLIEP", "weights that make the target likely", "inputs", "instances.kliep"),
        ("classifier ratio", "weights from a classifier of the domain", "inputs",
         "instances.classifier_ratio"),
        ("TrAdaBoost", "weights that fall where the source misleads", "labels",
         "instances.tradaboost"),
    ]),
    *_of("instances", "3.3.2", "instance-selection", [
        ("confident selection", "keep what the model is sure of", "inputs",
         "instances.select_confident"),
        ("coreset", "keep rows that cover the rest", "inputs", "instances.k_center"),
        ("self-paced weights", "easy ones first", "labels", "instances.self_paced_weights"),
    ]),
    *_of("instances", "3.3.3", "instance-generation", [
        ("mixup, CutMix", "mix inputs and labels", "labels", "augmentation.mixup"),
        ("RandAugment", "random changes that keep the label", "labels",
         "augmentation.rand_augment"),
        ("Fourier mixing", "the source's content in the target's style", "inputs",
         "augmentation.fourier_mix"),
        ("pseudo-labels", "the model's own guesses as labels", "inputs",
         "augmentation.pseudo_labels"),
    ]),
    *_of("instances", "8.1.3", "lifelong-transfer", [
        ("replay", "keep rows of the old task", "labels",
         "continual.reservoir_slots"),
    ]),
)  # fmt: skip
"""The table, in the order of what is mapped and of the sections."""


@dataclass(frozen=True)
class Table:
    """Methods as a table that a notebook displays, each with a link to its section."""

    methods: Sequence[Method]

    def __repr__(self) -> str:
        return "\n".join(
            f"{method.mapped:11} {method.number:6} {method.name}: {method.how} "
            f"(target gives {method.gives})"
            for method in self.methods
        )

    def _repr_markdown_(self) -> str:
        lines = ["| mapped | method | how | the target gives | section |", "|---|---|---|---|---|"]
        lines += [
            f"| {m.mapped} | {m.name} | {m.how} | {m.gives} | {{ref}}`{m.number} <{m.label}>` |"
            for m in self.methods
        ]
        return "\n".join(lines)
