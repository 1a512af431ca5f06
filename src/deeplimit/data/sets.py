"""The image data sets that are known: their files with checksums, where they come from, and on what terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from deeplimit import checks

PARTS = ("train", "test")
CLASSES = 10
"""Every set here has labels 0 … 9."""


@dataclass(frozen=True)
class File:
    """An original file.

    Args:
        name: without `.gz`.
        size: bytes, uncompressed.
        sha256: of the uncompressed content.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ImageSet:
    """A set of labelled images, in the files that its authors publish.

    Args:
        name: what commands and specifications call it.
        title: what it is, in a line.
        folder: of a data directory in which its files lie.
        format: how the files are written: `idx`, or the binary version of `cifar`.
        shape: of an image: channels, height, width.
        train, test: files of each part; of `idx` the images, then the labels.
        counts: part -> number of images.
        home: where it is downloaded from: one archive, or the address to which `NAME.gz` is added.
        terms: on what terms, as far as its authors say.
    """

    name: str
    title: str
    folder: str
    format: Literal["idx", "cifar"]
    shape: tuple[int, int, int]
    train: tuple[File, ...]
    test: tuple[File, ...]
    counts: Mapping[str, int]
    home: str
    terms: str

    @property
    def files(self) -> tuple[File, ...]:
        """The files of both parts."""
        return self.train + self.test

    def part(self, name: str) -> tuple[File, ...]:
        """The files of `train` or of `test`."""
        return self.train if checks.one_of("part", name, PARTS) == "train" else self.test

    def archives(self) -> dict[str, tuple[File, ...]]:
        """Address of each download -> the files in it."""
        if self.home.endswith(".tar.gz"):
            return {self.home: self.files}
        return {f"{self.home}{file.name}.gz": (file,) for file in self.files}


def _digits(name: str, title: str, home: str, *, terms: str, sha256: tuple[str, str, str, str]) -> ImageSet:
    """A set with the files and sizes of MNIST; checksums of train images and labels, test images and labels."""
    sizes = {"train-images-idx3": 47040016, "train-labels-idx1": 60008, "t10k-images-idx3": 7840016}
    sizes["t10k-labels-idx1"] = 10008
    files = tuple(
        File(f"{stem}-ubyte", size, digest) for (stem, size), digest in zip(sizes.items(), sha256, strict=True)
    )
    counts = MappingProxyType({"train": 60000, "test": 10000})
    return ImageSet(name, title, name, "idx", (1, 28, 28), files[:2], files[2:], counts, home, terms)


MNIST = _digits(
    "mnist",
    "handwritten digits, 28 × 28 grey (LeCun, Cortes, Burges)",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    terms="CC BY-SA 3.0, as its distributors say; its first page named no licence",
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

FASHION_MNIST = _digits(
    "fashion-mnist",
    "articles of clothing, 28 × 28 grey (Xiao, Rasul, Vollgraf 2017)",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    terms="MIT",
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

CIFAR_10 = ImageSet(
    "cifar-10",
    "photographs of ten kinds of things, 32 × 32 in colour (Krizhevsky 2009)",
    "cifar-10-batches-bin",
    "cifar",
    (3, 32, 32),
    tuple(
        File(f"data_batch_{number}.bin", 30730000, digest)
        for number, digest in enumerate(
            (
                "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            ),
            start=1,
        )
    ),
    (File("test_batch.bin", 30730000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),),
    MappingProxyType({"train": 50000, "test": 10000}),
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "no licence stated; its page asks to cite Krizhevsky 2009",
)

SETS = {known.name: known for known in (MNIST, FASHION_MNIST, CIFAR_10)}
"""Name -> set."""


def chosen(names: Iterable[str]) -> tuple[ImageSet, ...]:
    """The sets of these names, in the order of the table; all of them for no name and for `all`.

    Raises:
        InputError: a name is not known.

    >>> [found.name for found in chosen(["cifar-10", "mnist"])]
    ['mnist', 'cifar-10']
    """
    asked = {checks.one_of("data set", name, [*SETS, "all"]) for name in names}
    return tuple(known for name, known in SETS.items() if not asked or "all" in asked or name in asked)
