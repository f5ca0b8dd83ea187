import matplotlib.pyplot as plt
import pytest
import torch

from mapping_lib.lab.data.types import Clips
from mapping_lib.lab.plots.speakers import (
    draw_det,
    draw_points,
    draw_voices,
    prepare_det,
    voice_scores,
)
from mapping_lib.lab.speakers import (
    SpeakerEncoder,
    Trials,
    Voices,
    embed,
    interval_over_speakers,
    microphones,
    normalise_scores,
    statistics,
    train_speakers,
    trials_of,
    voices_of,
)


def tones(count=4, frames=30):
    """Return clips of three speakers whose bands differ, and words that move in time."""
    generator = torch.Generator().manual_seed(0)
    features, speakers, words = [], [], []
    for who in range(3):
        for k in range(count):
            clip = 0.3 * torch.randn(frames + k, 40, generator=generator)
            clip[:, 10 * who : 10 * who + 10] += 1.5
            features.append(clip)
            speakers.append("abc"[who])
            words.append(("one", "two")[k % 2])
    return Voices(tuple(features), tuple(speakers), tuple(words))


VOICES = tones()


def test_features_with_names_and_words():
    waves = tuple(torch.sin(torch.arange(n) / 5) / 2 for n in (900, 1000))
    clips = Clips(
        waves,
        8000,
        torch.tensor([1, 0]),
        ("one", "two"),
        torch.tensor([0, 1]),
        ("x", "y"),
        entry="synthetic-speech",
        split="all",
    )
    voices = voices_of(clips, clips)
    assert voices.speakers == ("x", "y", "x", "y")
    assert voices.words == ("two", "one", "two", "one")
    assert voices.features[0].shape == (12, 40)
    assert len(voices.of(["y"])) == 2
    assert voices.at([3, 0]).words == ("one", "two")


def test_a_microphone_keeps_the_mean_and_has_the_wanted_strength():
    curves = microphones(2000, decibels=6.0, generator=torch.Generator().manual_seed(0))
    assert curves.shape == (2000, 40)
    assert torch.allclose(curves.mean(1), torch.zeros(2000), atol=1e-5)
    decibels = curves * 3 * 10 / torch.log(torch.tensor(10.0))
    assert abs(float(decibels.std()) - 6) < 0.3


def test_embeddings_have_length_one_and_do_not_depend_on_the_batch():
    model = SpeakerEncoder().eval()
    together, alone = embed(model, VOICES), embed(model, VOICES, batch_size=1)
    assert torch.allclose(together.norm(dim=1), torch.ones(12), atol=1e-5)
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("loss", ["ge2e", "softmax"])
def test_training_tells_speakers_apart(loss):
    model = train_speakers(VOICES, loss=loss, steps=15, rate=3e-3, speakers=3, utterances=3)
    assert not model.training
    assert trials_of(embed(model, VOICES), VOICES).error() < 0.1


def test_training_repeats_itself_and_goes_on_from_a_start():
    settings = {"steps": 2, "seed": 3, "decibels": 6.0}
    one, two = (embed(train_speakers(VOICES, **settings), VOICES) for _ in range(2))
    assert torch.equal(one, two)
    start = SpeakerEncoder()
    assert train_speakers(VOICES, steps=1, start=start) is start


@pytest.mark.parametrize(
    ("voices", "settings", "words"),
    [
        (VOICES, {"loss": "triplet"}, "loss must be ge2e or softmax"),
        (VOICES.of(["a"]), {}, "two speakers at least"),
        (VOICES.at([0, 4, 5]), {}, "two clips of each speaker"),
    ],
)
def test_what_cannot_be_trained_is_refused(voices, settings, words):
    with pytest.raises(ValueError, match=words):
        train_speakers(voices, steps=1, **settings)


def test_every_pair_once_by_hand():
    voices = Voices(tuple(torch.zeros(3, 40) for _ in range(3)), ("a", "a", "b"), ("1", "2", "1"))
    embeddings = torch.tensor([[1.0, 0], [3, 4], [0, 2]])
    trials = trials_of(embeddings, voices)
    assert torch.allclose(trials.scores, torch.tensor([0.6, 0, 0.8]))
    assert trials.same_voice.tolist() == [True, False, False]
    assert trials.same_word.tolist() == [False, True, False]
    assert trials.speakers.tolist() == [[0, 0], [0, 1], [0, 1]]
    assert len(trials.words("any")) == 3
    assert trials.words("same").scores.tolist() == [0]
    assert len(trials.words("other")) == 2
    assert trials.words("crossed").same_voice.tolist() == [True, False]
    with pytest.raises(ValueError, match="words must be"):
        trials.words("all")


def test_means_and_deviations():
    assert torch.equal(statistics(VOICES)[1], VOICES.features[1].mean(0))
    assert torch.equal(statistics(VOICES, spread=True)[2], VOICES.features[2].std(0))
    assert trials_of(statistics(VOICES), VOICES).error() == 0


def test_normalised_scores_by_hand():
    voices = VOICES.at([0, 4])
    embeddings = torch.tensor([[1.0, 0], [0.6, 0.8]])
    cohort = torch.tensor([[1.0, 0], [0, 1]])
    trials = normalise_scores(trials_of(embeddings, voices), embeddings, cohort)
    first, second = torch.tensor([1.0, 0]), torch.tensor([0.6, 0.8])
    expected = sum((0.6 - s.mean()) / s.std() for s in (first, second)) / 2
    assert torch.allclose(trials.scores, expected.reshape(1))


def test_interval_holds_the_rate_and_widens_with_the_speakers_differences():
    generator = torch.Generator().manual_seed(1)
    trials = trials_of(torch.randn(12, 5, generator=generator), VOICES)
    low, high = interval_over_speakers(trials, draws=50)
    assert 0 <= low <= trials.error() <= high <= 1
    perfect = trials_of(statistics(VOICES), VOICES)
    assert interval_over_speakers(perfect, draws=20) == (0, 0)


def test_mean_score_of_each_pair_of_speakers():
    trials = Trials(
        torch.tensor([0.2, 0.4, 0.9, 0.8]),
        torch.tensor([False, False, True, True]),
        torch.ones(4, dtype=torch.bool),
        torch.tensor([[0, 1], [1, 0], [0, 0], [1, 1]]),
    )
    assert torch.allclose(voice_scores(trials), torch.tensor([[0.9, 0.3], [0.3, 0.8]]))


def test_figures():
    trials = trials_of(statistics(VOICES) + torch.randn(12, 40), VOICES)
    figure, axes = plt.subplots(1, 3)
    prepare_det(axes[0])
    draw_det(axes[0], trials, colour="blue", label="means")
    dots = axes[0].lines[-1]
    assert dots.get_xdata()[0] == dots.get_ydata()[0]
    rejects = axes[0].lines[1].get_ydata()
    assert (rejects[1:] >= rejects[:-1]).all()
    draw_points(axes[1], torch.randn(12, 2), list(range(12)), title="points", label="pitch")
    assert len(axes[1].collections[0].get_offsets()) == 12
    draw_voices(axes[2], voice_scores(trials), "abc")
    assert len(axes[2].texts) == 9
    plt.close(figure)
