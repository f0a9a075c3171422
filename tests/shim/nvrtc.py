"""Compiling the kernels for a GPU without one: NVRTC makes a cubin, and its log says what each kernel takes."""

import re
from dataclasses import dataclass

from adntn_ref.backends.launch import Instance, source_of


@dataclass(frozen=True)
class Usage:
    """Registers of a thread, bytes that it spills (stores and loads), bytes of static shared memory of a block."""

    registers: int
    spills: int
    shared: int


def compiled(instance: Instance, arch: str) -> dict[str, Usage]:
    """Compile an instance to a cubin for ``arch``; return what ptxas says of each kernel."""
    from cuda.bindings import nvrtc

    def done(result: tuple) -> tuple:
        assert result[0] == nvrtc.nvrtcResult.NVRTC_SUCCESS, (result[0], log())
        return result[1:]

    def log() -> str:
        size = nvrtc.nvrtcGetProgramLogSize(program)[1]
        text = b" " * size
        nvrtc.nvrtcGetProgramLog(program, text)
        return text.decode(errors="replace")

    source = source_of(instance).encode()
    (program,) = nvrtc.nvrtcCreateProgram(source, f"{instance.file}.cu".encode(), 0, [], [])[1:]
    options = [f"--gpu-architecture={arch}".encode(), b"--std=c++17", b"--ptxas-options=-v"]
    done(nvrtc.nvrtcCompileProgram(program, len(options), options))
    (size,) = done(nvrtc.nvrtcGetCUBINSize(program))
    cubin = b" " * size
    done(nvrtc.nvrtcGetCUBIN(program, cubin))
    assert cubin[:4] == b"\x7fELF"
    report = log()
    assert "warning" not in report, report
    nvrtc.nvrtcDestroyProgram(program)
    return usage_of(report)


def usage_of(log: str) -> dict[str, Usage]:
    """Read ptxas' report."""
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.partition("'")[0]
        registers = re.search(r"Used (\d+) registers", part)
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        assert registers is not None, part
        assert spills is not None, part
        shared = re.search(r"(\d+) bytes smem", part)
        found[name] = Usage(int(registers[1]), int(spills[1]) + int(spills[2]), int(shared[1]) if shared else 0)
    return found
