"""Priors beside a recording: from a tiny random network on disk, and from maps. No network access."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth.cli.main import main
from kinodepth.data import open_sequence
from kinodepth.data.prior import from_maps, from_model, write_prior
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.data.video import write_video
from kinodepth.types import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "street"
    for _ in write(Scene(1, "street", 4, 96, 64), folder, extra=False):
        pass
    return folder


@pytest.fixture
def street(made, tmp_path):
    return shutil.copytree(made, tmp_path / "street")


@pytest.fixture(scope="module", params=["relative", "metric"])
def network(request, made, tmp_path_factory):
    """A Depth-Anything network of 90,000 random parameters, saved to disk; its outputs are not all zero."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=28, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=32, neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8, head_hidden_size=8, depth_estimation_type=request.param, max_depth=20,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.DepthAnythingForDepthEstimation(config)
    for name, parameter in model.named_parameters():  # as initialised the output is 0 to float32 rounding
        if name.startswith("neck") and parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
        elif name.startswith("head"):
            torch.nn.init.uniform_(parameter, 0, 5e-4 if "conv3" in name else 0.5)
    size = {"height": 56, "width": 56}
    processor = transformers.DPTImageProcessor(size=size, keep_aspect_ratio=True, ensure_multiple_of=14)
    if request.param == "relative":  # a quarter of the output is 0, as for sky
        with torch.no_grad():
            pixels = (open_sequence(made).read(0, ()).image * 255).byte()
            output = model.eval()(**processor(images=pixels, return_tensors="pt")).predicted_depth
            model.head.conv3.bias -= output.quantile(0.25)
    folder = tmp_path_factory.mktemp("network") / request.param
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "prior").glob("*.npy")}


def run(*words):
    return main(["prior", *(str(word) for word in words)])


def test_a_network_sees_every_frame(street, network, capsys):
    assert run(street, "--model", network, "--device", "cpu") == 0
    assert "4 frames, 4 new" in capsys.readouterr().out
    is_metric = network.name == "metric"
    stored = json.loads((street / "prior" / "prior.json").read_text())
    assert stored == {
        "quantity": "depth" if is_metric else "inverse_depth",
        "scale": "metric" if is_metric else "affine",
        "source": str(network),
    }
    import transformers

    sequence = open_sequence(street)
    model = transformers.AutoModelForDepthEstimation.from_pretrained(network).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(network)
    for index in range(4):
        pixels = np.asarray(Image.open(next((street / "images").glob(f"{sequence.records[index].name}.*")))).copy()
        with torch.inference_mode():
            raw = model(**processor(images=pixels, return_tensors="pt")).predicted_depth
        values = np.load(street / "prior" / f"{sequence.records[index].name}.npy")
        assert values.shape == (64, 96)
        assert values.dtype == np.float32
        if is_metric:
            assert 0 < values.min() < values.max() <= 20
        else:
            assert (raw == 0).any()
            assert (values == 0).any()
        resized = torch.nn.functional.interpolate(raw[None], (64, 96), mode="bicubic")[0, 0]
        assert np.corrcoef(resized.flatten(), values.flatten())[0, 1] > 0.99
        prior = sequence.read(index, ("prior_depth",)).prior_depth
        assert prior.shape == (1, 64, 96)
        as_stored = prior if is_metric else 1 / prior  # read as depth, larger where farther
        assert np.corrcoef(as_stored.flatten(), values.flatten())[0, 1] > 0.99


def test_interrupted_work_goes_on(street, network, capsys):
    assert run(street, "--model", network, "--device", "cpu") == 0
    first = stamps(street)
    lost = sorted(first)[1]
    (street / "prior" / lost).unlink()
    assert run(street, "--model", network, "--device", "cpu") == 0
    assert "4 frames, 1 new" in capsys.readouterr().out
    assert {name for name, stamp in stamps(street).items() if stamp != first[name]} == {lost}


def test_a_network_may_see_larger_images(street, network, tmp_path):
    assert main(["prepare", str(street), str(tmp_path / "small"), "--size", "48x32"]) == 0
    assert run(street, "--out", tmp_path / "small", "--model", network, "--device", "cpu") == 0
    assert not (street / "prior").exists()
    assert np.load(tmp_path / "small" / "prior" / "000000.npy").shape == (32, 48)


def maps(folder, suffix):
    folder.mkdir()
    values = np.linspace(1, 9, 64 * 96, dtype=np.float32).reshape(64, 96)
    values[:4] = 0
    for i in range(4):
        if suffix == "png":
            Image.fromarray((values * 1000).astype(np.uint16)).save(folder / f"{i:06d}.png")
        elif suffix == "npz":
            np.savez(folder / f"{i:06d}.npz", depth=values)
        else:
            np.save(folder / f"{i:06d}.npy", values)
    return values


@pytest.mark.parametrize("suffix", ["png", "npy", "npz"])
def test_maps_of_a_folder(street, tmp_path, suffix):
    values = maps(tmp_path / "theirs", suffix)
    words = ["--maps", tmp_path / "theirs", "--quantity", "inverse_depth", "--scale", "affine"]
    assert run(street, *words, *(["--png-divisor", "1000"] if suffix == "png" else [])) == 0
    np.testing.assert_allclose(np.load(street / "prior" / "000002.npy"), values, atol=1e-3)
    prior = open_sequence(street).read(2, ("prior_depth",)).prior_depth
    np.testing.assert_allclose(1 / prior[0].numpy(), np.maximum(values, 0.09), atol=1e-3)  # 0 is far away
    assert json.loads((street / "prior" / "prior.json").read_text())["quantity"] == "inverse_depth"


