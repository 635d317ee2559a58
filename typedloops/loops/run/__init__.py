"""What the loops of a run share: settings, listeners, loaders, metrics, and the loops over batches and over loaders."""
