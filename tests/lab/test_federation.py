"""Clients of handwritten digits, and rounds over them."""

import pytest
import torch
from torch import nn

from mapping_lib.lab.federation import (
    SIZES,
    client_batches,
    network,
    rendered,
    rendered_clients,
    rounds_to,
    traffic,
    train,
    uneven_clients,
)


def states(found):
    return torch.cat([part.flatten(1) for part in found.state.values()], 1)


def test_clients_share_no_row_and_hold_out_a_fifth():
    clients = uneven_clients(0.1, seed=0)
    assert len(clients) == 20
    assert [len(y) for _, y in clients.held] == [size // 5 for size in SIZES]
    assert clients.rows.tolist() == [size - size // 5 for size in SIZES]
    assert clients.rows.sum() + sum(len(y) for _, y in clients.held) + 517 == 1797
    images = torch.cat([x.flatten(1) for part in (clients.train, clients.held) for x, _ in part])
    images = torch.cat([images, clients.test[0][0].flatten(1)])
    assert len(images.unique(dim=0)) == 1797  # no two handwritten digits are equal
    assert torch.allclose(clients.shares().sum(1), torch.ones(20))
    even = uneven_clients(100.0, seed=0).shares()
    assert clients.shares().max(1).values.mean() > even.max(1).values.mean() + 0.3


def test_clients_see_in_their_own_ways():
    ramp = torch.linspace(0, 1, 4).view(1, 1, 2, 2)
    assert torch.equal(rendered(ramp, 0), ramp)
    assert torch.allclose(rendered(ramp, 2), 0.5 + 0.15 * ramp)
    assert torch.allclose(rendered(ramp, 7), 0.5 + 0.2 * ramp)  # stronger five clients on
    assert torch.allclose(rendered(ramp, 3), 1 - ramp)
    assert torch.allclose(rendered(ramp, 4), 0.5 - 0.15 * ramp)
    assert rendered(ramp, 16).std() < ramp.std()
    seen = rendered_clients(seed=0, clients=4).test[0]
    assert torch.allclose(seen[3], 1 - seen[0])


def test_batches_are_the_clients_own_and_differ_by_round_and_client():
    x, y = torch.arange(9.0), torch.arange(9)
    places = [
        client_batches(x, y, seed=0, round=r, client=k, steps=3, size=4) for r, k in ((0, 0),) * 2
    ]
    assert torch.equal(places[0][1], places[1][1])
    assert torch.equal(places[0][0].long(), places[0][1])
    assert places[0][1].shape == (3, 4)
    for r, k in ((1, 0), (0, 1)):
        other = client_batches(x, y, seed=0, round=r, client=k, steps=3, size=4)[1]
        assert not torch.equal(other, places[0][1])


def test_after_averaging_all_clients_are_alike_unless_they_train_alone():
    clients = uneven_clients(0.5, seed=0, clients=3)
    options = {"rounds": 2, "rate": 0.1, "seed": 0, "steps": 3}
    for method in ("FedAvg", "FedProx", "SCAFFOLD"):
        found = train(method, clients, network(seed=0), **options)
        assert len(found.curve) == 2
        assert torch.equal(states(found)[0], states(found)[2])
    alone = states(train("local only", clients, network(seed=0), **options))
    assert not torch.equal(alone[0], alone[2])
    one = states(train("FedAvg", clients, network(seed=0), **options))
    prox = states(train("FedProx", clients, network(seed=0), **options))
    assert torch.equal(one, prox)  # without strength


def test_fedbn_averages_all_but_batch_norm():
    clients = rendered_clients(seed=0, clients=3)
    model = network(seed=0, norm=True)
    found = train("FedBN", clients, model, rounds=1, rate=0.1, seed=0, steps=3)
    for name, part in found.state.items():
        assert torch.equal(part[0], part[1]) == (not name.startswith(("2.", "5."))), name
    with pytest.raises(ValueError, match="no batch norm"):
        train("FedBN", clients, network(seed=0), rounds=1, rate=0.1, seed=0)


def test_central_batches_are_as_large_as_all_clients_together(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "mapping_lib.lab.federation.client_batches",
        lambda *own, **options: sizes.append(options["size"]) or client_batches(*own, **options),
    )
    clients = uneven_clients(0.5, seed=0, clients=3)
    train("central", clients, network(seed=0), rounds=1, rate=0.1, seed=0, batch_size=4)
    assert sizes == [12]


def test_rounds_and_bytes():
    assert rounds_to([0.1, 0.5], 0.5) == 2
    assert rounds_to([0.1, 0.5], 0.6) is None
    plain, norm = network(seed=0), network(seed=0, norm=True)
    numbers = 2 * (64 * 64 + 64) + 64 * 10 + 10
    assert traffic(plain, "FedProx") == 8 * numbers
    assert traffic(plain, "SCAFFOLD") == 16 * numbers
    assert traffic(norm, "FedAvg") == 8 * (numbers + 512)
    assert traffic(norm, "FedBN") == 8 * numbers
    assert traffic(nn.Linear(1, 1), "central") == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "fedavg"}, "unknown method 'fedavg'.*FedAvg"),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"rate": -1}, "rate must lie"),
    ],
)
def test_bad_rounds(options, words):
    due = {"method": "FedAvg", "rounds": 1, "rate": 0.1, "seed": 0, **options}
    clients = uneven_clients(0.5, seed=0, clients=2)
    with pytest.raises(ValueError, match=words):
        train(due.pop("method"), clients, network(seed=0), **due)


@pytest.mark.parametrize("clients", [0, -1, 21])
def test_as_many_clients_as_there_are_rows_for(clients):
    with pytest.raises(ValueError, match="clients must be at"):
        uneven_clients(0.5, seed=0, clients=clients)
