"""The loops.  The folders below are the tree as it runs: fit, evaluation, prediction."""
