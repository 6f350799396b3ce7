"""Custom functions: model, dataset, loss, metric. Imported only by workers and by `load_model`.

A function gets its arguments by name: those that forge-tui provides, and the values of `[model]`.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from forge_tui.errors import ChangedError, SettingsError
from forge_tui.safe_io.printing import LONGEST_MESSAGE, escaped, shortened
from forge_tui.settings.own_names import named_function, own_functions
from forge_tui.settings.problems import did_you_mean, shown
from forge_tui.settings.schema import Settings
from forge_tui.training import code_finder, random_state
from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.outputs import kind

_HERE = str(Path(__file__).resolve().parents[1])
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCode:
    """The custom replacements of built-in parts; None: the built-in one is used.

    `loss` and `metric` get a model's whole output: a tensor, or a container of several (`training.outputs`).
    """

    model: Callable[[InputSpec], nn.Module] | None = None
    dataset: Callable[[], Any] | None = None
    loss: Callable[[Any, Tensor], Tensor] | None = None
    metric: Callable[[Any, Tensor], float] | None = None

    @property
    def takes_part(self) -> bool:
        """Whether custom code takes part in training or evaluation."""
        return self.model is not None or self.loss is not None or self.metric is not None


NONE = OwnCode()


def load_own_code(settings: Settings) -> OwnCode:
    """Import the functions named in settings, and bind their arguments.

    Raises `SettingsError` for functions that cannot be found or imported, and for values of `[model]` that do not fit
    the functions' signatures.
    """
    training = settings.training
    named = own_functions(training)
    if "--loss" in named:
        for flag, is_given in (
            ("--label-smoothing", training.label_smoothing > 0),
            ("--class-weights", settings.data.class_weights != "none"),
        ):
            if is_given:
                raise SettingsError(f"{flag} has no effect on --loss {training.loss}; leave it out")
    functions: dict[str, CustomFunction] = {}
    for flag, text in named.items():
        # Random numbers drawn during an import are the same for all models, whatever was imported before.
        random_state.seed_everything(settings.run.seed)
        functions[flag] = CustomFunction(flag, text, settings.run.python_path)
    require_all_taken(settings.model, functions)
    model, dataset, loss, metric = map(functions.get, ("--model-type", "--dataset", "--loss", "--metric"))
    data = {name: getattr(settings.data, name) for name in settings.data.__dataclass_fields__}
    return OwnCode(
        model=None if model is None else _Model(model, settings.model, training.model_size),
        dataset=None if dataset is None else partial(dataset.call, settings.model, seed=settings.run.seed, **data),
        loss=None if loss is None else _loss(loss, settings.model),
        metric=None if metric is None else _metric(metric, settings.model),
    )


def own_model(model_type: str, model_size: int, python_path: Sequence[str], values: Mapping[str, Any]) -> _Model:
    """The function of a custom model, with its arguments. Raises `SettingsError`."""
    return _Model(CustomFunction("--model-type", model_type, python_path), values, model_size)


class _Model:
    """Makes modules: a custom function with its arguments."""

    def __init__(self, function: CustomFunction, values: Mapping[str, Any], model_size: int) -> None:
        self._function = function
        self._values = values
        self._model_size = model_size
        function.bound(values, inputs=None, model_size=model_size)

    def __call__(self, inputs: InputSpec) -> nn.Module:
        """A new module for such inputs. Raises `SettingsError` if the function returns none."""
        module = self._function.call(self._values, inputs=inputs, model_size=self._model_size)
        if not isinstance(module, nn.Module):
            raise SettingsError(f"{self._function} gives {kind(module)}; it must give a torch.nn.Module")
        if not any(True for _ in module.parameters()):
            raise SettingsError(f"{self._function} gives a module without parameters: there is nothing to train")
        return module


def _of_outputs(function: CustomFunction, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a loss or metric function, except outputs and targets."""
    bound = function.bound(values, outputs=None, targets=None)
    for name in ("outputs", "targets"):
        if name not in bound:
            raise SettingsError(f"{function} must take `outputs` and `targets`")
        del bound[name]
    return bound


