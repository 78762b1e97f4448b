"""vLLM's own command line, with the engine's processes forked instead of spawned.

usage: serve_vllm.py serve MODEL [vllm's options]

On a CPU vLLM spawns them whatever it is told, and each then loads half a gigabyte of Python again: a start takes twice
to six times as long, which is most of what the engine tests do. vLLM spawns because OpenMP's threads do not survive a
fork; with OMP_NUM_THREADS=1 there are none.
"""

import multiprocessing
import sys

import vllm.utils.system_utils

# Before anything else of vLLM is imported: the others take the function by its name.
vllm.utils.system_utils.get_mp_context = lambda: multiprocessing.get_context("fork")

from vllm.entrypoints.cli.main import main  # noqa: E402

sys.exit(main())
