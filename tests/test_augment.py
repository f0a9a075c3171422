"""Augmentation against loops that copy its definition, and images of another size."""

import numpy as np
import pytest
from data_files import small_part
from hypothesis import given
from hypothesis import strategies as st
from small import split

from adntn_ref.errors import DataError
from adntn_ref.nn.data import Augmentation, Part, Split, padded_to, resized_to


@given(st.integers(0, 3), st.booleans(), st.integers(1, 3), st.integers(0, 5))
def test_against_a_loop(padding: int, mirror: bool, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((5, channels, 4, 3)).astype("f4")
    black = rng.standard_normal((channels, 1, 1)).astype("f4")
    augmentation = Augmentation(padding, mirror)
    choices = augmentation.choices(seed, 2, 20)
    rows = rng.permutation(20)[:5]
    before = images.copy()
    got = augmentation.apply(images, choices, rows, black)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(images, before)
    for image, row, changed in zip(images, rows, got, strict=True):
        padded = np.broadcast_to(black, (channels, 4 + 2 * padding, 3 + 2 * padding)).copy()
        padded[:, padding : padding + 4, padding : padding + 3] = image
        down, right = choices.shifts[row] + padding
        crop = padded[:, down : down + 4, right : right + 3]
        np.testing.assert_array_equal(changed, crop[:, :, ::-1] if choices.mirrored[row] else crop)


def test_choices_come_from_seed_and_epoch_alone() -> None:
    augmentation = Augmentation()
    one, same_again, other_epoch, other_seed = (
        augmentation.choices(seed, epoch, 500) for seed, epoch in ((1, 2), (1, 2), (1, 3), (2, 2))
    )
    np.testing.assert_array_equal(one.shifts, same_again.shifts)
    np.testing.assert_array_equal(one.mirrored, same_again.mirrored)
    for other in (other_epoch, other_seed):
        assert not np.array_equal(one.shifts, other.shifts)
        assert not np.array_equal(one.mirrored, other.mirrored)
    assert set(one.shifts.ravel().tolist()) == set(range(-4, 5))
    assert 200 < one.mirrored.sum() < 300
    assert not Augmentation(mirror=False).choices(1, 2, 500).mirrored.any()
    assert not Augmentation(0).choices(1, 2, 500).shifts.any()


@pytest.mark.parametrize("padding", [-1, 1.5, True, "4"])
def test_padding_is_checked(padding: object) -> None:
    with pytest.raises(DataError, match=r"padding of an augmentation: got .* allowed are whole numbers from 0"):
        Augmentation(padding)  # type: ignore[arg-type]


def test_padded_to() -> None:
    data = split(side=28, counts=(6, 3, 3))
    data.mean, data.std = 0.25, 0.5
    larger = padded_to(data, 32)
    assert larger.train.images.shape == (6, 1, 32, 32)
    np.testing.assert_array_equal(larger.train.images[:, :, 2:-2, 2:-2], data.train.images)
    border = np.ones((32, 32), dtype=bool)
    border[2:-2, 2:-2] = False
    assert set(larger.validation.images[:, :, border].ravel().tolist()) == {-0.5}
    assert larger.train.images[0, 0, 0, 0] * larger.std + larger.mean == 0
    assert (larger.name, larger.classes, larger.seed, larger.test_size) == ("blobs", 4, 0, 3)
    assert "opened" not in repr(larger)
    np.testing.assert_array_equal(larger.open_test().labels, data.open_test().labels)
    assert "opened" in repr(padded_to(data, 28))  # what was opened stays opened
    np.testing.assert_array_equal(padded_to(data, 29).train.images[:, :, :-1, :-1], data.train.images)
    with pytest.raises(DataError, match="images of 28x28 pixels cannot be padded to 27x27"):
        padded_to(data, 27)


def test_black_of_colours() -> None:
    part = Part(np.zeros((2, 3, 2, 2)), np.zeros(2, dtype=np.int64))
    mean, std = np.array([0.1, 0.2, 0.3])[:, None, None], np.array([1.0, 2.0, 0.5])[:, None, None]
    made = Split(part, part, part, name="x", classes=2, seed=0, mean=mean, std=std)
    np.testing.assert_allclose(made.black.ravel(), [-0.1, -0.1, -0.6])
    np.testing.assert_allclose(padded_to(made, 4).train.images[0, :, 0, 0], [-0.1, -0.1, -0.6])
    assert small_part().images.shape[1] == 1


@pytest.mark.parametrize("size", [8, 28, 32, 45])
def test_resized_to(size: int) -> None:
    torch = pytest.importorskip("torch")
    data = split(side=28, counts=(6, 3, 3))
    larger = resized_to(data, size)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(data.train.images), (size, size), mode="bilinear", align_corners=False
    )
    assert larger.train.images.dtype == data.train.images.dtype
    np.testing.assert_allclose(larger.train.images, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert larger.open_test().images.shape[2:] == (size, size)


def test_resizing_keeps_lines_and_borders() -> None:
    slope = np.broadcast_to(np.arange(4.0)[:, None], (4, 4))
    part = Part(slope[None, None].copy(), np.zeros(1, dtype=np.int64))
    got = resized_to(Split(part, part, part, name="slope", classes=10, seed=0, mean=0.0, std=1.0), 8).train.images[0, 0]
    np.testing.assert_allclose(got, np.broadcast_to(np.clip(np.arange(8) / 2 - 0.25, 0, 3)[:, None], (8, 8)))


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_the_size_is_checked(size: object) -> None:
    with pytest.raises(DataError, match="size of resized images"):
        resized_to(split(side=28, counts=(6, 3, 3)), size)  # type: ignore[arg-type]
