"""The extension that native/module.cpp defines. Tensors are addresses, 0 for one that is not there; nothing is checked."""

from torch import Tensor

States = tuple[int, int, int]
Sizes = tuple[int, int, int, int, int]
Parameters = tuple[int, int, int, int, int]
Numbers = list[float]

def forward32(
    first_last_kept: States,
    E_L_n_q_m: Sizes,
    W_V_b_c_delta: Parameters,
    shared_delta: bool,
    activation: int,
    numbers: Numbers,
    interval: int,
    threads: int,
    /,
) -> None: ...
def backward32(
    direction_kept_first: States,
    gradients: Parameters,
    E_L_n_q_m: Sizes,
    W_V_b_c_delta: Parameters,
    shared_delta: bool,
    activation: int,
    numbers: Numbers,
    interval: int,
    threads: int,
    /,
) -> None: ...

forward64 = forward32
backward64 = backward32

Convolution = tuple[int, int, int, int, int, int, int, int]

def convolve32(
    first_last_kept_moments: tuple[int, int, int, int],
    L_n_C_H_W: Sizes,
    W_b_scale_shift_twice: Convolution,
    activation: int,
    numbers: Numbers,
    keeps: bool,
    threads: int,
    /,
) -> None: ...
def convolve_backward32(
    direction_kept_first: States,
    gradients: Convolution,
    L_n_C_H_W: Sizes,
    W_b_scale_shift_twice: Convolution,
    activation: int,
    numbers: Numbers,
    threads: int,
    /,
) -> None: ...

convolve64 = convolve32
convolve_backward64 = convolve_backward32

def convolution_size32(L_n_C_H_W: Sizes, keeps: bool, /) -> int: ...
def convolution_size64(L_n_C_H_W: Sizes, keeps: bool, /) -> int: ...
def empty32(shape: list[int]) -> Tensor: ...
def empty64(shape: list[int]) -> Tensor: ...
def kept_size32(E_L_n_q_m: Sizes, interval: int, /) -> int: ...
def kept_size64(E_L_n_q_m: Sizes, interval: int, /) -> int: ...
def instruction_sets() -> list[tuple[str, bool]]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str) -> None: ...
def release() -> None: ...
def memory() -> tuple[int, int, int]: ...
def reset_peak() -> None: ...
