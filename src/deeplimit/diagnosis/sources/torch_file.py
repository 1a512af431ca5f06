"""Networks that PyTorch saved: state dicts, and checkpoints that hold one. Nothing in a file is ever run."""

from __future__ import annotations

import mmap
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit import checks, machine
from deeplimit.diagnosis.sources.reading import bad, computable, listed, short
from deeplimit.diagnosis.sources.source import Source

if TYPE_CHECKING:
    from torch import Tensor

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How files begin that `torch.save` writes: as a zip archive since PyTorch 1.6, as a pickle before."""

_INSIDE = ("state_dict", "model_state_dict", "model", "module", "network", "net", "weights", "params", "generator")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema")
_AVERAGES = ("model_ema.", "ema_model.", "ema.")  # prefixes of the copy inside a state dict
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")

_WAY_OUT = "run nothing here; where you trust the file, load it and save torch.save(model.state_dict(), FILE), or a safetensors file"


class StateDictSource(Source):
    """The tensors of a file of `torch.save`, mapped into memory where the format allows.

    A state dict may lie inside a checkpoint (`state_dict`, `model`, …, as Lightning and others write them); the prefixes of
    `DistributedDataParallel`, `torch.compile` and FSDP are taken off the names. A copy that averages over training is left out beside the
    weights themselves, and said so in the notes.

    Raises:
        InputError: the file needs code to be run, is broken, or holds no state dict.
    """

    def __init__(self, file: Path) -> None:
        self.title = str(file)
        checkpoint, notes = load_checkpoint(file)
        state, more = find_state_dict(checkpoint, file)
        self._tensors, others = _plain_tensors(state, file)
        if others:
            more = (*more, f"{file.name}: what holds no floating-point numbers is left out: {listed(others)}")
        self.notes = (*notes, *more)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, name: str) -> Tensor:
        checks.one_of(f"{self.title}: tensor", name, self._tensors)
        return computable(self._tensors[name].detach())


def load_checkpoint(file: Path) -> tuple[Any, tuple[str, ...]]:
    """What `torch.load(weights_only=True)` gives, and notes.

    Raises:
        InputError: it would run code, or the file is broken.
    """
    import torch

    zipped = is_zip(file)
    (_check_zip if zipped else _check_pickle)(file)
    mapped = zipped and file.suffix != ".safetensors"  # PyTorch goes by that ending, whatever is inside
    try:
        with warnings.catch_warnings(), file.open("rb") as stream:
            warnings.simplefilter("ignore")  # about old and new ways of pickling: it is read, or refused with a reason
            loaded = torch.load(file if mapped else stream, weights_only=True, mmap=mapped, map_location="cpu")
    except Exception as problem:
        raise _refused(file, problem) from problem
    old = f"{file.name}: in the format before PyTorch 1.6, which is read into memory as a whole"
    return loaded, () if zipped else (old,)


def is_zip(file: Path) -> bool:
    """Whether a file begins as a zip archive."""
    with file.open("rb") as stream:
        return stream.read(4) == ZIP


def _check_zip(file: Path) -> None:
    """Entries as `torch.save` writes them: not compressed, so that none is larger than the file."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
            texts = [] if packed else [archive.read(entry) for entry in pickles]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, EOFError) as problem:
        raise bad(file, "a zip archive of torch.save", problem) from problem
    if packed:
        raise bad(file, "a zip archive of torch.save, which compresses nothing", f"compressed {listed(packed)}")
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise bad(file, "a state dict", f"a TorchScript program; {_WAY_OUT}")
    if len(pickles) != 1:
        raise bad(
            file, "a zip archive of torch.save with one data.pkl", listed(e.filename for e in entries) or "nothing"
        )
    _check_claims(file, texts[0])


def _check_pickle(file: Path) -> None:
    machine.check_memory(str(file), float(file.stat().st_size))  # read as a whole
    with file.open("rb") as stream:
        if stream.read(1) != PICKLE:
            raise bad(file, "a file of torch.save", "neither a zip archive nor a pickle")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check_claims(file, content)


