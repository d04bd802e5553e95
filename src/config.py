"""Presets and command lines: YAML file + flags -> one frozen configuration that rejects what it does not know.

A configuration class derives from `Config`; its fields are declared with `option(...)`. A field's name is the flag, the
YAML key and the attribute at once; `aliases` are other spellings accepted for it. Values come, later ones winning, from
the defaults, the preset (`--config NAME_OR_FILE`) and the flags. pydantic converts and checks them. Imports no
MindSpore, so that `--help` and a mistyped flag answer at once.
"""
from __future__ import annotations

import argparse
import difflib
import logging
import re
import shlex
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
import yaml

from src.contract import InputError

log = logging.getLogger(__name__)
Positive = typing.Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Key:
    """What a configuration key says of itself beside its type, default, limits and help.

    Attributes:
        group: the entry scripts that have it as a flag: "train", "eval", "export", or "common" for all.
        topic: the heading that `--help` lists it under.
        aliases: other spellings of the flag and of the YAML key.
        resumable: a resumed run may change it: it says where things are, or what is logged, saved and evaluated.
        per_host: it may differ between the ranks of a job: a path, or the host's own affair.
        travels: whether weights decide it where the user does not: "always", "to inference" (evaluation and export,
            but not a training run that starts from them), or "" for never.
    """

    group: tuple[str, ...]
    topic: str = ""
    aliases: tuple[str, ...] = ()
    resumable: bool = False
    per_host: bool = False
    travels: Literal["", "always", "to inference"] = ""


def option(default: Any, text: str, *, group: str | Sequence[str] = "train", topic: str = "",
           aliases: Sequence[str] = (), resumable: bool = False, per_host: bool = False, travels: str = "",
           **limits: Any) -> Any:
    """Declare a configuration key.

    Args:
        default: its value where nobody gives one.
        text: one line for `--help`, with the unit.
        group, topic, aliases, resumable, per_host, travels: see `Key`; `group` may be a single one.
        limits: pydantic's constraints (`ge`, `gt`, `min_length`, ...).
    """
    key = Key((group,) if isinstance(group, str) else tuple(group), topic, tuple(aliases), resumable, per_host, travels)
    return pydantic.Field(default, description=text, json_schema_extra={"key": key}, **limits)


def redeclared(parent: type[Config], name: str, default: Any, text: str = "", **limits: Any) -> Any:
    """Declare a key of `parent` again with another default, and other limits and help where they are given."""
    field = parent.model_fields[name]
    own = {kind: value for limit in field.metadata for kind, value in asdict(limit).items()}
    return pydantic.Field(default, description=text or field.description, json_schema_extra=field.json_schema_extra,
                          **own | limits)


class Config(pydantic.BaseModel):
    """Base of the models' configurations: frozen, complete, no unknown keys.

    `config.model_fields_set` holds the keys that the user's preset or flags gave.

    Class attributes:
        derived: {key: function of the configuration}: keys of the published configurations whose values follow from
            other keys. They are accepted; a value other than the computed one causes a warning.
        retired: {key: reason}: keys of the published configurations that have no effect here; they cause a warning.
        topics: headings of `--help`, in their order.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    derived: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    retired: ClassVar[Mapping[str, str]] = {}
    topics: ClassVar[Sequence[str]] = ()

    @classmethod
    def keys(cls, chosen: Callable[[Key], Any] = lambda key: True) -> dict[str, Key]:
        """{name: what it says of itself} of the keys that `chosen` is true for, in the order of declaration."""
        every = {name: field.json_schema_extra["key"] for name, field in cls.model_fields.items()}
        return {name: key for name, key in every.items() if chosen(key)}

    @classmethod
    def weight_keys(cls) -> tuple[str, ...]:
        """Keys that the weights decide where the user does not, in every run that starts from them."""
        return tuple(cls.keys(lambda key: key.travels == "always"))

    @classmethod
    def network_keys(cls) -> tuple[str, ...]:
        """The same for evaluation and export: all that the network was trained for."""
        return tuple(cls.keys(lambda key: key.travels))

    @classmethod
    def spellings(cls) -> dict[str, str]:
        """{spelling of a flag or YAML key: name of the key}, derived and retired keys included."""
        own = {spelling: name for name, key in cls.keys().items() for spelling in (name, *key.aliases)}
        return own | {name: name for name in (*cls.derived, *cls.retired)}

    def conventions(self) -> dict[str, Any]:
        """What users of weights that were trained with this configuration need to know; written into checkpoints."""
        return self.model_dump(mode="json", include=set(self.network_keys()))

    def common(self) -> dict[str, Any]:
        """What has to be equal on all ranks of a job: all but what is each host's own affair."""
        return self.model_dump(mode="json", exclude=set(self.keys(lambda key: key.per_host)))

    def translate(self, conventions: Mapping[str, Any]) -> dict[str, Any]:
        """The conventions of published weights as keys and values of this configuration."""
        return dict(conventions)

    def adopting(self, conventions: Mapping[str, Any], keys: Sequence[str]) -> Config:
        """This configuration with those of `keys` that the user did not set as the weights were trained with them."""
        given = {k: v for k, v in conventions.items() if k in keys and v is not None and k not in self.model_fields_set}
        values = self.model_dump(include=self.model_fields_set) | given
        return build(type(self), values)

    def to_yaml(self) -> str:
        """The resolved configuration as YAML text that `parse` reads back, as a preset of a run."""
        values = self.model_dump(mode="json", exclude={"print_config"})
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


