"""Options and reports of training runs, and the training of everything but the pose network (`unclasp.train`)."""
