import pytest
import torch
import torchvision
from torch import nn

from mapping_lib.lab import backbones, registry
from mapping_lib.lab.backbones import (
    backbone,
    efficientnet_lite0,
    features,
    freeze,
    parameter_groups,
    replace_head,
    resnet18,
    small_cnn,
    unfreeze,
)
from mapping_lib.lab.data import photograph
from mapping_lib.lab.registry import CorruptKnowledge, MissingKnowledge, find, locate


@pytest.fixture(scope="module")
def pretrained():
    return efficientnet_lite0()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return efficientnet_lite0(pretrained=False, classes=4)


@pytest.fixture
def images():
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def batch_norms(model):
    return [m for m in model.body.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def statistics(model):
    return torch.cat([m.running_mean for m in batch_norms(model)])


# weights


@pytest.mark.parametrize(("name", "label"), [("china", "palace"), ("flower", "daisy")])
def test_imagenet_knowledge(pretrained, name, label):
    with torch.no_grad():
        predicted = int(pretrained(photograph(name).images).argmax())
    assert predicted == {"palace": 698, "daisy": 985}[label]
    categories = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    assert categories[predicted] == label


def test_every_tensor_is_loaded_in_order(pretrained):
    stored = torch.load(locate("efficientnet-lite0"), weights_only=True)
    loaded = [*pretrained.body.state_dict().values(), *pretrained.head.state_dict().values()]
    assert len(loaded) == len(stored) == 296
    assert all(torch.equal(a, b) for a, b in zip(loaded, stored.values(), strict=True))


def test_normalisation(pretrained):
    grey = torch.full((1, 3, 32, 32), 0.498)
    with torch.no_grad():
        expected = pretrained.body(torch.zeros(1, 3, 32, 32))
        assert torch.allclose(pretrained.features(grey), expected, atol=1e-5)
        expected = pretrained.body(torch.ones(1, 3, 32, 32))
        assert torch.allclose(pretrained.features(grey + 0.502), expected, atol=1e-5)


def test_wrong_weights_are_refused(monkeypatch):
    monkeypatch.setattr(backbones, "_read", lambda path: {"a": torch.zeros(3)})
    with pytest.raises(
        CorruptKnowledge, match=r"the 1 tensors of .* don't have the shapes of timm"
    ):
        efficientnet_lite0()


def test_weights_are_read_without_running_code(monkeypatch):
    seen = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k) or load(*a, **k))
    efficientnet_lite0()
    assert [k["weights_only"] for k in seen] == [True]


def test_random_weights_have_the_shapes(model, images):
    assert model(images).shape == (6, 4)
    assert efficientnet_lite0(pretrained=False).head.out_features == 1000


# ResNet-18: its weights can't be had here, so random ones of the same shape stand in


def test_resnet18_is_torchvisions(images):
    torch.manual_seed(0)
    ours = resnet18(pretrained=False)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None).eval()
    transform = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    mean = torch.tensor(transform.mean).view(3, 1, 1)
    std = torch.tensor(transform.std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs((images - mean) / std), atol=1e-5)
    assert ours.width == 512
    assert resnet18(pretrained=False, classes=2)(images).shape == (6, 2)


def test_resnet18_without_its_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(registry.torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingKnowledge) as caught:
        backbone("full")
    text = str(caught.value)
    for words in (
        "resnet18-f37072fd.pth",
        str(tmp_path / "checkpoints"),
        "download=True",
        'Instead: EfficientNet-Lite0 (data="bundled")',
    ):
        assert words in text


def test_resnet18_loads_what_the_registry_verified(tmp_path, monkeypatch, images):
    torch.manual_seed(1)
    network = torchvision.models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "file.pth")
    asked = []

    def locate(name, *, download):
        asked.append((name, download))
        return tmp_path / "file.pth"

    monkeypatch.setattr(backbones, "locate", locate)
    loaded = resnet18(download=True)
    assert asked == [("resnet18", True)]
    assert torch.equal(loaded.head.weight, network.fc.weight)
    assert torch.equal(loaded.body.conv1.weight, network.conv1.weight)


# tiers


def test_backbone_of_a_tier():
    assert backbone("bundled", pretrained=False).name == "efficientnet-lite0"
    assert backbone("real", pretrained=False, classes=2).head.out_features == 2
    assert backbone("full", pretrained=False).name == "resnet18"
    with pytest.raises(ValueError, match=r"'bundle'; did you mean 'bundled'\?"):
        backbone("bundle")


# heads, freezing, rates


def test_replace_head(model):
    assert replace_head(model, 7) is model
    assert (model.head.in_features, model.head.out_features) == (1280, 7)
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        replace_head(model, 0)


@pytest.mark.parametrize("place", [torch.float64, "meta"])
def test_a_new_head_is_where_the_old_one_was(model, place):
    old = model.to(place).head.weight
    new = replace_head(model, 7).head.weight
    assert (new.dtype, new.device) == (old.dtype, old.device)


