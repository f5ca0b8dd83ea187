import torch
from torch.nn.functional import normalize

from mapping_lib.lab.exercises import Case, check
from mapping_lib.sequences import attention


def mixed(*weights):
    a, b, c = (weight / sum(weights) for weight in weights)
    return 8 * a + 4 * c, 8 * b + 4 * c


def fourth(vectors, a, b, c):
    unit = normalize(vectors)
    scores = unit @ (unit[b] - unit[a] + unit[c])
    scores[[a, b, c]] = -1e9
    return scores.argmax()


def swapped(vectors, a, b, c):
    return fourth(vectors, b, a, c)


def inputs_allowed(vectors, a, b, c):
    unit = normalize(vectors)
    return (unit @ (unit[b] - unit[a] + unit[c])).argmax()


def c_left_out(vectors, a, b, c):
    unit = normalize(vectors)
    scores = unit @ (unit[b] - unit[a] + unit[c])
    scores[c] = -1e9
    return scores.argmax()


def zeros_for_inputs(vectors, a, b, c):
    unit = normalize(vectors)
    scores = unit @ (unit[b] - unit[a] + unit[c])
    scores[[a, b, c]] = 0
    return scores.argmax()


def nearest(vectors, a, b, c):
    unit = normalize(vectors)
    scores = unit @ unit[c]
    scores[[a, b, c]] = -1e9
    return scores.argmax()


def raw(vectors, a, b, c):
    scores = vectors @ (vectors[b] - vectors[a] + vectors[c])
    scores[[a, b, c]] = -1e9
    return scores.argmax()


def late(vectors, a, b, c):
    scores = normalize(vectors) @ (vectors[b] - vectors[a] + vectors[c])
    scores[[a, b, c]] = -1e9
    return scores.argmax()


def long_wins(vectors, a, b, c):
    unit = normalize(vectors)
    scores = vectors @ (unit[b] - unit[a] + unit[c])
    scores[[a, b, c]] = -1e9
    return scores.argmax()


def closest(vectors, a, b, c):
    distances = (vectors - (vectors[b] - vectors[a] + vectors[c])).norm(dim=1)
    distances[[a, b, c]] = torch.inf
    return distances.argmin()


def scores_of(query, key):
    return query @ key.T / query.shape[1] ** 0.5


def causal(query, key, value):
    later = torch.ones(len(query), len(key)).triu(1) > 0
    return scores_of(query, key).masked_fill(later, float("-inf")).softmax(1) @ value


def zeros_for_scores(query, key, value):
    past = torch.ones(len(query), len(key), dtype=query.dtype).tril()
    return (scores_of(query, key) * past).softmax(1) @ value


def without_itself(query, key, value):
    mask = torch.ones(len(query), len(key)).tril(-1) > 0
    mask[0, 0] = True
    return attention(query, key, value, mask=mask)


def nothing_first(query, key, value):
    now_and_later = torch.ones(len(query), len(key)).triu() > 0
    return scores_of(query, key).masked_fill(now_and_later, float("-inf")).softmax(1) @ value


def explained(train, y, new, truth):
    ones = [torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) for x in (train, new)]
    guess = ones[1] @ torch.linalg.lstsq(ones[0], y[:, None]).solution[:, 0]
    return 1 - ((truth - guess) ** 2).mean() / truth.var(correction=0)


def without_constant(train, y, new, truth):
    guess = new @ torch.linalg.lstsq(train, y[:, None]).solution[:, 0]
    return 1 - ((truth - guess) ** 2).mean() / truth.var(correction=0)


def guessed(train, y, new):
    ones = [torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) for x in (train, new)]
    return ones[1] @ torch.linalg.lstsq(ones[0], y[:, None]).solution


def mean_of_training(train, y, new, truth):
    errors = truth - guessed(train, y, new)[:, 0]
    return 1 - (errors**2).sum() / ((truth - y.mean()) ** 2).sum()


def column(train, y, new, truth):
    errors = truth - guessed(train, y, new)
    return 1 - (errors**2).sum() / ((truth - truth.mean()) ** 2).sum()


def unbiased(train, y, new, truth):
    errors = truth - guessed(train, y, new)[:, 0]
    return 1 - (errors**2).mean() / truth.var()


CASES = {
    "2.2-a": Case(
        solution=(2, 6),
        wrong={
            "have to average the values": (1 / 8, 5 / 8, 2 / 8),
            "one for each key": torch.tensor([1.0, 5.0, 2.0]).log(),
            "where the square root of d": mixed(1, 5**0.5, 2**0.5),
            "have to be divided by the square root": mixed(1, 25, 4),
            "don't count": (4, 4),
            "divided by their sum": (16, 48),
            "takes a mean": (0, 8),
            "swapped": (6, 2),
        },
    ),
    "2.2-b": Case(
        solution=fourth,
        wrong={
            "have to be left out": inputs_allowed,
            "a and b can be": c_left_out,
            "−∞ can't": zeros_for_inputs,
            "wrong way round": swapped,
            "nearest to c": nearest,
            "win by their length": long_wins,
            "before you add them": late,
            "inner products of rows of any length": raw,
            "smallest distance": closest,
        },
    ),
    "2.2-c": Case(
        solution=causal,
        wrong={
            "nothing is masked": attention,
            "wrong way up": lambda q, k, v: attention(
                q, k, v, mask=torch.ones(len(q), len(k)).triu() > 0
            ),
            "before the softmax": lambda q, k, v: scores_of(q, k).softmax(1).tril() @ v,
            "have to be −∞": zeros_for_scores,
            "square root of the number of features": lambda q, k, v: causal(
                q * q.shape[1] ** 0.5, k, v
            ),
            "may see itself": without_itself,
            "sees nothing at all": nothing_first,
            "divided by d": lambda q, k, v: causal(q / q.shape[1] ** 0.5, k, v),
            "sees the next one": lambda q, k, v: attention(
                q, k, v, mask=torch.ones(len(q), len(k)).tril(1) > 0
            ),
            "query and key are swapped": lambda q, k, v: causal(k, q, v),
            "not of the values": lambda q, k, v: causal(
                q * q.shape[1] ** 0.5 / v.shape[1] ** 0.5, k, v
            ),
            "over the queries": lambda q, k, v: (
                scores_of(q, k)
                .masked_fill(torch.ones(len(q), len(k)).triu(1) > 0, float("-inf"))
                .softmax(0)
                @ v
            ),
        },
    ),
    "2.2-d": Case(
        solution=explained,
        wrong={
            "it has learned from": lambda train, y, new, truth: explained(train, y, train, y),
            "a constant is missing": without_constant,
            "not of those learned from": mean_of_training,
            "drop the column's second axis": column,
            "divides by n − 1": unbiased,
            "only after it was divided": lambda *a: (
                explained(*a) - 1 + 1 / (a[3] - a[3].mean()).square().sum()
            ),
            "a shift counts": lambda train, y, new, truth: (
                1 - (truth - guessed(train, y, new)[:, 0]).var() / truth.var()
            ),
            "not to the new rows": lambda train, y, new, truth: explained(new, truth, new, truth),
            "what is left over": lambda *a: 1 - explained(*a),
            "mean squared error": lambda train, y, new, truth: (
                (1 - explained(train, y, new, truth)) * truth.var(correction=0)
            ),
        },
    ),
}


def test_share_may_be_a_float():
    assert check("2.2-d", lambda *a: float(explained(*a)))
