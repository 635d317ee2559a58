"""The core compiled by Cython; each module behaves as its namesake in `reference`."""
