"""The models of a run: names, seeds and settings of each, and which may train together."""

from __future__ import annotations

from forge_tui.runner import groups
from forge_tui.runs import run_models
from forge_tui.settings.schema import Settings, from_plain, to_plain


def settings(**sweep: list[object]) -> Settings:
    return from_plain(
        {
            "training": {"training_mode": "parallel", "max_parallel_workers": 9},
            "run": {"models": 2, "seed": 5},
            "engine": {"fuse": 3},
            "sweep": sweep,
        }
    )


def test_without_a_sweep_models_differ_in_seed_alone() -> None:
    given = settings()
    found = run_models.new_models(given)
    assert [(one.name, one.index, one.seed, one.combination) for one in found] == [
        ("cognate_planner_1", 1, 5, {}),
        ("cognate_planner_2", 2, 6, {}),
    ]
    assert (run_models.count(given), run_models.kinds(given), run_models.of_a_kind(given)) == (2, 1, 2)
    plain = to_plain(given)
    assert run_models.Configs(given, plain).of(2) is plain
    assert run_models.inspected(given) == [{}]
    assert run_models.rates(given, 8) == []


def test_all_seeds_of_a_config_stand_together_and_the_type_is_in_the_name() -> None:
    given = settings(model_type=["planner", "memory"], learning_rate=[0.1, 0.2])
    found = run_models.new_models(given)
    assert [one.name for one in found] == [
        *(f"cognate_planner_{index}" for index in (1, 2, 3, 4)),
        *(f"cognate_memory_{index}" for index in (5, 6, 7, 8)),
    ]
    assert [one.seed for one in found] == [5, 6] * 4
    assert found[2].combination == {"model_type": "planner", "learning_rate": 0.2}
    assert run_models.type_words(given) == "planner, memory"
    configs = run_models.Configs(given, to_plain(given))
    for one in found:
        own = from_plain(configs.of(one.index))
        assert {name: getattr(own.training, name) for name in one.combination} == one.combination
    assert configs.of(3) is configs.of(4)


def test_groups_are_of_one_kind_and_may_hold_several_rates() -> None:
    given = settings(learning_rate=[0.1, 0.2], batch_size=[8, 16])
    assert (run_models.count(given), run_models.kinds(given), run_models.of_a_kind(given)) == (8, 2, 4)
    configs = run_models.Configs(given, to_plain(given))
    # Configs in order: (0.1, 8), (0.1, 16), (0.2, 8), (0.2, 16), two seeds each.
    assert groups.queued(run_models.new_models(given), 3, configs.likeness) == [(1, 2, 5), (3, 4, 7), (6,), (8,)]
    assert groups.group_count(given) == 4
    assert run_models.rates(given, 3) == [(0.1, 0.0), (0.1, 0.0), (0.2, 0.0)]


def test_what_is_built_otherwise_is_inspected_once_each() -> None:
    given = settings(learning_rate=[0.1, 0.2], model_size=[2_000, 4_000], schedule=["constant", "cosine"])
    found = run_models.inspected(given)
    assert [one["training.model_size"] for one in found] == [2_000, 4_000]
    assert all(one["training.learning_rate"] == 0.1 for one in found)
