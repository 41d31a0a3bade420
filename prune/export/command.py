"""`python -m prune export PATH --onnx`: a pruned model as a file for other runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

from prune.base.errors import UserError
from prune.rundir.locate import WHICH, locate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", type=Path, help="a state's folder, a safetensors file in one, or a run's directory (its last finished state)"
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="write ONNX: raw RGB (or grey) images in [0, 1], NCHW, any batch size → logits; checked against torch",
    )
    parser.add_argument("--out", type=Path, help="the file to write (default: best.onnx or final.onnx in the state's folder)")
    parser.add_argument("--which", choices=WHICH, default="best", help="which of the state's models (default: best)")


def run(arguments: argparse.Namespace) -> int:
    """Write the file and print how it compares; raises `UserError` as `prune.load` and `write_onnx` do."""
    if not arguments.onnx:
        raise UserError("nothing to write: say which format, --onnx.")
    source = locate(arguments.path, arguments.which)
    from prune.export.onnx_file import CHECKED_BATCHES, TOLERANCE, write_onnx
    from prune.rundir.loading import load_state

    model, manifest = load_state(source)
    out: Path = arguments.out or source.folder / f"{source.which}.onnx"
    compared = write_onnx(model, manifest, out)
    data = manifest.data
    size = " × ".join(str(number) for number in (data.channels, *data.image_size))
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {manifest.parameters:,} parameters")
    print(f"  input   images: batch × {size}, float32, {'RGB' if data.channels == 3 else 'grey'} in [0, 1]")
    names = ", ".join(data.classes[:5]) + (", …" if len(data.classes) > 5 else "")
    print(f"  output  logits: batch × {len(data.classes)} ({names})")
    print(
        f"  checked with onnxruntime at batch sizes {' and '.join(map(str, CHECKED_BATCHES))}: logits differ from torch's by "
        f"at most {compared.difference:.1e}; {TOLERANCE * compared.scale:.1e} is allowed ({TOLERANCE:g} of the largest logit, "
        f"{compared.scale:.3g})"
    )
    return 0
