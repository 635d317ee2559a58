"""The optimization of a batch: what the leaves of the tree do with a module and its optimizers."""
