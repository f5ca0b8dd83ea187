"""Measure the tables of section 8.3.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_8_3_3.py uneven
    OMP_NUM_THREADS=1 python scripts/results_8_3_3.py rates
    OMP_NUM_THREADS=1 python scripts/results_8_3_3.py rendered
    OMP_NUM_THREADS=1 python scripts/results_8_3_3.py leaks
    OMP_NUM_THREADS=1 python scripts/results_8_3_3.py flower

The file is written after each row; a second call goes on where the first one stopped.

uneven: handwritten digits dealt to twenty clients by a Dirichlet distribution of their classes.

rates: two of these methods at each rate, and at one beyond those on offer, without any choice.

rendered: the same digits dealt evenly, but each client sees them in another way.

leaks: what gradients of digits give away, by batch and by local steps, and under masks.

flower: that clients as processes of their own give the same numbers; see federated_flower.py.

A seed draws test digits, split, first weights and batches.
"""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from recipes import run_recipe

from mapping_lib.lab import leakage
from mapping_lib.lab.federation import (
    BATCH,
    CLIENTS,
    STEPS,
    Clients,
    Found,
    network,
    pretrained,
    rendered_clients,
    train,
    uneven_clients,
)
from mapping_lib.lab.results import Method, Recorder, Row

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
RECIPE = "scripts/results_8_3_3.py"
ROUNDS = 30
RATES = (0.1, 0.2, 0.4)
BEYOND = 0.8
STRENGTHS = (0.01, 0.1, 1.0)
SEEDS = 3

CHOSEN = f"rate among {RATES} by the accuracy on the clients' own held-out rows"
UNEVEN = {
    "local only": Method("each client trains alone", chosen=CHOSEN),
    "FedAvg": Method("means of the clients' parameters, weighted by rows", chosen=CHOSEN),
    "FedProx": Method(
        "FedAvg with a proximal term",
        chosen=f"FedAvg's rate; strength among {STRENGTHS} by the clients' held-out rows",
    ),
    "SCAFFOLD": Method("FedAvg with control variates, option II", chosen=CHOSEN),
    "FedAvg, pretrained": Method("FedAvg from a network that learned glyphs", chosen=CHOSEN),
    "glyphs alone": Method("that network before the first round", chosen="nothing to choose"),
    "central": Method("all rows in one place, batches of all clients together", chosen=CHOSEN),
}
RENDERED = {
    "local only": Method("each client trains alone, with batch norm", chosen=CHOSEN),
    "FedAvg, no norm": Method("FedAvg of the network without batch norm", chosen=CHOSEN),
    "FedAvg": Method("FedAvg of all entries, batch norm's too", chosen=CHOSEN),
    "FedBN": Method("batch norm's entries stay at the clients", chosen=CHOSEN),
    "central": Method("all rows in one place, with batch norm", chosen=CHOSEN),
}
SETTINGS = {"clients": CLIENTS, "rounds": ROUNDS, "local steps": STEPS, "batch": BATCH}
PACKAGES = ["torch", "scikit-learn"]

start_of_glyphs = cache(lambda seed: pretrained(seed=seed))


def best(runs: dict[tuple[float, float], Found]) -> tuple[tuple[float, float], Found]:
    """Give the setting with the best accuracy on held-out rows, the first of equals."""
    setting = max(runs, key=lambda each: runs[each].held)
    return setting, runs[setting]


def measured(key: Row, setting: tuple[float, float], found: Found, recorder: Recorder) -> Row:
    """Give a row, and add its curve to the file."""
    recorder.extend("curves", [{**key, "curve": [round(v, 4) for v in found.curve]}])
    rate, strength = setting
    values = {"accuracy": found.curve[-1], "own": found.own, "held": found.held}
    return {
        **{name: round(value, 4) for name, value in values.items()},
        "rate": rate,
        "strength": strength,
    }


def run(name: str, clients: Clients, model: Any, seed: int) -> tuple[tuple[float, float], Found]:
    """Train a method with each setting and choose by held-out rows."""

    def runs(method: Any, settings: list[tuple[float, float]]) -> dict[tuple[float, float], Found]:
        found = {}
        for rate, strength in settings:
            with suppress(FloatingPointError):  # a rate at which training diverges isn't chosen
                found[rate, strength] = train(
                    method,
                    clients,
                    model,
                    rounds=ROUNDS,
                    rate=rate,
                    seed=seed,
                    proximal=strength,
                )
        return found

    if name != "FedProx":
        return best(runs(name.split(",")[0], [(rate, 0.0) for rate in RATES]))
    (rate, _), _ = fedavg_of(seed, clients)
    return best(runs("FedProx", [(rate, strength) for strength in STRENGTHS]))


@cache
def of_concentration(concentration: float, seed: int) -> Clients:
    """Give the clients of a row, the same object for all methods."""
    return uneven_clients(concentration, seed=seed)


@cache
def fedavg_of(seed: int, clients: Clients) -> tuple[tuple[float, float], Found]:
    """Give FedAvg's setting and run, which FedProx begins with."""
    return run("FedAvg", clients, network(seed=seed), seed)