def test_freeze_leaves_the_head(model):
    freeze(model)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        "head.weight",
        "head.bias",
    ]
    unfreeze(model)
    assert all(p.requires_grad for p in model.parameters())


def step(model, images):
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 3, 0, 1]))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def test_a_frozen_body_does_not_move(model, images):
    freeze(model)
    before = {n: t.clone() for n, t in model.body.state_dict().items()}
    head = model.head.weight.detach().clone()
    step(model, images)
    assert model.training
    assert not any(m.training for m in batch_norms(model))
    assert all(torch.equal(before[n], t) for n, t in model.body.state_dict().items())
    assert not torch.equal(head, model.head.weight)


def test_the_mistake_moves_statistics_but_no_parameter(model, images):
    freeze(model, statistics_fixed=False)
    before, parameters = statistics(model), [p.clone() for p in model.body.parameters()]
    step(model, images)
    assert all(m.training for m in batch_norms(model))
    assert not torch.equal(before, statistics(model))
    assert all(torch.equal(a, b) for a, b in zip(parameters, model.body.parameters(), strict=True))


@pytest.mark.parametrize("fixed", [True, False])
def test_unfreeze_and_the_statistics(model, images, fixed):
    unfreeze(freeze(model), statistics_fixed=fixed)
    before, weight = statistics(model), model.body.conv_stem.weight.detach().clone()
    step(model, images)
    assert torch.equal(before, statistics(model)) == fixed
    assert not torch.equal(weight, model.body.conv_stem.weight)


def test_freezing_keeps_the_mode(model):
    assert not freeze(model).training
    model.train()
    assert freeze(model).head.training
    assert not model.body.training
    assert unfreeze(model, statistics_fixed=False).body.training


def test_parameter_groups(model):
    groups = parameter_groups(model, head_rate=0.1, body_rate=0.01)
    assert [g["lr"] for g in groups] == [0.1, 0.01]
    assert groups[0]["params"] == list(model.head.parameters())
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    torch.optim.SGD(groups, momentum=0.9)


# features


def test_features_are_what_the_head_gets(model, images):
    model.train()
    found = features(model, images, batch_size=4)
    assert found.shape == (6, 1280)
    assert not found.requires_grad
    assert model.training  # the mode is as it was
    model.eval()
    with torch.no_grad():
        assert torch.allclose(model.head(found), model(images), atol=1e-5)


def test_features_do_not_depend_on_the_batch(model, images):
    assert torch.allclose(features(model, images), features(model, images, batch_size=1), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_on_a_gpu(model, images):
    expected = features(model, images)
    found = features(model.to("cuda"), images)
    assert found.device == images.device
    assert torch.allclose(found, expected, atol=1e-3)


def test_features_show_a_bar_when_asked(model, images, capfd):
    features(model, images, progress=True)
    assert "features" in capfd.readouterr().err
    features(model, images)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.rand(2, 1, 32, 32), r"got \(2, 1, 32, 32\); repeat a grey channel three times"),
        (torch.rand(3, 32, 32), r"shape \(n, 3, height, width\), got \(3, 32, 32\)"),
        (torch.rand(0, 3, 32, 32), "there are no images to map"),
        (torch.full((1, 3, 32, 32), torch.nan), "images hold NaN or infinity"),
        (torch.full((1, 3, 32, 32), 255.0), r"got 255 to 255: divide pixels from 0 to 255 by 255"),
        (torch.full((1, 3, 32, 32), -2.1), r"got -2.1 to -2.1.*don't normalise"),
    ],
)
def test_bad_images(model, wrong, words):
    with pytest.raises(ValueError, match=words):
        features(model, wrong)


def test_images_that_are_no_real_numbers(model):
    with pytest.raises(TypeError, match=r"got torch\.uint8: divide by 255"):
        features(model, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"images must be a torch\.Tensor, got ndarray"):
        features(model, torch.zeros(1, 3, 32, 32).numpy())


def test_noisy_images_may_leave_the_interval_a_little(model, images):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert features(model, images + 0.15 * noise).isfinite().all()


def test_bad_batch_size(model, images):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        features(model, images, batch_size=0)


# the baseline


def test_small_cnn(images):
    model = small_cnn(20)
    assert sum(p.numel() for p in model.parameters()) == 101_028
    assert model(images).shape == (6, 20)
    brighter = images * 0.5 + 0.2  # contrast and brightness are taken out
    with torch.no_grad():
        assert torch.allclose(model(images), model(brighter), atol=0.02)


def test_the_entries_of_the_weights():
    assert find("efficientnet-lite0").size == 18_826_032
    assert find("resnet18").size == 46_830_571
    assert find("resnet50").size == 102_530_333