def _check_claims(file: Path, pickled: bytes | mmap.mmap) -> None:
    """`bytearray`, which PyTorch allows in a pickle, takes as much memory as a number in the file says."""
    if pickled.find(b"bytearray") >= 0:
        raise bad(file, "tensors and plain values", f"builtins.bytearray; {_WAY_OUT}")


def _refused(file: Path, problem: Exception) -> checks.InputError:
    """Which code the file asks for, or what is wrong with it."""
    said = str(problem)
    asked = re.search(r"GLOBAL ([\w.]+)", said)
    if asked:
        return bad(file, "a state dict", f"a pickle that needs the code of {asked[1]}; {_WAY_OUT}")
    if "Unsupported operand" in said:
        return bad(file, "a state dict", f"a pickle of something else; {_WAY_OUT}")
    detail = said.partition("WeightsUnpickler error:")[2] or said
    return bad(file, "a file of torch.save", f"{type(problem).__name__}: {detail}")


def find_state_dict(checkpoint: Any, file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The state dict in a checkpoint, with the names of the bare network, and notes.

    Raises:
        InputError: there is none.
    """
    inside, notes = _unwrapped(checkpoint), []
    if not isinstance(inside, Mapping) or not _has_tensors(inside):
        found = f"the entries {listed(map(str, inside))}" if isinstance(inside, Mapping) else type(inside).__name__
        raise bad(file, "a state dict, a dictionary of tensors by name", found)
    averaged = [key for key in _AVERAGED if isinstance(checkpoint, Mapping) and key in checkpoint]
    state = {str(name): value for name, value in inside.items()}
    own = {name: value for name, value in state.items() if not name.startswith(_AVERAGES)}
    if _has_tensors(own) and len(own) < len(state):
        averaged += sorted({name.partition(".")[0] for name in state.keys() - own.keys()})
        state = own
    if averaged:
        taken = any(inside is checkpoint.get(key) for key in averaged)
        said = "is what was read: there is nothing else" if taken else "stands beside the weights and is left out"
        notes.append(f"{file.name}: an average over training ({listed(averaged)}) {said}")
    return _bare_names(state), tuple(notes)


def _unwrapped(checkpoint: Any) -> Any:
    """What a checkpoint holds under a usual key, three levels down at most."""
    for _ in range(3):
        if not isinstance(checkpoint, Mapping):
            break
        keys = [key for key in (*_INSIDE, *_AVERAGED) if isinstance(checkpoint.get(key), Mapping)]
        inner = next((checkpoint[key] for key in keys if checkpoint[key]), None)
        if inner is None:
            break
        checkpoint = inner
    return checkpoint


def _has_tensors(state: Mapping[Any, Any]) -> bool:
    import torch

    return any(isinstance(value, torch.Tensor) for value in state.values())


def _bare_names(state: dict[str, Any]) -> dict[str, Any]:
    """Names without what compiling and distributing put before them; as they were where two would become one."""
    bare = {}
    distributed = all(name.startswith("module.") for name in state)
    for name, value in state.items():
        for wrapper in _WRAPPERS:
            name = name.replace(wrapper, "")
        bare[name.removeprefix("module.") if distributed else name] = value
    return bare if len(bare) == len(state) else state


def _plain_tensors(state: Mapping[str, Any], file: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The dense tensors of floating-point numbers, and the names of all else."""
    import torch

    size = file.stat().st_size
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        dense = isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta
        if not dense or not value.is_floating_point() or value.is_nested:
            continue
        if value.numel() * value.itemsize > size:  # an expanded view would fill the memory once it is computed with
            found = f"{tuple(value.shape)} of {value.dtype} in {size} bytes"
            raise bad(f"{file}: {short(name)}", "no more numbers than the file holds", found)
        plain[name] = value
    return plain, [name for name in state if name not in plain]
