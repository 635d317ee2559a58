"""Numbers that are not finite: found on the device, told without waiting for it."""
