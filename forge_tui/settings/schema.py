"""The settings schema: every setting with its type, default, allowed range and one line of documentation.

The form, the flags, the environment variables and the TOML file are all derived from these classes.
Types are strict: `true` is not 1 and `"5"` is not 5. Descriptions are ASCII: `--help` prints them on any terminal.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.checked import Rule, checked
from forge_tui.settings.keys import FREE_TABLES, LARGEST_INTEGER, Key, free_key, keys_of
from forge_tui.settings.problems import did_you_mean, nearest_meaning, shown
from forge_tui.settings.search import too_many_trials
from forge_tui.settings.space import SPACE, checked_space
from forge_tui.settings.space import TABLE as SEARCH
from forge_tui.settings.sweep import TABLE as SWEEP
from forge_tui.settings.sweep import checked_sweep, too_many

_Count = Annotated[int, Rule(ge=1, le=LARGEST_INTEGER)]
_Rate = Annotated[float, Rule(ge=0.0, lt=1.0)]


@checked
@dataclass
class TrainingConfig:
    """How each model is built and trained.

    The first twelve fields may be given by position; the others by keyword only. A value out of range raises
    `ValueError` with the field, the value and what is allowed.
    """

    model_type: Annotated[
        Literal["planner", "reasoner", "memory"] | Annotated[str, Rule(own_code=True)],
        Rule(description="architecture: residual MLP, Transformer, recurrent network with attention, or custom code"),
    ] = "planner"
    model_size: Annotated[
        int, Rule(ge=1_000, le=1_000_000_000, description="number of parameters; met to within 5 %")
    ] = 100_000
    learning_rate: Annotated[float, Rule(gt=0.0, le=10.0, description="step size of the optimizer")] = 0.001
    batch_size: Annotated[int, Rule(ge=1, le=LARGEST_INTEGER, description="samples per step")] = 32
    epochs: Annotated[int | None, Rule(ge=1, le=LARGEST_INTEGER, description="passes over the training data")] = 100
    grokfast_enabled: Annotated[bool, Rule(description="amplify slow gradients (GrokFast)")] = False
    grokfast_alpha: Annotated[
        float, Rule(ge=0.0, lt=1.0, description="GrokFast: momentum of the gradient's moving average")
    ] = 0.98
    grokfast_lambda: Annotated[float, Rule(ge=0.0, description="GrokFast: how much of the slow gradient is added")] = (
        2.0
    )
    dataset: Annotated[
        str,
        Rule(
            min_length=1,
            description="`synthetic`, `modular`, a table (.csv, .tsv, .parquet, .arrow, .jsonl), a .npy, .npz "
            "or .txt file, or custom code",
        ),
    ] = "synthetic"
    checkpoint_interval: Annotated[int, Rule(ge=1, le=LARGEST_INTEGER, description="epochs between checkpoints")] = 10
    training_mode: Annotated[
        Literal["series", "parallel"], Rule(description="one model after another, or several at once")
    ] = "series"
    max_parallel_workers: Annotated[
        int, Rule(ge=1, le=LARGEST_INTEGER, description="workers asked for in parallel mode")
    ] = 3

    optimizer: Annotated[
        Literal["adam", "adamw", "sgd", "muon"],
        Rule(
            description="adam couples weight decay, adamw decouples it; muon: adamw with orthogonal steps of matrices"
        ),
    ] = field(default="adam", kw_only=True)
    weight_decay: Annotated[float, Rule(ge=0.0, description="weight decay of the optimizer")] = field(
        default=0.0, kw_only=True
    )
    betas: Annotated[
        tuple[_Rate, _Rate],
        Rule(description="Adam and AdamW: decay rates of the moment estimates"),
    ] = field(default=(0.9, 0.999), kw_only=True)
    momentum: Annotated[float, Rule(ge=0.0, lt=1.0, description="SGD: momentum")] = field(default=0.0, kw_only=True)
    grokfast_filter: Annotated[
        Literal["ema", "ma"], Rule(description="GrokFast: exponential or windowed moving average")
    ] = field(default="ema", kw_only=True)
    grokfast_window: Annotated[
        int, Rule(ge=1, le=LARGEST_INTEGER, description="GrokFast: steps in the windowed average")
    ] = field(default=100, kw_only=True)
    on_divergence: Annotated[
        Literal["fail", "lower"],
        Rule(description="a loss that is NaN or infinite: fail the model, or return to a checkpoint with a lower rate"),
    ] = field(default="fail", kw_only=True)
    divergence_factor: Annotated[
        float,
        Rule(gt=0.0, lt=1.0, description="factor on the learning rate when a model returns to a checkpoint"),
    ] = field(default=0.5, kw_only=True)
    schedule: Annotated[
        Literal["constant", "cosine", "linear", "one_cycle"],
        Rule(description="learning-rate schedule: constant, cosine or linear decay to 0, or one cycle"),
    ] = field(default="constant", kw_only=True)
    warmup_steps: Annotated[
        int,
        Rule(ge=0, le=LARGEST_INTEGER, description="linear warm-up of the learning rate over this many steps"),
    ] = field(default=0, kw_only=True)
    gradient_clip: Annotated[float, Rule(ge=0.0, description="maximum gradient norm of a model (0: off)")] = field(
        default=0.0, kw_only=True
    )
    accumulate: Annotated[
        int, Rule(ge=1, le=LARGEST_INTEGER, description="gradient accumulation: batches per optimizer step")
    ] = field(default=1, kw_only=True)
    label_smoothing: Annotated[
        float, Rule(ge=0.0, lt=1.0, description="classes and tokens: label smoothing (0: off)")
    ] = field(default=0.0, kw_only=True)
    weights_average: Annotated[
        float,
        Rule(ge=0.0, lt=1.0, description="decay of the weights' moving average, which is saved as the model (0: off)"),
    ] = field(default=0.0, kw_only=True)
    loss: Annotated[
        Literal["auto"] | Annotated[str, Rule(own_code=True)],
        Rule(description="loss function: cross entropy or mean squared error, as the data requires, or custom code"),
    ] = field(default="auto", kw_only=True)
    metric: Annotated[
        Literal["auto"] | Annotated[str, Rule(own_code=True)],
        Rule(
            description="validation metric: accuracy or perplexity, as the data requires, and custom code beside them"
        ),
    ] = field(default="auto", kw_only=True)
    metric_goal: Annotated[
        Literal["higher", "lower"],
        Rule(
            description="which value of a custom metric is better",
            older=(("largest", "higher"), ("least", "lower")),
        ),
    ] = field(default="higher", kw_only=True)
    select_by: Annotated[
        str,
        Rule(
            min_length=1,
            description="metric that decides which model is the best, early stopping and halving; auto: the "
            "validation loss for these two, and for the best a custom metric, accuracy or perplexity first",
        ),
    ] = field(default="auto", kw_only=True)
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Rule(description="compute precision; bfloat16: mixed precision (weights and sums stay float32)"),
    ] = field(default="float32", kw_only=True)
    compile: Annotated[
        bool,
        Rule(description="torch.compile the model: about 30 s to compile; speeds up some models; needs a C++ compiler"),
    ] = field(default=False, kw_only=True)
    kernel: Annotated[
        Literal["auto", "eager", "native"],
        Rule(
            description="what carries out a training step: torch operations (eager), or for planners on features a "
            "native kernel, compiled once by the machine's C++ compiler; auto: native where it can and is faster",
        ),
    ] = field(default="auto", kw_only=True)
    patience: Annotated[
        int,
        Rule(
            ge=0,
            le=LARGEST_INTEGER,
            description="early stopping: epochs without a better validation loss (or metric of select_by) before a "
            "model stops; the best epoch's weights are kept (0: off)",
        ),
    ] = field(default=0, kw_only=True)
    min_delta: Annotated[float, Rule(ge=0.0, description="early stopping: minimum improvement of a better epoch")] = (
        field(default=0.0, kw_only=True)
    )
    train: Annotated[
        Literal["none"] | Annotated[str, Rule(own_code=True)],
        Rule(description="custom training loop: a function that is called with a trial, instead of a built-in model"),
    ] = field(default="none", kw_only=True)

    @property
    def length(self) -> int:
        """`epochs`, where something other than a command trains. Raises `SettingsError` if there are none."""
        if self.epochs is None:
            raise SettingsError("training.epochs = none: only a command goes without; give a number (--epochs N)")
        return self.epochs


@checked
@dataclass(kw_only=True)
class RunSettings:
    """What is trained, and where to."""

    models: Annotated[int, Rule(ge=1, le=100_000, description="how many models; they differ in seed")] = 3
    seed: Annotated[
        int,
        Rule(
            ge=0,
            le=LARGEST_INTEGER,
            description="base seed, of data and split too; model n uses seed + n - 1",
        ),
    ] = 0
    output: Annotated[str | None, Rule(min_length=1, description="run directory; by default runs/DATE-TIME-TYPE")] = (
        None
    )
    max_retries: Annotated[
        int, Rule(ge=0, le=LARGEST_INTEGER, description="failures of a model allowed since its newest checkpoint")
    ] = 2
    keep_checkpoints: Annotated[
        int, Rule(ge=2, le=LARGEST_INTEGER, description="newest checkpoints kept while a model trains")
    ] = 2
    max_seconds: Annotated[
        float | None,
        Rule(gt=0.0, description="stop after a checkpoint when the run has lasted this long (seconds)"),
    ] = None
    halving: Annotated[
        int | None,
        Rule(
            ge=2,
            le=LARGEST_INTEGER,
            description="successive halving: of the models that reach a rung the 1/N with the lowest validation loss "
            "continue, the others stop",
        ),
    ] = None
    halving_first: Annotated[
        int, Rule(ge=1, le=LARGEST_INTEGER, description="epochs of the first rung; each next one has N times as many")
    ] = 1
    hang_seconds: Annotated[
        float,
        Rule(ge=0.0, description="end and retry a worker without a step for this long (seconds; 0: never)"),
    ] = 1800.0
    after: Annotated[
        str | None, Rule(min_length=1, description="begin when this run has ended (directory, name or id)")
    ] = None
    command: Annotated[
        tuple[str, ...],
        Rule(
            description="command and arguments that train each model, without a shell; after -- on the command line; "
            "{seed}, {index}, {name}, {epochs}, {device}, {directory} and keys of [model] are filled in"
        ),
    ] = ()
    parse: Annotated[
        str | None,
        Rule(
            min_length=1,
            description="a command's metrics: `json` (objects on its stdout), or a regular expression with named "
            "groups for lines of its output; by default those that it reports",
        ),
    ] = None
    on_finish: Annotated[
        tuple[str, ...],
        Rule(
            description="command and arguments to run at the end, without a shell; {run}, {state} and {directory} are "
            "filled in"
        ),
    ] = ()
    stop_seconds: Annotated[
        float,
        Rule(ge=0.0, description="time that a training function or a command has to end when it is to stop (seconds)"),
    ] = 30.0
    log_bytes: Annotated[
        int,
        Rule(
            ge=65_536,
            le=LARGEST_INTEGER,
            description="maximum log size of a model and of the runner (bytes): the beginning and the newest part stay",
        ),
    ] = 67_108_864
    json: Annotated[bool, Rule(description="batch mode writes JSON lines to stdout")] = False
    python_path: Annotated[
        tuple[str, ...],
        Rule(description="where custom code is found; by default beside the settings file and where you start"),
    ] = ()


@checked
@dataclass(kw_only=True)
class DataSettings:
    """How the dataset is read and split."""

    target: Annotated[
        str | None, Rule(min_length=1, description="the column (of a table) or array (.npz) to predict")
    ] = None
    features_array: Annotated[
        str | None, Rule(min_length=1, description=".npz: the array of features, if it has no usual name")
    ] = None
    task: Annotated[
        Literal["auto", "classification", "regression"],
        Rule(description="whether the target is classes or numbers; auto: as its values say"),
    ] = "auto"
    ignore: Annotated[
        tuple[str, ...], Rule(description="tables: columns that are no features, by name or pattern (id*)")
    ] = ()
    only: Annotated[
        tuple[str, ...], Rule(description="tables: the only columns that are features, by name or pattern")
    ] = ()
    categories: Annotated[
        tuple[str, ...], Rule(description="tables: columns whose values are categories, by name or pattern")
    ] = ()
    numbers: Annotated[
        tuple[str, ...], Rule(description="tables: columns whose values are numbers, by name or pattern")
    ] = ()
    dates: Annotated[
        tuple[str, ...], Rule(description="tables: columns whose values are dates or times, by name or pattern")
    ] = ()
    missing: Annotated[
        tuple[str, ...],
        Rule(description="tables: values that also count as missing, beside the usual words such as NA"),
    ] = ()
    missing_target: Annotated[
        Literal["drop", "refuse"],
        Rule(description="tables: leave out rows without a target, or refuse the table"),
    ] = "drop"
    header: Annotated[
        Literal["auto"] | bool, Rule(description="text tables: whether the first line has the columns' names")
    ] = "auto"
    separator: Annotated[
        str, Rule(min_length=1, description="text tables: the character between values, or `auto`")
    ] = "auto"
    decimal: Annotated[Literal["auto", ".", ","], Rule(description="text tables: the decimal mark of numbers")] = "auto"
    validation_fraction: Annotated[
        float, Rule(ge=0.0, le=0.9, description="share of the samples in the validation split")
    ] = 0.1
    test_fraction: Annotated[
        float,
        Rule(ge=0.0, le=0.9, description="share of the samples in a test split, measured once, by finished models"),
    ] = 0.0
    split: Annotated[
        Literal["auto", "random", "stratified", "ordered", "group"],
        Rule(
            description="which samples are for validation and test: at random, of each class its share, the last ones, "
            "or whole groups; auto: stratified for classes, grouped with data.group, else random"
        ),
    ] = "auto"
    group: Annotated[
        str | None,
        Rule(min_length=1, description="tables: column of groups that are not divided between training and validation"),
    ] = None
    validation: Annotated[
        str | None,
        Rule(min_length=1, description="tables: a column that says which rows are for validation, or a file"),
    ] = None
    normalise: Annotated[bool, Rule(description="scale features with statistics of the training split")] = True
    scaling: Annotated[
        Literal["standard", "minmax", "robust"],
        Rule(description="scale by mean and standard deviation, by minimum and maximum, or by median and quartiles"),
    ] = "standard"
    class_weights: Annotated[
        Literal["none", "balanced"],
        Rule(description="balanced: every class has the same total weight in the training loss"),
    ] = "none"
    drop_last: Annotated[
        bool, Rule(description="leave out the last batch of an epoch where it is smaller than the others")
    ] = False
    samples: Annotated[int, Rule(ge=2, le=LARGEST_INTEGER, description="synthetic: number of samples")] = 1_000
    features: Annotated[int, Rule(ge=1, le=LARGEST_INTEGER, description="synthetic: number of features")] = 64
    classes: Annotated[int, Rule(ge=2, le=LARGEST_INTEGER, description="synthetic: number of classes")] = 10
    prime: Annotated[
        int, Rule(ge=2, le=1_000, prime=True, description="modular: the modulus; x and y are below it")
    ] = 97
    operation: Annotated[
        Literal["*", "+", "-", "/", "x^2+y^2"],
        Rule(description="modular: the operation on x and y (in a shell in quotes)"),
    ] = "*"
    train_fraction: Annotated[
        float, Rule(gt=0.0, le=1.0, description="modular: share of the pairs in the training split")
    ] = 0.5


@checked
@dataclass(kw_only=True)
class ResourceSettings:
    """How much of the machine a run may take."""

    policy: Annotated[
        Literal["shared", "dedicated"],
        Rule(description="shared: half of the CPUs, 8 GiB per worker; dedicated: all CPUs, measured memory"),
    ] = "shared"
    memory_per_worker_gb: Annotated[
        Annotated[float, Rule(gt=0.0)] | Literal["measured"],
        Rule(description="memory reserved per worker (GiB), or `measured`"),
    ] = 8.0
    max_cpu_utilization: Annotated[
        float, Rule(gt=0.0, le=1.0, description="shared: share of the CPUs that workers may use")
    ] = 0.5
    high_cpu_threshold: Annotated[
        float,
        Rule(gt=0.0, le=100.0, description="shared: one worker while others use more CPU than this (percent)"),
    ] = 80.0
    min_available_memory_gb: Annotated[
        float, Rule(ge=0.0, description="shared: one worker while less memory is available (GiB)")
    ] = 8.0
    memory_reserve: Annotated[
        float,
        Rule(ge=0.0, le=0.9, description="share of the memory to keep free: with less, workers are removed"),
    ] = 0.05
    memory_pressure_threshold: Annotated[
        float,
        Rule(
            gt=0.0,
            le=100.0,
            description="memory pressure: workers are removed while work waits for memory more than this (percent)",
        ),
    ] = 10.0
    max_suggested_workers: Annotated[
        int, Rule(ge=1, le=LARGEST_INTEGER, description="maximum number of suggested workers; 6 allows one on each GPU")
    ] = 6
    threads: Annotated[
        _Count | Literal["auto"],
        Rule(description="threads per worker, or `auto`: measured once at the start"),
    ] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | tuple[str, ...],
        Rule(description="where models are trained; auto: on GPUs if torch can use them", devices=True),
    ] = "auto"
    devices_per_model: Annotated[
        int, Rule(ge=1, le=64, description="GPUs per model, for training functions and commands")
    ] = 1
    cpus_per_model: Annotated[
        int | None,
        Rule(
            ge=1,
            le=4_096,
            description="CPUs per model, for training functions and commands; by default as many as it has threads",
        ),
    ] = None
    carbon_intensity: Annotated[
        float | None,
        Rule(ge=0.0, le=10_000.0, description="CO2 of the electricity here (g/kWh), for the CO2 of a run"),
    ] = None


@checked
@dataclass(kw_only=True)
class EngineSettings:
    """The engine that runs the workers."""

    name: Annotated[
        Literal["local", "ray"],
        Rule(description="local: worker processes on this machine; ray: on the nodes of a Ray cluster (extra `ray`)"),
    ] = "local"
    fuse: Annotated[
        Annotated[int, Rule(ge=1, le=1_024)] | Literal["auto"],
        Rule(description="parallel: models per worker, trained together as one batch; `auto`: measured; 1: off"),
    ] = "auto"
    address: Annotated[
        str | None,
        Rule(min_length=1, description="ray: HOST:PORT of a running cluster, or `auto`; by default one is started"),
    ] = None
    files: Annotated[
        Literal["auto", "shared", "shipped"],
        Rule(
            description="ray: nodes use the run directory itself (shared), or are sent data and checkpoints (shipped); "
            "auto: shared where all nodes see it"
        ),
    ] = "auto"
    trust_cluster: Annotated[
        bool, Rule(description="ray: use a cluster without authentication; whoever reaches its ports runs code there")
    ] = False
    mixed_nodes: Annotated[
        bool,
        Rule(description="ray: also use nodes with other versions or another CPU; models trained there are not exact"),
    ] = False


@checked
@dataclass(kw_only=True)
class SearchSettings:
    """A search for good values of settings. `space`: a range or a list of values by the settings' full names."""

    method: Annotated[
        Literal["none", "random", "tpe"],
        Rule(
            description="proposes each next config: at random, or learning from the results so far (TPE of Optuna, "
            "extra `search`)"
        ),
    ] = "none"
    trials: Annotated[
        int, Rule(ge=1, le=100_000, description="how many configs a search trains, with run.models seeds of each (1)")
    ] = 40
    space: dict[str, Any] = field(default_factory=dict)


