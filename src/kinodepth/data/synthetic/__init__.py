"""Seeded synthetic recordings with exact depth, flow, object motion and masks: training data, test oracle and demo."""

from kinodepth.data.synthetic.plan import MOTIONS, PLACES, Scene
from kinodepth.data.synthetic.render import render, render_frame, sequence
from kinodepth.data.synthetic.world import World, make_world

__all__ = ["MOTIONS", "PLACES", "Scene", "World", "make_world", "render", "render_frame", "sequence"]