def uneven() -> None:
    """Fill federated_uneven.json."""
    recorder = Recorder(
        FOLDER / "federated_uneven.json",
        problem="digits at twenty clients with uneven classes, test accuracy after 30 rounds",
        recipe=f"{RECIPE} uneven",
        data=["handwritten-digits", "rendered-glyphs"],
        methods=UNEVEN,
        packages=PACKAGES,
        settings=SETTINGS,
    )

    def row(key: Row) -> Row:
        name, seed = key["method"], key["seed"]
        clients = of_concentration(key["concentration"], seed)
        if name == "glyphs alone":
            found = train("FedAvg", clients, start_of_glyphs(seed), rounds=1, rate=0.0, seed=seed)
            return measured(key, (0.0, 0.0), found, recorder)
        model = start_of_glyphs(seed) if name == "FedAvg, pretrained" else network(seed=seed)
        found = fedavg_of(seed, clients) if name == "FedAvg" else run(name, clients, model, seed)
        return measured(key, *found, recorder)

    keys = [
        {"method": name, "concentration": concentration, "seed": seed}
        for seed in range(SEEDS)
        for concentration in (100.0, 0.5, 0.1)
        for name in UNEVEN
    ]
    recorder.measure(keys, row)


def rates() -> None:
    """Fill federated_rates.json; a run that diverges counts as 0 and is marked."""
    concentration = 0.1
    recorder = Recorder(
        FOLDER / "federated_rates.json",
        problem="digits at twenty clients with a few classes each, test accuracy by rate",
        recipe=f"{RECIPE} rates",
        data=["handwritten-digits"],
        methods={name: Method(UNEVEN[name].what, "nothing") for name in ("FedAvg", "SCAFFOLD")},
        packages=PACKAGES,
        settings={**SETTINGS, "concentration": concentration},
    )

    def row(key: Row) -> Row:
        clients, seed = of_concentration(concentration, key["seed"]), key["seed"]
        try:
            found = train(
                key["method"],
                clients,
                network(seed=seed),
                rounds=ROUNDS,
                rate=key["rate"],
                seed=seed,
            )
        except FloatingPointError:
            return {"accuracy": 0.0, "held": 0.0, "diverged": 1}
        return {"accuracy": round(found.curve[-1], 4), "held": round(found.held, 4)}

    keys = [
        {"method": method, "rate": rate, "seed": seed}
        for seed in range(SEEDS)
        for method in ("FedAvg", "SCAFFOLD")
        for rate in (*RATES, BEYOND)
    ]
    recorder.measure(keys, row)


def rendered() -> None:
    """Fill federated_rendered.json."""
    recorder = Recorder(
        FOLDER / "federated_rendered.json",
        problem="digits at twenty clients that see them in their own ways, accuracy on these",
        recipe=f"{RECIPE} rendered",
        data=["handwritten-digits"],
        methods=RENDERED,
        packages=PACKAGES,
        settings=SETTINGS,
    )

    def row(key: Row) -> Row:
        seed = key["seed"]
        model = network(seed=seed, norm=key["method"] != "FedAvg, no norm")
        return measured(
            key, *run(key["method"], rendered_clients(seed=seed), model, seed), recorder
        )

    recorder.measure([{"method": m, "seed": s} for s in range(SEEDS) for m in RENDERED], row)


def leaks() -> None:
    """Fill federated_leaks.json."""
    recorder = Recorder(
        FOLDER / "federated_leaks.json",
        problem="digits made again from what a client sends, similarity to the nearest true one",
        recipe=f"{RECIPE} leaks",
        data=["handwritten-digits"],
        methods={
            "gradient matching": Method(
                "rows sought whose gradient is the one observed, labels known",
                chosen="nothing: L-BFGS as torch has it, the better of two starts by mismatch",
            ),
            "a mean image": Method("the mean of all digits with these labels", chosen="nothing"),
        },
        packages=PACKAGES,
        settings={"rate": leakage.RATE, "iterations": leakage.ITERATIONS},
    )

    def row(key: Row) -> Row:
        attack = leakage.attacked if key["method"] == "gradient matching" else leakage.guessed
        found = attack(key["batch"], key["steps"], clients=key["clients"], seed=key["seed"])
        return {"similarity": round(found, 4)}

    cases = [(b, 1, 1) for b in (1, 4, 16, 64)] + [(1, s, 1) for s in (5, 20)]
    cases += [(1, 1, 20), (4, 1, 20)]
    keys = [
        {"method": m, "batch": b, "steps": s, "clients": c, "seed": seed}
        for seed in range(SEEDS)
        for b, s, c in cases
        for m in ("a mean image", "gradient matching")
    ]
    recorder.measure(keys, row)


def flower() -> None:
    """Fill federated_flower.json; needs the extra "federated"."""
    from federated_flower import measure

    measure()


if __name__ == "__main__":
    recipes = {
        "uneven": uneven,
        "rates": rates,
        "rendered": rendered,
        "leaks": leaks,
        "flower": flower,
    }
    run_recipe(__doc__, recipes)
