"""Words, probes and the encoder read off: what the page on representations relies on."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab import attending, probing, words
from mapping_lib.lab.backbones import efficientnet_lite0
from mapping_lib.lab.language import minilm
from mapping_lib.lab.plots import panels
from mapping_lib.lab.plots.representations import channels, table_of_numbers
from mapping_lib.sequences import multi_head_attention

TEXT = "The keys of the old house were lost."


@pytest.fixture(scope="module")
def encoder():
    return minilm()


class TestReading:
    @pytest.mark.parametrize("text", [TEXT, "Transfer", "Ünïcode, naïve café!", "word " * 200])
    def test_gives_what_the_encoder_gives(self, encoder, text):
        found = attending.read(encoder, text)
        assert_close(found.embedding, encoder.sentences([text])[0], atol=1e-5, rtol=0)
        theirs = encoder.attentions(text)
        assert found.pieces == theirs.pieces
        assert_close(found.weights, theirs.weights, atol=1e-5, rtol=0)
        assert_close(found.inputs[-1], encoder.tokens([text])[0].embeddings, atol=1e-4, rtol=0)

    def test_attention_is_multi_head_attention(self, encoder):
        x = attending.read(encoder, TEXT).inputs[2]
        layers = attending.attention_layers(encoder, 2)
        found = multi_head_attention(x, x, layers, heads=attending.heads_of(encoder))
        block = encoder.network.encoder.layer[2].attention
        with torch.no_grad():
            expected = block(x[None])[0][0]
            assert_close(block.output.LayerNorm(x + found), expected, atol=1e-5, rtol=0)

    def test_a_change_reaches_its_layer_and_the_weights_shown(self, encoder):
        plain = attending.read(encoder, TEXT)

        def change(layer, weights):
            return torch.full_like(weights, 1 / weights.shape[-1]) if layer == 3 else weights

        changed = attending.read(encoder, TEXT, change=change)
        assert_close(changed.weights[:3], plain.weights[:3])
        assert_close(changed.weights[3], torch.full_like(plain.weights[3], 1 / 11))
        assert not torch.allclose(changed.embedding, plain.embedding, atol=1e-3)
        same = attending.read(encoder, TEXT, change=lambda layer, weights: weights)
        assert_close(same.embedding, plain.embedding)

    def test_too_long_a_text_is_refused(self, encoder):
        with pytest.raises(ValueError, match="more than 256"):
            attending.read(encoder, "word " * 300)

    def test_leaving_out_a_piece_is_reading_the_text_without_it(self, encoder):
        found = attending.leave_one_out(encoder, "old house keys")
        whole, *parts = encoder.sentences(
            ["old house keys", "house keys", "old keys", "old house"], progress=False
        )
        expected = torch.stack([1 - whole @ part for part in parts])
        assert_close(found, expected, atol=1e-5, rtol=0)

    def test_received_attention(self):
        weights = torch.tensor([[[[1.0, 0, 0, 0]] * 4, [[0, 0.5, 0.5, 0]] * 4]])
        found = attending.received(weights)
        assert_close(found["heads"], torch.tensor([[[0, 0], [0.5, 0.5]]]))
        assert_close(found["last layer"], torch.tensor([0.25, 0.25]))
        assert_close(found["all layers"], torch.tensor([0.25, 0.25]))
        assert_close(found["rollout"], torch.tensor([0.25, 0.25]))  # (0.25 + 1/4) / 2

    def test_rollout_goes_through_the_layers_in_their_order(self):
        first, second = torch.rand(2, 1, 4, 4).softmax(-1)
        half = [(layer[0] + torch.eye(4)) / 2 for layer in (first, second)]
        found = attending.received(torch.stack([first, second]))["rollout"]
        assert_close(found, (half[1] @ half[0]).mean(0)[1:-1])

    def test_samples_share_no_text(self, encoder):
        first, second = (attending.sample_texts(encoder, 50, seed=seed) for seed in (0, 1))
        assert len({*first, *second}) == 100
        assert all(8 <= len(encoder.pieces(text)) <= 24 for text in first)
        assert first == attending.sample_texts(encoder, 50, seed=0)
        with pytest.raises(ValueError, match="sample 9999 of 50 texts is not there"):
            attending.sample_texts(encoder, 50, seed=9999)


class TestWords:
    def test_lists_are_words_of_the_vocabulary_and_no_pair_comes_twice(self):
        known = attending.vocabulary()
        for pairs in words.RELATIONS.values():
            assert len({*pairs}) == len(pairs) >= 16
            assert all(word in known for pair in pairs for word in pair)
            assert len({a for a, _ in pairs}) == len(pairs)

    def test_candidates_hold_the_lists_once(self):
        found = words.candidates(10)
        assert len(found) == len({*found})
        assert {"king", "queen", "the"} <= {*found}
        with pytest.raises(ValueError, match="count must lie between 1 and"):
            words.whole_words(10**6)

    def test_answers_by_hand(self):
        plane = {"a": (1, 0), "b": (0.6, 0.8), "c": (0.8, -0.6), "d": (0.4, 0.2), "e": (0.9, -0.5)}
        vectors = torch.tensor(list(plane.values()))
        pairs = [("a", "b"), ("c", "d")]
        of = {rule: words.answers(pairs, list(plane), vectors, rule=rule) for rule in words.RULES}
        questions, found = of["offset"]
        assert questions == [("a", "b", "c", "d"), ("c", "d", "a", "b")]
        assert found[0] == "d"  # b - a + c = (0.4, 0.2)
        assert words.right(questions, found) in (0.5, 1)
        assert of["nearest"][1][0] == "e"
        assert of["offset, inputs allowed"][1][0] == "d"

    def test_an_input_wins_where_it_may(self):
        vectors = torch.eye(5) + 0.01
        pairs = [("a", "b"), ("c", "d")]
        names = ["a", "b", "c", "d", "e"]
        _, found = words.answers(pairs, names, vectors, rule="offset, inputs allowed")
        assert found[0] in "bc"
        _, found = words.answers(pairs, names, vectors, rule="offset")
        assert found[0] in "de"

    @pytest.mark.parametrize(
        ("pairs", "rule", "says"),
        [
            ([("a", "b"), ("b", "a")], "ofset", "did you mean 'offset'"),
            ([("a", "b")], "offset", "give at least two"),
            ([("a", "b"), ("a", "z")], "offset", "'z' is not among the words"),
        ],
    )
    def test_bad_questions_are_refused(self, pairs, rule, says):
        with pytest.raises(ValueError, match=says):
            words.answers(pairs, ["a", "b"], torch.eye(2), rule=rule)

    def test_neighbours(self):
        vectors = torch.tensor([[1.0, 0], [5, 1], [0, 1], [-1, 0]])
        names = ["a", "b", "c", "d"]
        assert words.neighbours("a", names, vectors, count=3) == ["b", "c", "d"]
        with pytest.raises(ValueError, match="'x' is not among the words"):
            words.neighbours("x", names, vectors)


class TestProbing:
    def test_crops_know_what_is_true_of_them(self):
        found = probing.crops(2, half="left", seed=1, size=32)
        assert found.images.shape == (40, 3, 32, 32)
        assert 0 <= found.images.min() <= found.images.max() <= 1
        image, of = found.images[7], {k: v[7].item() for k, v in found.properties.items()}
        assert of["brightness"] == pytest.approx(image.mean().item(), abs=1e-6)
        assert of["warmth"] == pytest.approx((image[0] - image[2]).mean().item(), abs=1e-6)
        assert of["picture"] == 3
        assert found.properties["direction"].abs().max() <= 1
        assert {*found.properties["turn"].tolist()} == {0, 1, 2, 3}

    def test_crops_are_those_of_their_seed_and_half(self):
        first = probing.crops(1, half="left", seed=1, size=16).images
        assert torch.equal(first, probing.crops(1, half="left", seed=1, size=16).images)
        for half, seed in (("right", 1), ("left", 2)):
            assert not torch.equal(first, probing.crops(1, half=half, seed=seed, size=16).images)

    @pytest.mark.parametrize(
        ("count", "half", "says"), [(0, "left", "at least 1"), (1, "top", "'left' or 'right'")]
    )
    def test_bad_crops_are_refused(self, count, half, says):
        with pytest.raises(ValueError, match=says):
            probing.crops(count, half=half, seed=0)

    def test_probe_of_numbers_and_of_classes(self):
        rows = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
        value = rows @ torch.tensor([1.0, -2, 0, 0, 3]) + 7
        assert probing.probe(rows[:200], value[:200], rows[200:], value[200:]) > 0.999
        sign = (value > 7).long()
        assert probing.probe(rows[:200], sign[:200], rows[200:], sign[200:]) > 0.9
        noise = torch.randn(300, generator=torch.Generator().manual_seed(1))
        assert probing.probe(rows[:200], noise[:200], rows[200:], noise[200:]) < 0.1
        with pytest.raises(ValueError, match="one label a row"):
            probing.probe(rows, value[:5], rows, value)

    def test_stages_and_maps_of_one_network_agree(self):
        model = efficientnet_lite0(pretrained=False)
        images = torch.rand(2, 3, 64, 64)
        found = probing.by_stage(model, images)
        assert list(found) == list(probing.STAGES)
        assert [len(v[0]) for v in found.values()] == [32, 16, 24, 40, 80, 112, 192, 320, 1280]
        maps = probing.maps_by_stage(model, images[:1], ["stem", "stage 3"])
        for name, each in maps.items():
            assert_close(each.mean((1, 2)), found[name][0], atol=1e-4, rtol=1e-4)
        with pytest.raises(ValueError, match="there is no map of 'head'"):
            probing.maps_by_stage(model, images[:1], ["head"])

    def test_coarse_pixels(self):
        images = torch.arange(16.0).view(1, 1, 4, 4).repeat(1, 3, 1, 1)
        expected = torch.tensor([2.5, 4.5, 10.5, 12.5]).repeat(3)[None]
        assert_close(probing.coarse_pixels(images, side=2), expected)


class TestPictures:
    def test_table_writes_its_numbers(self):
        _, (axis,) = panels()
        table_of_numbers(axis, torch.tensor([[1.0, 0.25], [0.0, 0.5]]), ["a", "b"])
        assert [text.get_text() for text in axis.texts] == ["1.00", ".25", ".00", ".50"]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
        with pytest.raises(ValueError, match="1 and 1 names"):
            table_of_numbers(axis, torch.eye(2), ["a"])
        plt.close("all")

    def test_channels_that_vary_most_are_drawn(self):
        generator = torch.Generator().manual_seed(0)
        maps = torch.rand(5, 3, 3, generator=generator) * torch.tensor([0, 1, 0, 2, 0.0]).view(
            -1, 1, 1
        )
        figure = channels(torch.rand(3, 8, 8), {"stem": maps}, count=2)
        drawn = [axis.get_images()[0].get_array() for axis in figure.axes[1:]]
        assert all(array.max() > 0 for array in drawn)
        assert math.isclose(drawn[0].max(), maps[3].max(), rel_tol=1e-6) or math.isclose(
            drawn[0].max(), maps[1].max(), rel_tol=1e-6
        )
        with pytest.raises(ValueError, match="4 channels or more"):
            channels(torch.rand(3, 8, 8), {"stem": maps[:3]})
        plt.close("all")
