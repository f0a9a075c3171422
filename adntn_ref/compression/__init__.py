"""How a model is compressed: fitting a network to a weight, training through generated weights, files."""
