"""Stands in for SGLang's CUDA kernels, which its CPU path imports and never calls: there is no CPU wheel of them.

Whatever is asked of the module is a function that raises when it is called.
"""

__version__ = "0.4.10"


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def stub(*_args, **_kwargs):
        raise NotImplementedError(f"sgl_kernel.{name}")

    stub.__name__ = name
    return stub
