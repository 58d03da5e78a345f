"""Train stages of the methods named on the command line for one step, and predict, on a pretended device.

``first``: the stages up to the first that leaves something for the next; ``all``: those too that need it, for which the
networks learn before.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import torch
from accelerate import Accelerator
from test_all_methods import EVERY, batch, build, recording, small, step

from kinodepth.engine.processes import gather
from kinodepth.engine.stages import set_modes, start_stage
from kinodepth.inference.model import DepthModel, with_outputs
from pretend_device import DEVICE, PretendDevice


def mixes() -> bool:
    """Whether the device lets tensors of another one in; if so nothing here can fail."""
    with PretendDevice():
        try:
            torch.ones(2, device=DEVICE) + torch.ones(2)
        except RuntimeError:
            return False
    return True


if __name__ == "__main__":
    assert not mixes()
    accelerator = Accelerator(cpu=True)
    accelerator.state.device = DEVICE
    which, *names = sys.argv[1:]
    for name in names:
        method = EVERY[name]
        for stage in method.stages(small(method)):
            clip, model = batch(method, stage), build(method)
            if stage.start is not None:
                stage.start(model)
            with PretendDevice():
                model.to(DEVICE)
                set_modes(model, stage)
                optimizer, _ = start_stage(model, stage, None)
                result = step(method, model, clip.to(DEVICE), stage)
                optimizer.step()
                gather(accelerator, {**result.terms, **result.scalars})
            print(f"{name}, {stage.name}: trained", flush=True)
            if which == "first" and stage.make is not None:
                break
        with PretendDevice():
            network = build(method).to(DEVICE).eval()
            model = with_outputs(DepthModel(method, network, DEVICE), method.outputs)
            predictions = list(model.predict(recording(method).select(range(4))))
        maps = [values for found in predictions for values in (found.depth, *found.outputs.values())]
        assert {values.device.type for values in maps} == {"cpu"}
        print(f"{name}: predicted", flush=True)
