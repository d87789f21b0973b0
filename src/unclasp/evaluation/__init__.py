"""Around `evaluate`: protocols, scores and reports, what is scored, and how models are measured on real pictures."""
