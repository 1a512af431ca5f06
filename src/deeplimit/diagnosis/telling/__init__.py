"""A diagnosis in words: on a terminal, as JSON, and as conditions."""

from __future__ import annotations