# --- command lines ----------------------------------------------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    """argparse that takes no abbreviations and names the nearest flag when one is unknown.

    `elsewhere` maps flags that exist in another entry script to a remark, so that a flag in the wrong place is
    explained instead of called unknown.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **kwargs: Any):
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self.elsewhere = elsewhere or {}

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._explain(unknown[0]))
        return parsed

    def _explain(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected word {word!r}; flags are written --name=value"
        name = word.split("=")[0]
        if name in self.elsewhere:
            return f"{name} {self.elsewhere[name]}"
        return f"unknown flag {name}{nearest(name, self._option_string_actions)}"

    def error(self, message: str) -> typing.NoReturn:
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def parse_bool(text: str | bool) -> bool:
    """True for true/yes/on/1, False for false/no/off/0, in any case; ArgumentTypeError otherwise."""
    try:
        return pydantic.TypeAdapter(bool).validate_python(text.lower() if isinstance(text, str) else text)
    except pydantic.ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a truth value; write True or False") from None


def number_in(kind: type, least: int, most: int = 2 ** 31 - 1) -> Callable[[str], int | float]:
    """The `type` of a flag that takes an int or a float from `least` to `most`."""
    def convert(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:  # nor is "nan"
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from {least} to {most}")
        return value
    return convert


def add_flag(parser: argparse.ArgumentParser, name: str, default: Any, text: str, **kwargs: Any) -> None:
    """Add `--name` with the type of `default` to a tool's parser; a bool works bare, `=True` and `=False`."""
    if isinstance(default, bool):
        kwargs |= {"nargs": "?", "const": True, "type": parse_bool, "metavar": "True|False"}
    elif default is not None:
        kwargs.setdefault("type", type(default))
    parser.add_argument(f"--{name}", default=default, help=f"{text} (default: {default})", **kwargs)


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` for the nearest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def entry_point(main: Callable[[], int | None]) -> typing.NoReturn:
    """Run `main` as a program: what the user got wrong becomes a message and exit status 2, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        status = main()
    except (InputError, OSError, RuntimeError) as error:
        message = _user_message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr, flush=True)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    raise SystemExit(status or 0)


def _user_message(error: BaseException) -> str | None:
    """The message of an InputError, also of one that a data pipeline wrapped into its own RuntimeError."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    found = re.search(r".*InputError: (.*?)(?:\n\s*\n|\n-{5,}|\Z)", str(error), re.S)  # after any traceback
    return found.group(1).strip() if found else None


# --- preset + flags -> configuration ----------------------------------------------------------------------------------

def parse(cls: type[Config], argv: Sequence[str], *, program: str, groups: Sequence[str], presets: Path) -> Any:
    """Return the configuration that a command line describes.

    Args:
        cls: the configuration class.
        argv: the words after the program's name.
        program: the entry script's name, for messages.
        groups: the option groups that are flags here. Keys of other groups are refused as flags and accepted in YAML.
        presets: folder of the model's preset files; `--config` takes a name in it or a path.

    Raises:
        InputError: an unknown key or a wrong value, with its place. A wrong flag exits with status 2.
    """
    parser = Parser(prog=program, usage=f"{program} [--config NAME|FILE] [--FLAG=VALUE ...]",
                    description=(cls.__doc__ or program).splitlines()[0])
    names = ", ".join(sorted(p.stem for p in presets.glob("*.yaml")))
    parser.add_argument("--config", default="", metavar="NAME|FILE", help=f"preset to start from: {names}, or a file")
    elsewhere = {}
    topics = {topic: parser.add_argument_group(topic) for topic in cls.topics}
    for name, key in cls.keys().items():
        spellings = [f"--{n}" for n in (name, *key.aliases)]
        if set(key.group) & set(groups):
            _add_option(topics.get(key.topic, parser), name, spellings, cls.model_fields[name])
        else:
            scripts = " and ".join(f"{group}.py" for group in key.group)
            elsewhere |= {s: f"is a flag of {scripts}, not of {program}" for s in spellings}
    for name in (*cls.derived, *cls.retired):
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.elsewhere = elsewhere
    flags = vars(parser.parse_args(argv))
    preset = flags.pop("config")
    values, places = read_yaml(find_preset(preset, presets), cls) if preset else ({}, {})
    return build(cls, values | flags, places | {name: f"--{name}" for name in flags})


def _add_option(parser: argparse._ActionsContainer, name: str, spellings: list[str],
                field: pydantic.fields.FieldInfo) -> None:
    kwargs: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS,
                              "help": f"{field.description} (default: {_shown(field.default)})".replace("%", "%%")}
    if field.annotation is bool:
        kwargs |= {"nargs": "?", "const": True, "metavar": "True|False"}
    elif typing.get_origin(field.annotation) is tuple:
        kwargs |= {"action": "extend", "type": _split, "metavar": "VALUE[,VALUE]"}
    elif typing.get_origin(field.annotation) is typing.Literal:
        kwargs["metavar"] = "|".join(map(str, typing.get_args(field.annotation)))
    else:
        kwargs["metavar"] = getattr(field.annotation, "__name__", "value").upper()
    parser.add_argument(*spellings, **kwargs)


def _shown(value: Any) -> str:
    """A default as `--help` shows it."""
    if isinstance(value, tuple):
        return ",".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def as_flag(name: str, value: Any) -> str:
    """The word of a command line that gives a key this value, quoted for a shell."""
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f"--{name}={shlex.quote(text) if text else ''}"


def _split(text: str) -> list[Any]:
    """'0.5' -> [0.5]; '0.5,0.75', '[0.5, 0.75]' and '(0.5, 0.75)' -> [0.5, 0.75]; repeated flags extend the list."""
    text = text.strip().replace("(", "[").replace(")", "]")
    for candidate in (text, f"[{text}]"):
        if isinstance(value := read_text(candidate), list):
            return value
    return [text]


def read_text(text: str) -> Any:
    """A flag's text as YAML; the text itself where it is none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def find_preset(name: str, presets: Path) -> Path:
    """The file that `--config NAME_OR_FILE` means."""
    for path in (Path(name), presets / f"{name}.yaml"):
        if path.is_file():
            return path
    known = sorted(p.stem for p in presets.glob("*.yaml"))
    raise InputError(f"--config={name}: neither a file nor a preset{nearest(name, known) or '.'} "
                     f"Presets: {', '.join(known)}")


def read_yaml(path: Path, cls: type[Config]) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a preset: ({key: value}, {key: "file:line"}), keys in their canonical spelling.

    Raises:
        InputError: not YAML, not a mapping, a key twice, or an unknown key (with the nearest known one).
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}: expected lines of `key: value`")
    canonical, values, places = cls.spellings(), {}, {}
    for key, value in node.value:
        place = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{place}: expected `key: value`")
        if key.value not in canonical:
            raise InputError(f"{place}: unknown key {key.value!r}{nearest(key.value, canonical)}")
        name = canonical[key.value]
        if name in values:
            raise InputError(f"{place}: key {name!r} is given twice (first at {places[name]})")
        try:
            values[name] = yaml.SafeLoader("").construct_object(value, deep=True)
        except yaml.YAMLError as error:
            raise InputError(f"{place}: {key.value}: {' '.join(str(error).split())}") from error
        places[name] = f"{place} {key.value}"
    return values, places


def build(cls: type[Config], values: Mapping[str, Any], places: Mapping[str, str] | None = None) -> Any:
    """Check `values` and return the configuration; derived and retired keys are compared, warned about and dropped."""
    places = places or {}
    own = {k: v for k, v in values.items() if k not in cls.derived and k not in cls.retired}
    try:
        config = cls(**own)
    except pydantic.ValidationError as error:
        in_lists = {e["loc"][:1] for e in error.errors() if len(e["loc"]) > 1}  # with a wrong entry, "too short" too
        raise InputError("\n".join(_describe(e, places) for e in error.errors() if e["loc"] not in in_lists)) from error
    for name, reason in cls.retired.items():
        if name in values:
            log.warning("%s: %s", places.get(name, name), reason)
    for name, compute in cls.derived.items():
        if name in values:
            given = read_text(str(values[name]).replace("(", "[").replace(")", "]"))  # (28, 28) is a list too
            computed = compute(config)
            if _plain(given) != _plain(computed):
                log.warning("%s=%s has no effect: it follows from the other keys and is %s",
                            places.get(name, name), given, computed)
    return config


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _describe(error: Mapping[str, Any], places: Mapping[str, str]) -> str:
    key = str(error["loc"][0]) if error["loc"] else ""
    message = error["msg"].removeprefix("Value error, ")
    return message if not key else f"{places.get(key, key)}={error['input']!r}: {message[0].lower()}{message[1:]}"
