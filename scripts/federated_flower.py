"""Run clients of section 8.3.3 as processes of their own under Flower, and compare the numbers.

    pip install "mapping_lib[lab,federated]"
    OMP_NUM_THREADS=1 python scripts/results_8_3_3.py flower

Flower (https://flower.ai) is no requirement of the book: it draws protobuf down to version 6. The
recipe starts a Flower server and a process for each client, which talk gRPC over this machine's
loopback address alone. A client takes the steps of mapping_lib.federated.client_update on its own
rows; the server's mean is Flower's own FedAvg. After the last round the parameters are compared
with those of lab.federation.train, which runs all clients in one process, and the difference is
written to book/results/federated_flower.json with the versions.
"""

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # nothing leaves this machine

import argparse
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import flwr
import numpy as np
import torch
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from torch.nn.functional import cross_entropy

from mapping_lib.federated import client_loss, client_update
from mapping_lib.lab.federation import (
    BATCH,
    STEPS,
    client_batches,
    network,
    traffic,
    train,
    uneven_clients,
)
from mapping_lib.lab.results import Method, Recorder, Row

CLIENTS, ROUNDS, CONCENTRATION, RATE, STRENGTH = 5, 5, 0.1, 0.3, 0.1
RESULTS = Path(__file__).resolve().parents[1] / "book" / "results" / "federated_flower.json"


def named(arrays: list[Any], seed: int) -> dict[str, torch.Tensor]:
    """Give arrays the names of the network's parameters."""
    names = [name for name, _ in network(seed=seed).named_parameters()]
    return {n: torch.from_numpy(a.copy()) for n, a in zip(names, arrays, strict=True)}


class Digits(flwr.client.NumPyClient):  # type: ignore[misc]
    """A client: its own rows, and the library's local steps."""

    def __init__(self, client: int, seed: int, proximal: float) -> None:
        self.client, self.seed, self.proximal = client, seed, proximal
        self.own = uneven_clients(CONCENTRATION, seed=seed, clients=CLIENTS).train[client]
        self.loss = client_loss(network(seed=seed), cross_entropy)

    def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[list[Any], int, Any]:
        """Take the local steps of one round."""
        batches = client_batches(
            *self.own,
            seed=self.seed,
            round=int(config["round"]),
            client=self.client,
            steps=STEPS,
            size=BATCH,
        )
        start = named(parameters, self.seed)
        end: Any = client_update(self.loss, start, batches, rate=RATE, proximal=self.proximal)
        return [part.numpy() for part in end.parameters.values()], len(self.own[1]), {}


class Kept(flwr.server.strategy.FedAvg):  # type: ignore[misc]
    """Flower's FedAvg, which keeps the last mean and counts what clients send."""

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        """Average, and look."""
        if failures:
            raise RuntimeError(f"clients failed: {failures}")
        self.sent = [sum(map(len, result.parameters.tensors)) for _, result in results]
        mean, metrics = super().aggregate_fit(server_round, results, failures)
        self.mean = parameters_to_ndarrays(mean)
        return mean, metrics


def serve(seed: int, proximal: float) -> Kept:
    """Run the server here and the clients as processes; return the strategy at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    model = network(seed=seed)
    strategy = Kept(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=CLIENTS,
        min_available_clients=CLIENTS,
        accept_failures=False,
        initial_parameters=ndarrays_to_parameters(
            [part.detach().numpy() for part in model.parameters()]
        ),
        on_fit_config_fn=lambda server_round: {"round": server_round - 1},
    )
    command = [sys.executable, __file__, "--address", address, "--seed", str(seed)]
    command += ["--proximal", str(proximal), "--client"]
    processes = [subprocess.Popen([*command, str(k)]) for k in range(CLIENTS)]
    try:
        flwr.server.start_server(
            server_address=address,
            strategy=strategy,
            config=flwr.server.ServerConfig(num_rounds=ROUNDS, round_timeout=300),
        )
        if codes := [code for p in processes if (code := p.wait(60))]:
            raise RuntimeError(f"clients ended with {codes}")
    finally:
        for process in processes:
            process.kill()
    return strategy


def row(key: Row) -> dict[str, float]:
    """Run one method in both ways."""
    method, seed = key["method"], key["seed"]
    proximal = STRENGTH if method == "FedProx" else 0.0
    start = time.perf_counter()
    strategy = serve(seed, proximal)
    waited = time.perf_counter() - start
    clients, model = uneven_clients(CONCENTRATION, seed=seed, clients=CLIENTS), network(seed=seed)
    found = train(method, clients, model, rounds=ROUNDS, rate=RATE, seed=seed, proximal=proximal)
    pairs = zip(strategy.mean, (part[0].numpy() for part in found.state.values()), strict=True)
    differences = [float(np.abs(a - b).max()) for a, b in pairs]
    return {
        "difference": max(differences),
        "largest": max(float(np.abs(a).max()) for a in strategy.mean),
        "accuracy": round(found.curve[-1], 4),
        "bytes": max(strategy.sent),
        "counted": traffic(model, method) // 2,
        "wall": round(waited, 1),
    }


def main() -> None:
    """Be a client."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--address", required=True)
    parser.add_argument("--client", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--proximal", type=float, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    client = Digits(chosen.client, chosen.seed, chosen.proximal)
    flwr.client.start_client(
        server_address=chosen.address, client=client.to_client(), insecure=True
    )


def measure() -> None:
    """Fill federated_flower.json."""
    recorder = Recorder(
        RESULTS,
        problem="five clients as processes under Flower, and in one process: largest difference",
        recipe="scripts/results_8_3_3.py flower",
        data=["handwritten-digits"],
        methods={
            "FedAvg": Method("Flower's mean of what client processes send", chosen="nothing"),
            "FedProx": Method("the same with a proximal term at the clients", chosen="nothing"),
        },
        packages=["torch", "flwr", "grpcio", "protobuf"],
        settings={
            "clients": CLIENTS,
            "rounds": ROUNDS,
            "local steps": STEPS,
            "concentration": CONCENTRATION,
            "rate": RATE,
            "strength": STRENGTH,
        },
    )
    keys = [{"method": m, "seed": 0} for m in ("FedAvg", "FedProx")]
    recorder.measure(keys, row)


if __name__ == "__main__":
    main()
