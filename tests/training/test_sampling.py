"""Text from language models: what was learned goes on, draws follow seed and temperature, and errors are in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from forge_tui.errors import UsageError
from forge_tui.training import sampling
from forge_tui.training.sampling import sample_text

LINE = "the quick brown fox jumps over the lazy dog;\n"


@pytest.fixture
def trained(make_job: Any, train: Any, tmp_path: Path) -> Any:
    """The stem of a model of a text."""

    def make(text: str = LINE * 30, directory: str = "run", **training: Any) -> Path:
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        job = make_job(directory, training={"dataset": "text.txt", "batch_size": 4, "learning_rate": 0.02, **training})
        train(job)
        return Path(job.directory) / job.model

    return make


@pytest.mark.parametrize("model_type", ["planner", "reasoner", "memory"])
def test_the_likeliest_text_goes_on_as_the_text_did(trained: Any, model_type: str) -> None:
    """Beyond the 64 characters that are seen at once, too."""
    stem = trained(model_type=model_type, model_size=8_000, epochs=80)
    text = "".join(sample_text(stem, prompt=LINE + LINE[:9], length=150, temperature=0.0))
    assert text == (LINE * 6)[: len(LINE) + 9 + 150]


def test_equal_seeds_give_equal_text_and_each_token_comes_alone(trained: Any) -> None:
    stem = trained(epochs=1)
    first, again, other = (list(sample_text(stem, prompt="the ", length=80, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert first[0] == "the "
    assert [len(piece) for piece in first[1:]] == [1] * 80


def test_without_a_prompt_a_line_begins_or_any_character_does(trained: Any) -> None:
    stem = trained(epochs=2)
    after_one = "".join(sample_text(stem, prompt="\n", length=30, seed=2))
    assert "".join(sample_text(stem, length=30, seed=2)) == after_one[1:]
    stem = trained("abc" * 300, "other", epochs=1)
    starts = {"".join(sample_text(stem, length=1, seed=seed)) for seed in range(20)}
    assert starts == {"a", "b", "c"}
    assert len("".join(sample_text(stem, length=10))) == 10


def test_the_caller_keeps_its_random_state(trained: Any) -> None:
    stem = trained(epochs=1)
    before = torch.get_rng_state()
    list(sample_text(stem, length=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_sees_no_more_than_it_was_trained_on(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stem, seen = trained(epochs=1), []

    def noted(model: Any, tokens: Any, *rest: Any) -> int:
        seen.append(len(tokens))
        return 0

    monkeypatch.setattr(sampling, "_next", noted)
    list(sample_text(stem, prompt=LINE, length=40))
    assert seen[:19] == list(range(len(LINE), 64))
    assert set(seen[19:]) == {64}


LOGITS = torch.tensor([0.0, 2.0, 1.0, -30.0], dtype=torch.float64)


def draws(count: int = 20_000, **given: Any) -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    values = {"temperature": 1.0, "top_k": None, **given}
    found = [sampling._drawn(LOGITS, values["temperature"], values["top_k"], random) for _ in range(count)]
    return torch.bincount(torch.tensor(found), minlength=4) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_chances_are_the_softmax_at_the_temperature(temperature: float) -> None:
    expected = torch.softmax(LOGITS / temperature, dim=0).float()
    torch.testing.assert_close(draws(temperature=temperature), expected, rtol=0.0, atol=0.015)


def test_the_least_likely_are_left_out_and_extremes_hold() -> None:
    among_two = draws(top_k=2)
    expected = torch.softmax(LOGITS[1:3], dim=0).float()
    torch.testing.assert_close(among_two, torch.tensor([0.0, expected[0], expected[1], 0.0]), rtol=0.0, atol=0.015)
    assert draws(20, top_k=1).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert draws(20, top_k=99).sum() == 1.0
    for temperature in (0.0, 1e-300, 5e-324):
        assert draws(20, temperature=temperature).tolist() == [0.0, 1.0, 0.0, 0.0]


def test_an_unknown_character_is_named(trained: Any) -> None:
    stem = trained("abc \n" * 100, epochs=1)
    with pytest.raises(
        UsageError, match=r"does not know the character 'é' \(number 3 of the prompt\).*It knows \\n ' ' a"
    ):
        sample_text(stem, prompt="abé")


def test_tokens_of_several_characters_are_found_the_longest_first() -> None:
    assert sampling._tokens("12+1=", ["1", "12", "+", "=", "2"], "m") == [1, 2, 0, 3]


def test_a_model_of_something_else_is_refused(make_job: Any, train: Any) -> None:
    job = make_job(training={"epochs": 1})
    train(job)
    stem = Path(job.directory) / job.model
    with pytest.raises(UsageError, match="cognate_planner_1 is a model for classification, no language model"):
        sample_text(stem)
    assert json.loads(stem.with_name(f"{stem.name}.json").read_bytes())["vocabulary"] is None
