"""Scoring: metrics, named protocols, regions, alignment ladder, temporal consistency, holes, trajectories, tables."""

from kinodepth.evaluation.clip import Result, evaluate, joined
from kinodepth.evaluation.frame import score_depth
from kinodepth.evaluation.metrics import depth_errors
from kinodepth.evaluation.protocols import PROTOCOLS, Protocol

__all__ = ["PROTOCOLS", "Protocol", "Result", "depth_errors", "evaluate", "joined", "score_depth"]
