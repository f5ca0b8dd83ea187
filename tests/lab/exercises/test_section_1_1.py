import torch

from mapping_lib.lab.exercises import Case, check


def bound(x, y, u, start):
    longest = x.square().sum(1).max()
    u = u * longest / (y * (x @ u)).min()
    return (start - u).square().sum() / longest


def scaled_by(margin):
    def answer(x, y, u, start):
        longest = x.square().sum(1).max()
        return (start - u * longest / margin(x, y, u)).square().sum() / longest

    return answer


def relu_gradient(
    x, y, W, b, v, c, *, unit=torch.relu, slope=lambda a: (a > 0).double(), through=True
):
    before = x @ W.T + b
    dz = -y * torch.sigmoid(-y * (unit(before) @ v + c)) / len(y)
    back = dz[:, None] * (v if through else torch.ones_like(v))
    return (back * slope(before)).T @ x


def other(**settings):
    return lambda *a: relu_gradient(*a, **settings)


def sure_rows_learn(x, y, W, b, v, c):
    before = x @ W.T + b
    dz = -y * torch.sigmoid(y * (before.relu() @ v + c)) / len(y)
    return (dz[:, None] * v * (before > 0)).T @ x


OR_AND_NOT = ([[1, 1], [-1, -1]], [-0.5, 1.5], [1, 1], -1.5)

CASES = {
    "1.1-a": Case(
        solution=(-2, 1, 0),
        wrong={
            "minus the row": (4, 3, 2),
            "right already": (-3, 2, 1),
            "no decision": (0, 0, 0),
            "after the first row": (1, 2, 1),
            "turned round": (2, -1, 0),
            "after two passes": (-4, 2, 0),
            "until no mistake is left": (-3, 4, 1),
        },
    ),
    "1.1-b": Case(
        solution=bound,
        wrong={
            "stretched": lambda x, y, u, start: (
                (start - u).square().sum() / x.square().sum(1).max()
            ),
            "the bound from zero": lambda x, y, u, start: bound(x, y, u, 0 * start),
            "not the mean": scaled_by(lambda x, y, u: (y * (x @ u)).mean()),
            "not to R": scaled_by(lambda x, y, u: (y * (x @ u)).min() * x.norm(dim=1).max()),
            "not the largest": scaled_by(lambda x, y, u: (y * (x @ u)).max()),
            "left out of the margin": scaled_by(lambda x, y, u: (x @ u).min()),
            "has to be squared": lambda x, y, u, start: (
                bound(x, y, u, start) / x.square().sum(1).max()
            ).sqrt(),
            "where R² is due": lambda x, y, u, start: bound(x, y, u, start) * x.norm(dim=1).max(),
            "divide it by R²": lambda x, y, u, start: (
                bound(x, y, u, start) * x.square().sum(1).max()
            ),
            "of length 1": lambda x, y, u, start: (
                (start - u / u.norm()).square().sum() / x.square().sum(1).max()
            ),
            "a whole row": lambda x, y, u, start: (
                (start - u * x.square().max() / (y * (x @ u)).min()).square().sum()
                / x.square().max()
            ),
        },
    ),
    "1.1-c": Case(
        solution=OR_AND_NOT,
        wrong={
            "(1, 1) comes out as 1": ([[1, 1], [1, 1]], [-0.5, -0.5], [1, 1], -0.5),
            "(0, 1) comes out as 0": ([[1, 1], [1, 1]], [-1.5, -1.5], [1, 1], -0.5),
            "v has the shape (1, 2)": ([[1, 1], [-1, -1]], [-0.5, 1.5], [[1, 1]], -1.5),
            "W, b, v and c": ([[1, 1], [-1, -1]], [-0.5, 1.5]),
            "W isn't made of numbers": ("or", [-0.5, 1.5], [1, 1], -1.5),
        },
    ),
    "1.1-d": Case(
        solution=relu_gradient,
        wrong={
            "tanh's derivative": other(slope=lambda a: 1 - a.relu().square()),
            "units that are off": other(slope=torch.ones_like),
            "not the unit's value": other(slope=torch.relu),
            "left out": other(through=False),
            "the forward line changes too": other(unit=torch.tanh),
            "the sign inside": sure_rows_learn,
            "transposed": lambda *a: relu_gradient(*a).T,
            "the factor n": lambda *a: len(a[1]) * relu_gradient(*a),
            "wrong sign": lambda *a: -relu_gradient(*a),
        },
    ),
}


def test_other_ways_to_xor_are_right():
    one_or_the_other = ([[1, -1], [-1, 1]], [-0.5, -0.5], [1, 1], -0.5)
    assert check("1.1-c", one_or_the_other)
    assert check("1.1-c", [torch.tensor(part) for part in OR_AND_NOT])


def test_the_gradient_is_autograds():
    torch.manual_seed(0)
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.tensor([1.0, -1, 1, 1, -1, 1]).double()
    W = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    b, v = torch.randn(2, 4, dtype=torch.float64)
    loss = torch.nn.functional.softplus(-y * ((x @ W.T + b).relu() @ v + 0.2)).mean()
    loss.backward()
    assert torch.allclose(W.grad, relu_gradient(x, y, W.detach(), b, v, 0.2))
