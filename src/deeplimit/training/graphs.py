"""Evaluations of a training step that are recorded once and replayed: one launch in the place of thousands.

A recorded graph reads and writes the same memory each time. What it reads is therefore copied there before a replay, and what it has
written is copied out after it: states, slots and measures may keep what they are given for as long as they like.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.training.step import Info

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplimit.networks import Parameters
    from deeplimit.training.step import Batch, Step

Evaluation = Callable[["Parameters", "Batch"], Info]
"""Of parameters and a batch, such as `Step.evaluate`."""

Replay = Callable[[], None]
Record = Callable[[Callable[[], Info], "torch.device"], tuple[Info, Replay]]
"""From a call on a device, what it returned, and a function that computes it again into the same tensors."""

KEPT = 3
"""Recordings kept at once: of whole batches, of the last one of an epoch, and one more."""

WARM_UPS = 3
"""Calls before a recording, as PyTorch advises: libraries start, and cuDNN chooses its algorithms."""


def evaluation(step: Step, device: str) -> Evaluation | Recorder:
    """How a run evaluates: recorded on CUDA, where the network is launch-bound and the engine is `auto`; else as it is."""
    records = device.startswith("cuda") and step.network.launch_bound and step.engine.partition(":")[0] == "auto"
    return Recorder(step.evaluate, cuda_graph) if records else step.evaluate


class Recorder:
    """An evaluation with one recording for each shape of its arguments.

    Args:
        evaluate: a function of numbers alone: it must not look at any on the host, nor keep anything of what it is called with.
        record: how a call is recorded.
    """

    def __init__(self, evaluate: Evaluation, record: Record) -> None:
        """Nothing is recorded yet."""
        self.evaluate, self.record = evaluate, record
        self._recordings: dict[tuple[object, ...], _Recording] = {}

    def __call__(self, params: Parameters, batch: Batch) -> Info:
        """What the evaluation gives, in tensors of its own."""
        key = tuple((t.shape, t.dtype, t.device) for t in (*params.values(), *batch))
        # The one used last stands last; the first is the one to go.
        found = self._recordings.pop(key, None) or _Recording.of(self, params, batch=batch)
        while len(self._recordings) >= KEPT:
            del self._recordings[next(iter(self._recordings))]
        self._recordings[key] = found
        return found(params, batch)

    def release(self) -> None:
        """Give the memory of all recordings back."""
        self._recordings.clear()


@dataclass(frozen=True)
class _Recording:
    """Arguments that are read, results that are written, and what computes these from those."""

    params: Parameters
    batch: Batch
    info: Info
    replay: Replay

    @staticmethod
    def of(recorder: Recorder, params: Parameters, *, batch: Batch) -> _Recording:
        """Of a call with copies of these arguments."""
        own = {role: p.detach().clone() for role, p in params.items()}
        x, y = (t.detach().clone() for t in batch)
        info, replay = recorder.record(lambda: recorder.evaluate(own, (x, y)), x.device)
        return _Recording(own, (x, y), info, replay)

    def __call__(self, params: Parameters, batch: Batch) -> Info:
        for role, own in self.params.items():
            own.copy_(params[role])
        for own, given in zip(self.batch, batch, strict=True):
            own.copy_(given)
        self.replay()
        grads, running = _copied(self.info.grads), _copied(self.info.running)
        return dataclasses.replace(
            self.info, loss=self.info.loss.clone(), output=self.info.output.clone(), grads=grads, running=running
        )


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {role: t.clone() for role, t in tensors.items()}


def cuda_graph(call: Callable[[], Info], device: torch.device) -> tuple[Info, Replay]:
    """A recording as a CUDA graph, whose memory is free again once result and replay are.

    Reference: PyTorch, CUDA semantics, "CUDA Graphs": warm-up and recording on one stream that is not the default one.
    """
    import torch

    with torch.cuda.device(device):
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            info = call()
    return info, graph.replay
