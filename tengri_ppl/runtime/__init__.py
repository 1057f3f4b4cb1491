"""Precision, compilation and memory."""