@checked
@dataclass(kw_only=True)
class UiSettings:
    """How the terminal UI looks and behaves."""

    theme: Annotated[
        Literal["dark", "light", "contrast", "ansi"] | None,
        Rule(description="colours; by default those that fit the terminal, or the last choice"),
    ] = None
    refresh: Annotated[float, Rule(gt=0.0, le=10.0, description="repaints of the data per second")] = 2.0
    ascii: Annotated[bool, Rule(description="plain characters only")] = False
    mouse: Annotated[bool, Rule(description="use the mouse")] = True
    bell: Annotated[bool, Rule(description="ring when a run ends or a model fails")] = True


@checked
@dataclass(kw_only=True)
class Settings:
    """All settings of a run. Each field is a table of `settings.toml`.

    `sweep` has lists of values by the settings' full names (`settings.sweep`).
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    ui: UiSettings = field(default_factory=UiSettings)
    model: dict[str, Any] = field(default_factory=dict)
    sweep: dict[str, tuple[Any, ...]] = field(default_factory=dict)


def tables() -> dict[str, type]:
    """The tables of a settings file with keys of the schema, in order: name and dataclass."""
    fields = (one for one in dataclasses.fields(Settings) if one.name not in (*FREE_TABLES, SWEEP))
    return {one.name: one.default_factory for one in fields}  # type: ignore[misc]


@functools.cache
def fields_of() -> tuple[Key, ...]:
    """Every key of the schema, in order."""
    return tuple(key for table, owner in tables().items() for key in keys_of(table, owner))


@functools.cache
def keys_by_name() -> Mapping[str, Key]:
    """Every key of the schema by its full name, such as `training.epochs`."""
    return {key.key: key for key in fields_of()}


def key_named(name: str) -> Key | None:
    """The key of a full name, or None: one of the schema, or an argument of a custom function."""
    return keys_by_name().get(name) or free_key(name)


def unknown(name: str, *, is_table: bool = False) -> str:
    """The message for an unknown key or table: `unknown key training.epoch; did you mean …?`."""
    every = (*tables(), *FREE_TABLES, SWEEP)
    if is_table:
        hint = did_you_mean(name, every) or f"; there are {', '.join(every)}"
        return f"unknown table {escaped(name)}{hint}"
    table, _, field_name = name.rpartition(".")
    if table in FREE_TABLES:
        return f"unknown key {escaped(name)}; name an argument of your function, in letters, digits and _"
    # The same name in another table first, then a similar one in this table, then one anywhere.
    anywhere = {key.name: key.key for key in reversed(fields_of())}
    beside = {key.name: key.key for key in fields_of() if key.table == table}
    meant = anywhere.get(field_name) or nearest_meaning(field_name, beside) or nearest_meaning(field_name, anywhere)
    hint = f"; did you mean {meant}?" if meant else "; `forge-tui config` lists all settings"
    return f"unknown key {escaped(name)}{hint}"


def to_plain(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings as nested JSON-able dicts: tuples become lists, unset values None."""
    plain = {table: dataclasses.asdict(getattr(settings, table)) for table in tables()}
    plain |= {table: getattr(settings, table) for table in FREE_TABLES}
    plain = {table: {name: _listed(value) for name, value in values.items()} for table, values in plain.items()}
    plain[SEARCH][SPACE] = {name: _listed_within(value) for name, value in settings.search.space.items()}
    plain[SWEEP] = {name: [_listed(value) for value in values] for name, values in settings.sweep.items()}
    return plain


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _listed_within(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def by_full_name(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values of `to_plain` by full name; the ranges and lists of a search as `search.space.training.epochs`."""
    found: dict[str, Any] = {}
    for table, values in plain.items():
        for name, value in values.items():
            if (table, name) == (SEARCH, SPACE):
                found |= {f"{SEARCH}.{SPACE}.{searched}": one for searched, one in value.items()}
            else:
                found[f"{table}.{name}"] = value
    return found


def from_plain(plain: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The settings of nested dicts from `to_plain`, with defaults for missing ones.

    Raises `SettingsError` naming every key that is unknown, of the wrong type or out of range.
    """
    problems: list[str] = []
    sweep = checked_sweep(plain.get(SWEEP, {}), keys_by_name(), problems)
    space: dict[str, Any] = {}
    for table, values in plain.items():
        if table == SWEEP:
            continue
        if table not in tables() and table not in FREE_TABLES:
            problems.append(unknown(table, is_table=isinstance(values, Mapping)))
            continue
        if not isinstance(values, Mapping):
            problems.append(f"{table} = {shown(values)}: must be a table")
            continue
        for name, value in values.items():
            if (table, name) == (SEARCH, SPACE):
                space = checked_space(value, keys_by_name(), problems)
                continue
            key = key_named(f"{table}.{name}")
            wrong = None if key is None else key.problem(value)
            if key is None:
                problems.append(unknown(f"{table}.{name}"))
            elif wrong is not None:
                problems.append(f"{key.key} = {shown(value)}: {wrong}")
    if problems:
        raise SettingsError("\n".join(problems))
    plain = {**plain, SEARCH: {**plain.get(SEARCH, {}), SPACE: space}}
    made: dict[str, Any] = {table: owner(**plain[table]) for table, owner in tables().items() if table in plain}
    made |= {table: dict(plain[table]) for table in FREE_TABLES if table in plain}
    settings = Settings(**made, sweep=sweep)
    wrong = too_many(sweep, settings.run.models)
    if wrong is None and settings.search.method != "none":
        wrong = too_many_trials(settings.search.trials, settings.run.models)
    if wrong is not None:
        raise SettingsError(wrong)
    return settings
