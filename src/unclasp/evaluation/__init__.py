"""The parts of `evaluate` (protocols, predictions, scores, reports) and measurements of models on real pictures."""
