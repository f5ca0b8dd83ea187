"""What a notebook needs that is no formula: data, backbones, training, plots, exercises."""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():  # timm and pooch import this; it complains if ipywidgets is lacking
    warnings.simplefilter("ignore", TqdmWarning)
    import tqdm.auto  # noqa: F401
