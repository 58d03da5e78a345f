"""``kinodepth convert``: a published checkpoint, or a run, to one weights file."""

from __future__ import annotations

EXAMPLES = """
kinodepth convert sc_depth_v1 published.ckpt kitti.safetensors
kinodepth convert sc_depth_v1 run small.safetensors --half
kinodepth predict kitti.safetensors drive.mp4 --save npz,mp4
"""


def run(method: str, published: str, out: str, half: bool = False) -> int:
    """Convert a published checkpoint to a safetensors file; prints the keys that did not match.

    Args:
        method: name of the method the checkpoint is of
        published: the checkpoint as published; or a run folder or weights file of ours, to copy
        out: the weights file to write, ending in .safetensors
        half: store weights as float16, in half the space
    """
    from pathlib import Path

    from kinodepth import methods
    from kinodepth.inference import model
    from kinodepth.methods.weights import save_weights
    from kinodepth.types import InputError

    if Path(out).suffix != ".safetensors":
        raise InputError(
            f"output {out!r} does not end in .safetensors; expected such a name; use {Path(out).stem}.safetensors"
        )
    chosen, path = methods.load(method), model.find_weights(published)
    conversion = model.read(chosen, path)
    for line in model.report(conversion):
        print(line)
    network = model.build(chosen, conversion.config)
    model.fill(network, conversion.state_dict, path)
    save_weights(Path(out), network, method, {"converted_from": path.name, "sha256": model.sha256(path)}, half)
    print(f"wrote {out}")
    return 0
