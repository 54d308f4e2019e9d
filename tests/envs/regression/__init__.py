"""Tests of the families of curves."""
