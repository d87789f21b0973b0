"""Benchmarks, each relative to a known reference such as the bare backbone, another engine or a fresh process."""
