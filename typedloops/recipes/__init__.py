"""Loops for kinds of training that are not plain supervised epochs: each a file to use, or to read and change."""

from __future__ import annotations
