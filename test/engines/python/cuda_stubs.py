"""Stub libraries in place of the CUDA ones that PyPI's torch is linked to.

usage: cuda_stubs.py SITE_PACKAGES

The CPU build of vLLM never calls CUDA, but torch's libraries name 15 CUDA libraries and will not load without them,
and the wheels that hold those are 2.7 GB. So for each library that torch needs and that is not there, this makes one
of the same name with the symbols that torch asks of it, at the versions it asks for, each returning 100
(cudaErrorNoDevice). They go to torch/lib, which is torch's own search path. Needs readelf and gcc.
"""

import collections
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# What the system provides.
SYSTEM = re.compile(r"^(lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|util)\.so|ld-linux)")
# Undefined symbols that carry no version: those of CUDA by their prefix.
CUDA = re.compile(
    r"^_*(cuda|cu[A-Z]|cublas|cudnn|cufft|cufile|cuFile|curand|cusolver|cusparse|nccl|nvrtc|cupti|nvshmem|nvtx|nvJit)"
)


def readelf(*args):
    return subprocess.run(["readelf", *args], capture_output=True, text=True, check=True).stdout


def version_owners(library):
    """Version name → library that defines it, from the section of needed versions."""
    owner = None
    for line in readelf("-V", "-W", library).splitlines():
        if match := re.search(r"Version: 1\s+File: (\S+)", line):
            owner = match[1]
        elif owner and (match := re.search(r"\bName: (\S+)\s+Flags", line)):
            yield match[1], owner


def dynamic_symbols(library):
    """(name, version or "", is undefined, is weak) of each dynamic symbol."""
    for line in readelf("--dyn-syms", "-W", library).splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].endswith(":"):
            continue
        name, _, version = fields[7].partition("@")
        yield name, version.strip("@"), fields[6] == "UND", fields[4] == "WEAK"


def missing_symbols(torch_lib):
    """Library to stub → {symbol: version or ""}."""
    libraries = [str(path) for path in torch_lib.glob("*.so")]
    present = {path.name for path in torch_lib.iterdir()}
    needed, owners, undefined, defined = set(), {}, set(), set()
    for library in libraries:
        for name in re.findall(r"NEEDED.*\[(.+?)\]", readelf("-d", library)):
            if not SYSTEM.match(name) and name not in present:
                needed.add(name)
        owners.update(version_owners(library))
        for name, version, is_undefined, is_weak in dynamic_symbols(library):
            if not is_undefined:
                defined.add(name)
            elif not is_weak:
                undefined.add((name, version))
    stubs = {name: {} for name in sorted(needed)}
    for name, version in sorted(undefined):
        if version and owners.get(version) in needed:
            stubs[owners[version]][name] = version
        elif not version and name not in defined and CUDA.match(name):
            # Unversioned: the loader takes it from any library of the process.
            stubs[min(needed)].setdefault(name, "")
    return stubs


def build(out, symbols, work):
    assembly = [".text"]
    for name in symbols:
        assembly.append(f".globl {name}\n.type {name},@function\n{name}:\n mov $100,%eax\n ret")
    assembly.append('.section .note.GNU-stack,"",@progbits\n')
    source, script = work / "stub.s", work / "stub.map"
    source.write_text("\n".join(assembly))
    versions = collections.defaultdict(list)
    for name, version in symbols.items():
        if version:
            versions[version].append(name)
    script.write_text("".join(f"{v} {{ global: {'; '.join(names)}; }};\n" for v, names in versions.items()))
    command = ["gcc", "-shared", "-nostdlib", "-o", str(out), str(source), f"-Wl,-soname,{out.name}"]
    if versions:
        command.append(f"-Wl,--version-script={script}")
    subprocess.check_call(command)


def main():
    torch_lib = Path(sys.argv[1]) / "torch" / "lib"
    with tempfile.TemporaryDirectory() as work:
        for name, symbols in missing_symbols(torch_lib).items():
            build(torch_lib / name, symbols, Path(work))
            print(name, len(symbols))


if __name__ == "__main__":
    main()
