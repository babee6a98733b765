"""Precision of a run on a CPU: bfloat16 where the processor computes it natively, float32 elsewhere.

Without such instructions PyTorch emulates bfloat16: a matrix product takes thirty times as long as in float32 on AVX2,
and twice as long on AVX-512 without `avx512_bf16` (python -m tests.benchmarks.training_speed measures whole steps).
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import torch

# What decides how fast a network trains, as `torch.cpu.get_capabilities` names it on x86 and on Arm.
INSTRUCTIONS = (
    *("avx", "avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"),
    *("neon", "bf16", "sve", "sve2", "sve_bf16"),
)
NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16", "sve_bf16"}
# The best instructions that oneDNN may use when told so, after https://uxlfoundation.github.io/oneDNN (CPU dispatcher
# control). From AVX512_CORE_BF16 on there is bfloat16; AVX2_VNNI_2 converts it, but does not compute with it.
WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


@dataclass(frozen=True)
class Processor:
    """The CPU of this machine.

    Attributes:
        name: the maker's.
        instructions: those of `INSTRUCTIONS` that it has.
        limits: environment variables that keep PyTorch from using all of them.
        native_bfloat16: whether PyTorch's matrix products and convolutions in bfloat16 run on instructions for it.
    """

    name: str
    instructions: tuple[str, ...]
    limits: dict[str, str]
    native_bfloat16: bool

    @classmethod
    def read(cls) -> Processor:
        """Describe the CPU of this machine."""
        found = torch.cpu.get_capabilities()
        instructions = tuple(name for name in INSTRUCTIONS if found.get(name))
        limits = {name: os.environ[name] for name in (*ONEDNN_LIMITS, "ATEN_CPU_CAPABILITY") if name in os.environ}
        allowed = not {limits.get(name, "").upper() for name in ONEDNN_LIMITS} & WITHOUT_BFLOAT16
        native = allowed and torch.backends.mkldnn.is_available() and bool(NATIVE_BFLOAT16.intersection(instructions))
        return cls(str(found.get("cpu_name", "unknown CPU")), instructions, limits, native)

    def record(self) -> dict[str, Any]:
        """Return the attributes for run.json and for the results of benchmarks."""
        return asdict(self)

    def __str__(self) -> str:
        limits = (f"limited by {name}={value}" for name, value in self.limits.items())
        return f"{self.name} ({', '.join([*self.instructions, *limits])})"


def explain_precision(bfloat16: bool, device: torch.device, processor: Processor) -> str:
    """Say in one line which precision a run has, and why.

    Args:
        bfloat16: whether it computes in bfloat16, else float32.
        device: where it runs.
        processor: see `Processor.read`; only counts where the device is a CPU.
    """
    chosen = "bfloat16" if bfloat16 else "float32"
    if device.type != "cpu":
        return f"precision: {chosen} on {device}"
    if bfloat16 and not processor.native_bfloat16:
        return (
            f"warning: precision: bfloat16 as asked for, but {processor} has no instructions for it, so that float32 "
            "(--bf16 false) would be several times faster"
        )
    has = "computes bfloat16 natively" if processor.native_bfloat16 else "has no bfloat16 instructions"
    hint = "; --bf16 true is faster" if processor.native_bfloat16 and not bfloat16 else ""
    return f"precision: {chosen}; {processor} {has}{hint}"