def test_maps_of_another_size_keep_their_holes(street, tmp_path):
    (tmp_path / "theirs").mkdir()
    values = np.full((32, 48), 3, np.float32)
    values[:, :24] = 0
    for i in range(4):
        np.save(tmp_path / "theirs" / f"{i:06d}.npy", values)
    source = from_maps(tmp_path / "theirs", "depth", "metric", None)
    assert list(write_prior(open_sequence(street), source)) == [True] * 4
    assert np.unique(np.load(street / "prior" / "000003.npy")).tolist() == [0, 3]


def test_our_own_predictions_say_what_they_are(street, tmp_path):
    folder = tmp_path / "predicted"
    maps(folder, "npy")
    (folder / "prediction.json").write_text(json.dumps({"quantity": "depth", "scale": "up_to_scale"}))
    assert run(street, "--maps", folder) == 0
    stored = json.loads((street / "prior" / "prior.json").read_text())
    assert (stored["quantity"], stored["scale"]) == ("depth", "affine")


@pytest.mark.parametrize("quantity", ["depth", "inverse_depth"])
def test_prepare_keeps_what_priors_mean(street, tmp_path, quantity):
    """A prior that is read from the prepared folder is the one that is read from its source."""
    maps(tmp_path / "theirs", "npy")
    assert run(street, "--maps", tmp_path / "theirs", "--quantity", quantity, "--scale", "affine") == 0
    assert main(["prepare", str(street), str(tmp_path / "again")]) == 0
    before, after = (open_sequence(path).read(1, ("prior_depth",)).prior_depth for path in (street, tmp_path / "again"))
    assert torch.equal(before, after)
    assert json.loads((tmp_path / "again" / "prior" / "prior.json").read_text())["scale"] == "affine"


def test_affine_inverse_depth_may_be_negative_and_says_unknown_by_nan(street, tmp_path):
    (tmp_path / "theirs").mkdir()
    values = np.linspace(-4, 4, 32 * 48, dtype=np.float32).reshape(32, 48)
    values[:8] = np.nan
    for i in range(4):
        np.save(tmp_path / "theirs" / f"{i:06d}.npy", values)
    assert run(street, "--maps", tmp_path / "theirs", "--quantity", "inverse_depth", "--scale", "affine") == 0
    prior = open_sequence(street).read(0, ("prior_depth",)).prior_depth[0]
    assert (prior[:16] == 0).all()
    assert (prior[16:] > 0).all()
    assert prior[16, 0] > prior[40, 0] > prior[63, 95]


def test_other_priors_are_not_mixed_or_lost(street, tmp_path, capsys):
    maps(tmp_path / "theirs", "npy")
    maps(street / "prior", "png")  # of unknown origin
    words = ["--maps", tmp_path / "theirs", "--quantity", "depth", "--scale", "metric"]
    assert run(street, *words) == 2
    assert "unknown origin" in capsys.readouterr().err
    assert len(list((street / "prior").iterdir())) == 4
    assert run(street, *words, "--overwrite") == 0
    assert sorted(p.suffix for p in (street / "prior").iterdir()) == [".json", *[".npy"] * 4]
    assert run(street, *[*words[:-1], "affine"]) == 2


def test_what_cannot_be_used_is_said(street, tmp_path, capsys):
    maps(tmp_path / "theirs", "npy")
    assert run(street, "--maps", tmp_path / "theirs", "--quantity", "depth") == 2
    assert "--scale metric or affine" in capsys.readouterr().err
    assert run(street, "--maps", tmp_path / "theirs", "--scale", "affine") == 2
    assert "--quantity depth or inverse_depth" in capsys.readouterr().err
    (tmp_path / "theirs" / "000002.npy").unlink()
    assert run(street, "--maps", tmp_path / "theirs", "--quantity", "depth", "--scale", "affine") == 2
    assert "no map for frame 000002" in capsys.readouterr().err
    np.save(tmp_path / "theirs" / "000002.npy", np.zeros((64, 96), np.float32))
    assert run(street, "--maps", tmp_path / "theirs", "--quantity", "depth", "--scale", "affine") == 2
    assert "says nothing about frame 000002" in capsys.readouterr().err


def test_a_network_that_is_not_there(street, tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="cannot be loaded"):
        from_model(str(tmp_path / "nothing"), open_sequence(street))


def test_without_transformers_the_remedy_is_said(street, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'kinodepth\[prior\]'"):
        from_model("any", open_sequence(street))


def test_a_folder_that_holds_a_video(street, tmp_path):
    """Frames of a video have no files; the prior lies beside the video all the same."""
    frames = [np.asarray(Image.open(path)) for path in sorted((street / "images").iterdir())]
    shutil.rmtree(street / "images")
    write_video(street / "video.mp4", frames, 10)
    maps(tmp_path / "theirs", "npy")
    assert run(street, "--maps", tmp_path / "theirs", "--quantity", "depth", "--scale", "metric") == 0
    assert "prior_depth" in open_sequence(street).provides
    lonely = shutil.copy(street / "video.mp4", tmp_path / "walk.mp4")
    assert run(lonely, "--maps", tmp_path / "theirs", "--quantity", "depth", "--scale", "metric") == 2
