"""Measuring a model: metrics with intervals, the gates' findings, leakage, importance, plots, drift and the model card.

Pure functions on arrays and frames; only `plots` writes, to the path it is given. Nothing here reads a clock or draws
randomness but from a seeded generator, so that the same arrays give the same findings.
"""
