"""Where and in what numbers a run computes: devices, precision, modes, random numbers, memory."""
