"""A Mining Supervision run that dies in each of its stages goes on to the numbers of an undisturbed one."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from kinodepth.data.synthetic import sequence
from kinodepth.engine.train import Options, train
from kinodepth.methods import load
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig

METHOD = load("mining_supervision")
LENGTHS = [item.name for item in fields(MiningSupervisionConfig) if item.name.endswith("_steps")]
SETTINGS = {
    "height": 64,
    "width": 64,
    "depth_net": "recurrent",  # every step of a run that dies writes all weights and moments
    "flow_net": "small",
    "pretrained": False,
    "batch_size": 1,
    "alignment_batch": 1,
    "found_batch": 1,
    "slot_size": 32,
    "detector_side": 64,
    "detector_rounds": 2,
    "moving_pixels": 1000.0,  # leaves objects that stand still
    **dict.fromkeys(LENGTHS, 2),
}


class DiedError(Exception):
    """Nothing is saved any more: all that is left is what the run has written so far."""


def until(last: str):
    """The method as far as stage ``last``."""

    def stages(config):
        plan = METHOD.stages(config)
        return plan[: [stage.name for stage in plan].index(last) + 1]

    return replace(METHOD, stages=stages)


def dying_in(method, name: str):
    def objective(model, clip, stage, generator):
        if stage.name == name and stage.done == 1:
            raise DiedError
        return METHOD.objective(model, clip, stage, generator)

    return replace(method, objective=objective)


@pytest.mark.parametrize(
    ("masks", "last"), [("given", "final"), pytest.param("found", "detector_1", marks=pytest.mark.demand)]
)
def test_dies_in_each_stage_and_ends_the_same(tmp_path: Path, masks: str, last: str) -> None:
    method, config = until(last), METHOD.config(masks=masks, **SETTINGS)
    recordings = [sequence(seed=3, kind="room", width=96, height=96, frames=4)]

    def run(out: Path, method=method, save_every=1000, resume=False):
        options = Options(
            device="cpu",
            precision="fp32",
            workers=0,
            validate_every=1000,
            validate_frames=1,
            save_every=save_every,
            resume=resume,
        )
        train(method, config, recordings, recordings, out, options)

    run(tmp_path / "whole")
    names = [stage.name for stage in method.stages(config)]
    for name in names:
        with pytest.raises(DiedError):
            run(tmp_path / "died", dying_in(method, name), save_every=1, resume=name != names[0])
    run(tmp_path / "died", resume=True)
    whole, died = (torch.load(tmp_path / out / "checkpoints" / "last.state") for out in ("whole", "died"))
    assert whole["step"] == died["step"] == 2 * len(names)
    assert all(torch.equal(value, died["model"][key]) for key, value in whole["model"].items())
    for stage in (tmp_path / "whole" / "artefacts").iterdir():
        keys = [
            json.loads((tmp_path / out / "artefacts" / stage.name / "manifest.json").read_text())["key"]
            for out in ("whole", "died")
        ]
        assert keys[0] == keys[1], stage.name
