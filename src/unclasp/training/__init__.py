"""Around `train`: what a run is told and tells, and the training of what is not the pose network."""
