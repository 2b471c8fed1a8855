"""The face detector: data, network, loss, training, export and measurement."""
