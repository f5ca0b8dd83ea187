"""What a notebook needs that is no formula: data, backbones, training, plots, exercises."""
