from mapping_lib.lab.exercises import Case


def to_keras(norm, momentum=lambda m: 1 - m, epsilon=None, order=(0, 1, 2, 3)):
    arguments = {
        "momentum": momentum(norm.momentum),
        "epsilon": norm.eps if epsilon is None else epsilon,
    }
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return arguments, [tensors[k].detach().numpy() for k in order]


def tensors(norm):
    arguments, _ = to_keras(norm)
    return arguments, [norm.weight, norm.bias, norm.running_mean, norm.running_var]


def epsilon_for_torch(step, epsilon, beta_2):
    return epsilon / (1 - beta_2**step) ** 0.5


CASES = {
    "7.1-a": Case(
        solution=(0.0271, 0.181),
        wrong={
            "the two are swapped": (0.181, 0.0271),
            "not yet times the rate": (2.71, 0.181),
            "made with the old rate": (0.0271, 0.0271),
            "the new one holds for all": (0.181, 0.181),
            "third gradient is missing": (0.0171, 0.171),
            "rate of the third step is 0.01": (0.271, 0.271),
        },
    ),
    "7.1-b": Case(
        solution=to_keras,
        wrong={
            "Keras keeps of the old": lambda norm: to_keras(norm, lambda m: m),
            "an ε of its own": lambda norm: to_keras(norm, epsilon=1e-3),
            "beta stands before gamma": lambda norm: to_keras(norm, order=(1, 0, 2, 3)),
            "variance stands before the mean": lambda norm: to_keras(norm, order=(0, 1, 3, 2)),
            "NumPy arrays": tensors,
            "two things": lambda norm: to_keras(norm)[1],
            "list of four": lambda norm: to_keras(norm, order=(0, 1)),
            "a dictionary of": lambda norm: ({"momentum": 0.7}, to_keras(norm)[1]),
        },
    ),
    "7.1-c": Case(
        solution=epsilon_for_torch,
        wrong={
            "Keras's ε unchanged": lambda step, epsilon, beta: epsilon,
            "other way round": lambda step, epsilon, beta: epsilon * (1 - beta**step) ** 0.5,
            "the root is missing": lambda step, epsilon, beta: epsilon / (1 - beta**step),
            "counted from 1": lambda step, epsilon, beta: epsilon_for_torch(
                step + 1, epsilon, beta
            ),
        },
    ),
}
