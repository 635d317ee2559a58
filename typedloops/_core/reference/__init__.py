"""The core in plain Python: what `TYPEDLOOPS_PURE=1` runs, and the specification of the compiled one."""
