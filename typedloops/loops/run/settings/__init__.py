"""What a run is told: limits, cadence, counts and times."""
