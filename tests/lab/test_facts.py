import pytest
import torch

from mapping_lib.lab.facts import REGIONS, SHARED, imagenet_names, territory_relations


def test_territories_share_what_they_do():
    africa = territory_relations("Africa")
    place = {name: number for number, name in enumerate(africa.territories)}
    row = {tuple(pair): number for number, pair in enumerate(africa.pairs.tolist())}

    def facts(a, b):
        number = row[tuple(sorted((place[a], place[b])))]
        return africa.shared[number].tolist(), bool(africa.same_currency[number])

    assert facts("Senegal", "Mali") == ([1.0, 1.0, 0.0], True)  # French, the CFA franc
    assert facts("Kenya", "Tanzania") == ([1.0, 1.0, 0.0], False)
    assert facts("Egypt", "Angola") == ([0.0, 0.0, 0.0], False)


@pytest.mark.parametrize("region", REGIONS)
def test_each_pair_stands_once(region):
    found = territory_relations(region)
    n = len(found.territories)
    assert n > 40
    assert found.pairs.shape == (n * (n - 1) // 2, 2)
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    assert len({tuple(pair) for pair in found.pairs.tolist()}) == len(found.pairs)
    assert found.shared.shape == (len(found.pairs), len(SHARED))
    assert 0 < found.same_currency.sum() < len(found.pairs)


def test_no_territory_is_in_two_regions():
    names = [name for region in REGIONS for name in territory_relations(region).territories]
    assert len(names) == len(set(names))


def test_pairs_among_some():
    europe = territory_relations("Europe")
    chosen = torch.tensor([4, 1, 7])
    assert europe.pairs[europe.among(chosen)].tolist() == [[1, 4], [1, 7], [4, 7]]
    assert not europe.among(torch.tensor([3])).any()


def test_unknown_region():
    with pytest.raises(ValueError, match="Africa"):
        territory_relations("Afrika")


def test_names_of_classes():
    names = imagenet_names()
    assert len(names) == 1000
    assert [names[k] for k in (285, 698, 967)] == ["Egyptian cat", "palace", "espresso"]
    assert names.count("crane") == 2
    assert len(set(names)) == 999
