"""Text from a language model, one token after another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.protocol.record_fields import is_whole
from forge_tui.training.data.dataset import Task
from forge_tui.training.export import load_model, refuse_custom_loop
from forge_tui.training.outputs import kind
from forge_tui.training.record_file import read_model_record

_LINE_BREAK = "\n"


def sample_text(
    stem: str | os.PathLike[str],
    *,
    prompt: str = "",
    length: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    trust_code: bool = False,
) -> Iterator[str]:
    """Yield the prompt, then `length` tokens from the model of a path stem, each as soon as it is drawn.

    Tokens are drawn from the softmax of the logits / `temperature` (0: always the likeliest) among the `top_k`
    likeliest; equal seeds give equal text. The model gets as many tokens as its training window, so the cost per token
    is constant. Without a prompt it starts as after a line break, or with any character if that is unknown. Raises
    `UsageError`, before anything is drawn, for a model that is not a language model and for a prompt with an unknown
    character; and errors of `load_model`, which gets `trust_code`.
    """
    record = read_model_record(Path(stem))
    refuse_custom_loop(Path(stem), record)
    if record.get("task") != Task.NEXT_TOKEN.value:
        raise UsageError(
            f"{Path(stem).name} is a model for {record.get('task')}, no language model; "
            "text comes from models that were trained on a .txt file"
        )
    vocabulary: list[str] = record.get("vocabulary") or []
    # Models of earlier versions have no such key; they were trained on texts only.
    window = record.get("sequence_length") or record.get("split", {}).get("window")
    if not vocabulary or not is_whole(window):
        raise RunDirectoryError(f"{stem}.json is damaged: it has no vocabulary or no window; train the model again")
    random = torch.Generator().manual_seed(seed)
    tokens = _tokens(prompt, vocabulary, Path(stem).name)
    shown = prompt
    if not tokens and _LINE_BREAK in vocabulary:
        tokens = [vocabulary.index(_LINE_BREAK)]
    elif not tokens:
        tokens = [int(torch.randint(len(vocabulary), (), generator=random))]
        shown, length = vocabulary[tokens[0]], length - 1
    model = load_model(stem, trust_code)

    def text() -> Iterator[str]:
        yield shown
        for _ in range(length):
            try:
                tokens.append(_next(model, tokens[-window:], temperature, top_k, random))
            except (RuntimeError, IndexError) as error:
                raise RunDirectoryError(f"{stem}.json does not describe its model: {error}") from error
            yield vocabulary[tokens[-1]]

    return text()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside: a token is too little work to share, and on a busy machine threads that wait for
    each other take far longer (a memory of 100,000 parameters: 18 to 27 ms per token with two, 7 with one).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _next(
    model: nn.Module, tokens: Sequence[int], temperature: float, top_k: int | None, random: torch.Generator
) -> int:
    with torch.inference_mode():
        given = model(torch.tensor([tokens]))
    if not isinstance(given, Tensor):
        raise UsageError(f"the model gives {kind(given)}: text is made only by models that give one tensor of logits")
    logits = given[0, -1].double()
    return _drawn(logits, temperature, top_k, random)


def _drawn(logits: Tensor, temperature: float, top_k: int | None, random: torch.Generator) -> int:
    """The token drawn from logits (vocabulary,)."""
    if temperature == 0.0:
        return int(logits.argmax())
    likeliest = logits.topk(min(top_k or len(logits), len(logits)))
    # Shifted so that the largest is 0: a low temperature can then only give minus infinity.
    chances = torch.softmax((likeliest.values - likeliest.values[0]) / temperature, dim=0)
    return int(likeliest.indices[torch.multinomial(chances, 1, generator=random)])


def _tokens(text: str, vocabulary: Sequence[str], model: str) -> list[int]:
    """The token numbers of a text; longer tokens are preferred."""
    numbers = {token: number for number, token in enumerate(vocabulary)}
    known = re.compile("|".join(re.escape(token) for token in sorted(vocabulary, key=len, reverse=True)))
    found, place = [], 0
    while place < len(text):
        match = known.match(text, place)
        if match is None or not match[0]:
            raise UsageError(
                f"--prompt: {model} does not know the character {text[place]!r} (number {place + 1} of the prompt): "
                f"its text had none. It knows {_listed(vocabulary)}"
            )
        found.append(numbers[match[0]])
        place = match.end()
    return found


def _listed(vocabulary: Sequence[str], most: int = 100) -> str:
    shown = " ".join(repr(token)[1:-1] if token != " " else "' '" for token in vocabulary[:most])
    return f"{shown} and {len(vocabulary) - most} more" if len(vocabulary) > most else shown