def _fresh(arguments: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Returns fresh arguments for each call: a function may change a list in place, but not the run's setting."""
    if any(isinstance(value, list) for value in arguments.values()):
        return lambda: copy.deepcopy(arguments)
    return lambda: arguments


def _loss(function: CustomFunction, values: Mapping[str, Any]) -> Callable[[Any, Tensor], Tensor]:
    fresh = _fresh(_of_outputs(function, values))

    def loss(outputs: Any, targets: Tensor) -> Tensor:
        found = function.function(outputs=outputs, targets=targets, **fresh())
        if not isinstance(found, Tensor) or found.dim() != 0:
            raise SettingsError(f"{function} gives {kind(found)}; it must give the mean loss, a tensor of shape ()")
        return found

    return loss


def _metric(function: CustomFunction, values: Mapping[str, Any]) -> Callable[[Any, Tensor], float]:
    fresh = _fresh(_of_outputs(function, values))

    def metric(outputs: Any, targets: Tensor) -> float:
        found = function.function(outputs=outputs, targets=targets, **fresh())
        try:
            return float(found)
        except (TypeError, ValueError, RuntimeError):
            raise SettingsError(f"{function} gives {kind(found)}; it must give a number") from None

    return metric


class CustomFunction:
    """One custom function, and its name in settings."""

    def __init__(self, flag: str, text: str, python_path: Sequence[str]) -> None:
        """Import the function. Raises `SettingsError`."""
        self._named = f"{flag} {escaped(text)}"
        named = named_function(text)
        if named is None:
            raise SettingsError(f"{self._named} names no function; write module:function or file.py:function")
        place, name = named
        for directory in python_path:
            if directory not in sys.path:
                sys.path.append(directory)
        default = "model" if flag == "--model-type" else flag.removeprefix("--")
        try:
            module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        except FileNotFoundError:
            raise SettingsError(f"{self._named}: there is no such file in {_listed(python_path)}") from None
        except ModuleNotFoundError as error:
            missing = "is not there" if f"{place}.".startswith(f"{error.name}.") else f"cannot be imported: {error}"
            raise SettingsError(
                f"{self._named}: module {place} {missing}; modules are looked for among those installed and in "
                f"{_listed(python_path)}"
            ) from None
        except BaseException as error:  # any error of the custom module
            if isinstance(error, KeyboardInterrupt | MemoryError | ChangedError):
                raise
            raise SettingsError(f"{self._named} cannot be imported: {error_in_words(error)}") from error
        found = getattr(module, name or default, None)
        if not callable(found):
            names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            hint = did_you_mean(name or default, names)
            raise SettingsError(f"{self._named}: {place} has no function {name or default}{hint}")
        self.function: Callable[..., Any] = found
        try:
            self._parameters = dict(inspect.signature(found).parameters)
        except (TypeError, ValueError):
            raise SettingsError(f"{self._named}: its parameters are unknown; write a plain function") from None

    def __str__(self) -> str:
        return self._named

    @property
    def first_parameter(self) -> str | None:
        """The name of the first parameter that takes an argument by position; None if none does."""
        by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return next((name for name, one in self._parameters.items() if one.kind in by_position), None)

    def without_first(self) -> CustomFunction:
        """The same for its other parameters: `function` still takes the first one."""
        other = copy.copy(self)
        other._parameters = {name: one for name, one in self._parameters.items() if name != self.first_parameter}
        return other

    @property
    def takes(self) -> set[str] | None:
        """The names of its parameters; None if it takes any."""
        if any(one.kind is one.VAR_KEYWORD for one in self._parameters.values()):
            return None
        return {name for name, one in self._parameters.items() if one.kind is not one.VAR_POSITIONAL}

    def bound(self, values: Mapping[str, Any], **offered: Any) -> dict[str, Any]:
        """Its arguments by name. Raises `SettingsError` for one that is missing or of the wrong type."""
        takes = self.takes
        arguments = {name: value for name, value in offered.items() if name in self._parameters}
        arguments |= {name: value for name, value in values.items() if takes is None or name in takes}
        hints = _hints(self.function)
        for name, parameter in self._parameters.items():
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise SettingsError(f"{self._named}: arguments are given by name; {name} is positional only")
            if name in values:
                wanted: Any = hints.get(name)
                if not _fits(values[name], wanted):
                    raise SettingsError(f"model.{name} = {shown(values[name])}: must be {_PLAIN[wanted]}")
            elif name not in offered and parameter.default is parameter.empty:
                raise SettingsError(
                    f"{self._named} needs {name}; give it: --set model.{name}=…, or {name} = … under [model]"
                )
        return arguments

    def call(self, values: Mapping[str, Any], **offered: Any) -> Any:
        """Call it. Its exceptions become a `SettingsError` with the place."""
        arguments = self.bound(values, **offered)
        try:
            return self.function(**_fresh(arguments)())
        except SettingsError:
            raise
        except Exception as error:
            if isinstance(error, MemoryError | torch.OutOfMemoryError):
                raise
            raise SettingsError(f"{self._named} raises {error_in_words(error)}") from error


def require_all_taken(values: Mapping[str, Any], functions: Mapping[str, CustomFunction]) -> None:
    """Raise `SettingsError` for a value of `[model]` that no function takes."""
    takes = [function.takes for function in functions.values()]
    if any(one is None for one in takes):
        return
    known = {name for one in takes if one is not None for name in one}
    for name in values:
        if name in known:
            continue
        if not functions:
            raise SettingsError(
                f"model.{name}: the table [model] is for a custom function, and none is named; name it with "
                "--model-type, or leave the table out"
            )
        owners = " or ".join(str(function) for function in functions.values())
        raise SettingsError(f"model.{name}: no parameter of {owners} has that name{did_you_mean(name, known)}")


def _from_file(path: Path) -> types.ModuleType:
    """The module of a file, imported once, from the run's copy if there is one.

    Raises `FileNotFoundError`, and errors of the module.
    """
    finder = code_finder.installed()
    source = None if finder is None else finder.source(str(path))
    if source is None and not path.is_file():
        raise FileNotFoundError(path)
    file = str(path) if source is None else source.file
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == file:
            return module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    # Under its own name, as its neighbours import it, unless another module has that name.
    name = path.stem if path.stem not in sys.modules else f"own_{path.stem}"
    spec = None if finder is None else finder.spec_of(name, str(path))
    if spec is None:
        spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def error_in_words(error: BaseException) -> str:
    """An exception in words, with its line in the custom code."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    try:
        words = shortened(str(error), LONGEST_MESSAGE)
    except Exception as another:
        words = f"(no message: {type(another).__name__})"
    name, where = type(error).__name__, place_of(error)
    return f"{name}: {words}{where}" if words else f"{name}{where}"


def place_of(error: BaseException) -> str:
    """The last line of custom code in an exception's traceback, such as ` (net.py, line 7)`; or empty."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _is_own(file: str) -> bool:
    """Whether a file is custom code, not part of this program, Python or an installed package."""
    installed = ("site-packages", "dist-packages", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return not file.startswith((_HERE, "<")) and not any(part in Path(file).parts for part in installed)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # annotations that cannot be resolved are ignored
        return {}


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of a parameter's type; only plain types are checked."""
    if wanted not in _PLAIN:
        return True
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is wanted


def _listed(places: Sequence[str]) -> str:
    return " or ".join(places) if places else "the working directory"
