"""Shapes, starts from ImageNet and folding of the shared networks. Their numbers are tested in tests/golden."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from kinodepth.networks.batch_norm import BatchNorm2d
from kinodepth.networks.depth_decoder import DepthDecoder, ReflectConv
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.networks.packing import PackedConv2d, pack_convolutions
from kinodepth.networks.pose_net import PoseNet
from kinodepth.networks.resnet import ResNetEncoder
from kinodepth.types import InputError


@pytest.mark.parametrize(("layers", "last"), [(18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048)])
def test_encoder_halves_five_times(layers, last):
    encoder = ResNetEncoder(layers).eval()
    features = encoder(torch.rand(1, 3, 64, 96))
    assert [f.shape[1] for f in features] == encoder.channels
    assert encoder.channels[-1] == last
    assert [tuple(f.shape[-2:]) for f in features] == [(64 >> i, 96 >> i) for i in range(1, 6)]
    assert not any(".fc." in key for key in encoder.state_dict())


def test_encoder_of_unknown_depth():
    with pytest.raises(InputError, match="20 layers"):
        ResNetEncoder(20)


def test_six_channel_stem_is_the_repeated_kernel_halved(tmp_path):
    source = timm.create_model("resnet18")
    nn.init.normal_(source.conv1.weight)
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    three = ResNetEncoder(18, 3, pretrained=tmp_path / "resnet18.pth")
    six = ResNetEncoder(18, 6, pretrained=str(tmp_path / "resnet18.pth"))
    assert torch.equal(three.body.conv1.weight, source.conv1.weight)
    torch.testing.assert_close(six.body.conv1.weight, source.conv1.weight.repeat(1, 2, 1, 1) / 2)
    assert torch.equal(six.body.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_missing_start_weights_are_explained(tmp_path):
    with pytest.raises(InputError, match="ImageNet weights"):
        ResNetEncoder(18, pretrained=tmp_path / "nowhere.pth")


def test_decoder_builds_and_computes_only_what_is_asked():
    channels = [4, 6, 8, 10, 12]
    features = [torch.rand(2, c, 32 >> i, 64 >> i) for i, c in enumerate(channels)]
    decoder = DepthDecoder(channels)
    assert list(decoder.heads) == ["0"]
    logits = decoder(features)
    assert {s: tuple(z.shape) for s, z in logits.items()} == {0: (2, 1, 64, 128)}
    assert set(DepthDecoder(channels, scales=(0, 2))(features)) == {0, 2}


def test_random_start_lets_residual_branches_speak():
    assert all((module.weight == 1).all() for module in ResNetEncoder(18).modules() if isinstance(module, BatchNorm2d))


@pytest.mark.parametrize("layers", [18, 50])
def test_folding_changes_nothing_but_the_layers(layers):
    torch.manual_seed(0)
    encoder = ResNetEncoder(layers).double()
    for module in encoder.modules():
        if isinstance(module, BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    image = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    fused = fuse_batch_norm(encoder)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(fused(image)[-1], encoder.eval()(image)[-1])


def test_pose_net_sees_the_order_of_its_images():
    torch.manual_seed(0)
    net = PoseNet().eval()
    a, b = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert net(a, b).shape == (2, 6)
        assert not torch.allclose(net(a, b), net(b, a), rtol=1e-3)


@torch.inference_mode()
def test_packed_convolutions_are_the_same():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.Identity(), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.Conv2d(8, 5, 1), nn.ELU(), ReflectConv(5, 4), nn.ReLU(),
    ).eval()  # fmt: skip
    packed = pack_convolutions(copy.deepcopy(network))
    assert [type(module) for module in packed] == [
        PackedConv2d, nn.Identity, nn.Identity, PackedConv2d, PackedConv2d, nn.ELU, ReflectConv, nn.ReLU
    ]  # fmt: skip
    for shape in ((1, 3, 24, 32), (2, 3, 10, 14)):
        image = torch.randn(shape)
        torch.testing.assert_close(packed(image), network(image))
        with torch.autocast("cpu", torch.bfloat16):
            assert packed(image).dtype == torch.bfloat16
            torch.testing.assert_close(packed(image), network(image), rtol=0.05, atol=0.02)
        torch.testing.assert_close(packed(image), network(image))  # full precision comes back
    torch.testing.assert_close(packed.double()(image.double()), network.double()(image.double()))  # by the plain ones


def test_a_packed_leaky_relu_has_its_slope():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.3), nn.Conv2d(8, 8, 3)).eval()
    packed = pack_convolutions(copy.deepcopy(network))
    assert [type(module) for module in packed] == [PackedConv2d, nn.Identity, PackedConv2d]
    image = torch.randn(2, 3, 12, 16)
    torch.testing.assert_close(packed(image), network(image))
    torch.testing.assert_close(packed.double()(image.double()), network.double()(image.double()))


def test_networks_elsewhere_are_not_packed():
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    assert type(pack_convolutions(network)[0]) is nn.Conv2d
