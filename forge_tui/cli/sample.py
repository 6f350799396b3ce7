"""`sample RUN MODEL`: text from a finished language model."""

from __future__ import annotations

import argparse
import io
import math
import sys

from forge_tui.safe_io.printing import harmless
from forge_tui.settings.amounts import whole_number


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", help="run directory, name or run id")
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model's name, or its number; without it the best")
    parser.add_argument("--prompt", metavar="TEXT", default="", help="the beginning of the text")
    parser.add_argument("--length", metavar="N", type=_count, default=200, help="characters to add (default: 200)")
    parser.add_argument(
        "--temperature",
        metavar="T",
        type=_temperature,
        default=1.0,
        help="sampling temperature; 0: always the likeliest character (default: 1)",
    )
    parser.add_argument("--top-k", metavar="K", type=_count, help="sample from the K likeliest characters only")
    parser.add_argument("--seed", metavar="S", type=_seed, default=0, help="random seed (default: 0)")
    parser.add_argument("--trust-code", action="store_true", help="run custom code of a run that you have not started")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the text to stdout as it is generated: the prompt, then the new characters; nothing else."""
    from forge_tui import client
    from forge_tui.cli.best import require_best

    with client.attach(arguments.run) as attached:
        if arguments.model is None:
            model = require_best(attached.id, attached.snapshot()).model
        else:
            model = attached.model_named(arguments.model)
        stem = attached.directory.stem(model.name)
    # Imported after the run was found: a missing run is reported at once, without importing torch.
    from forge_tui.training.sampling import one_thread, sample_text

    pieces = sample_text(
        stem,
        prompt=arguments.prompt,
        length=arguments.length,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        seed=arguments.seed,
        trust_code=arguments.trust_code,
    )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the text may have characters outside the terminal's encoding
    terminal = sys.stdout.isatty()
    with one_thread():
        for piece in pieces:
            sys.stdout.write(harmless(piece) if terminal else piece)
            sys.stdout.flush()
    if terminal:
        sys.stdout.write("\n")
    return 0


def _count(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = whole_number(text)
    except ValueError:
        number = -1
    if not least <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, at least {least}")
    return number


def _temperature(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number, at least 0")
    return number
