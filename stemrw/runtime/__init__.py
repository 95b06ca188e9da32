"""Access to the built runtime image: its bytes, symbols, and the ABI's constants and struct layouts.

The build (`runtime/build.py`) compiles `runtime/` into `image-x86_64.bin` and describes it in `image-x86_64.json`.
Python knows no number of the C side but through this description.
"""

from stemrw.runtime._image import RuntimeImage, load_image

__all__ = ["RuntimeImage", "load_image"]
