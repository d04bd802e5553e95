"""Configuration: a preset in YAML and flags make one frozen object, which rejects what it does not know.

A configuration class derives from `Config`; its fields are declared with `option(...)`. A field's name is the flag, the
YAML key and the attribute at once; `aliases` are other spellings of flag and key. Flags take precedence over the preset
(`--config NAME_OR_FILE`), and the preset over the defaults. pydantic converts and checks the values. MindSpore is not
imported, so that `--help` and errors in a command line appear at once.
"""
from __future__ import annotations

import argparse
import logging
import shlex
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
import yaml

from src.command_line import Parser, nearest
from src.contract import InputError
from src.literals import items, literal

log = logging.getLogger(__name__)
Travels = Literal["", "always", "to inference"]
Positive = typing.Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Scale = typing.Annotated[float, pydantic.Field(gt=0, le=16)]  # of an image; larger ones fill the memory


@dataclass(frozen=True)
class Key:
    """Properties of a configuration key besides its type, default, limits and help.

    Attributes:
        group: the entry scripts that have it as a flag: "train", "eval", "export", or "common" for all.
        topic: the heading that `--help` lists it under.
        aliases: other spellings of the flag and of the YAML key.
        resumable: a resumed run may change it, because it only sets paths, logging, saving or evaluation.
        per_host: it may differ between the ranks of a job, for example a path.
        travels: whether the weights set it if the user does not: "always", "to inference" (evaluation and export, but
            not a training run that starts from them), or "" for never.
    """

    group: tuple[str, ...]
    topic: str = ""
    aliases: tuple[str, ...] = ()
    resumable: bool = False
    per_host: bool = False
    travels: Travels = ""


def option(default: Any, text: str, *, group: str | Sequence[str] = "train", topic: str = "",
           aliases: Sequence[str] = (), resumable: bool = False, per_host: bool = False, travels: Travels = "",
           **limits: Any) -> Any:
    """Declare a configuration key.

    Args:
        default: its value if none is given.
        text: one line for `--help`, with the unit.
        group, topic, aliases, resumable, per_host, travels: see `Key`; `group` may be a single one.
        limits: pydantic's constraints (`ge`, `gt`, `min_length`, ...).
    """
    key = Key((group,) if isinstance(group, str) else tuple(group), topic, tuple(aliases), resumable, per_host, travels)
    extra: dict[str, Any] = {"key": key}
    return pydantic.Field(default, description=text, json_schema_extra=extra, **limits)


def redeclared(parent: type[Config], name: str, default: Any, text: str = "", **limits: Any) -> Any:
    """Declare a key of `parent` again with another default, and with other limits and help if given."""
    field = parent.model_fields[name]
    own = {kind: value for limit in field.metadata for kind, value in asdict(limit).items()}
    return pydantic.Field(default, description=text or field.description, json_schema_extra=field.json_schema_extra,
                          **own | limits)


class Config(pydantic.BaseModel):
    """Base class of the models' configurations: frozen, complete, without unknown keys.

    `config.model_fields_set` holds the keys that the user gave in a preset or as flags.

    Class attributes:
        derived: {key: function of the configuration}: keys of the published configurations whose values follow from
            other keys. They are accepted; a value other than the computed one causes a warning.
        retired: {key: reason}: keys of the published configurations that have no effect here; they cause a warning.
        topics: headings of `--help`, in their order.
        family: the value of the key `model` that leaves the choice to preset, weights and default, in this order.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    derived: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    retired: ClassVar[Mapping[str, str]] = {}
    topics: ClassVar[Sequence[str]] = ()
    family: ClassVar[str] = ""

    @classmethod
    def keys(cls, chosen: Callable[[Key], Any] = lambda key: True) -> dict[str, Key]:
        """{name: what it says of itself} of the keys that `chosen` is true for, in the order of declaration."""
        every = {name: typing.cast(dict[str, Key], field.json_schema_extra)["key"]
                 for name, field in cls.model_fields.items()}
        return {name: key for name, key in every.items() if chosen(key)}

    @classmethod
    def weight_keys(cls) -> tuple[str, ...]:
        """Keys that the weights set if the user does not, in every run that starts from them."""
        return tuple(cls.keys(lambda key: key.travels == "always"))

    @classmethod
    def network_keys(cls) -> tuple[str, ...]:
        """Keys that the weights set if the user does not, in evaluation and export."""
        return tuple(cls.keys(lambda key: key.travels))

    @classmethod
    def spellings(cls) -> dict[str, str]:
        """{spelling of a flag or YAML key: name of the key}, derived and retired keys included."""
        own = {spelling: name for name, key in cls.keys().items() for spelling in (name, *key.aliases)}
        return own | {name: name for name in (*cls.derived, *cls.retired)}

    def conventions(self) -> dict[str, Any]:
        """The keys that users of the trained weights need; written into checkpoints."""
        return self.model_dump(mode="json", include=set(self.network_keys()))

    def common(self) -> dict[str, Any]:
        """The keys that must be equal on all ranks of a job: all that are not `per_host`."""
        return self.model_dump(mode="json", exclude=set(self.keys(lambda key: key.per_host)))

    def translate(self, conventions: Mapping[str, Any]) -> dict[str, Any]:
        """Conventions of published weights as keys and values of this configuration."""
        return dict(conventions)

    def adopting(self, conventions: Mapping[str, Any], keys: Sequence[str]) -> Config:
        """This configuration with the weights' conventions for those of `keys` that the user did not set."""
        given = {k: v for k, v in conventions.items() if k in keys and v is not None and k not in self.model_fields_set}
        values = self.model_dump(include=self.model_fields_set) | given
        return build(type(self), values)

    def to_yaml(self) -> str:
        """The whole configuration as YAML text that `parse` reads back."""
        values = self.model_dump(mode="json", exclude={"print_config"})
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    def to_preset(self) -> str:
        """The configuration as a preset equivalent to the command line, as YAML text.

        Keys that weights decide, unless the user sets them, are comments: as keys they would overrule the weights.
        """
        left_open = set(self.network_keys()) - self.model_fields_set
        lines = ["# Commented keys have these values unless the weights that are loaded say otherwise."]
        for name, value in self.model_dump(mode="json", exclude={"print_config"}).items():
            written = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True).splitlines()
            lines += [f"# {line}" for line in written] if name in left_open else written
        return "\n".join(lines) + "\n"


def parse(cls: type[Config], argv: Sequence[str], *, program: str, groups: Sequence[str], presets: Path,
          elsewhere: Mapping[str, str] | None = None) -> Any:
    """The configuration that a command line describes.

    Args:
        cls: the configuration class.
        argv: the words after the program's name.
        program: name of the entry script, for messages.
        groups: the groups (see `Key`) whose keys are flags here. Keys of other groups are accepted in YAML only.
        presets: folder of the model's preset files; `--config` takes a name in it or a path.
        elsewhere: {spelling: remark} of other models' keys.

    Raises:
        InputError: an unknown key or a wrong value, with its place.
        SystemExit: an unknown flag, status 2.
    """
    parser = Parser(prog=program, usage=f"{program} [--config NAME|FILE] [--FLAG=VALUE ...]",
                    description=(cls.__doc__ or program).splitlines()[0])
    names = ", ".join(sorted(p.stem for p in presets.glob("*.yaml")))
    parser.add_argument("--config", default="", metavar="NAME|FILE", help=f"preset to start from: {names}, or a file")
    remarks = {f"--{spelling}": remark for spelling, remark in (elsewhere or {}).items()}
    topics = {topic: parser.add_argument_group(topic) for topic in cls.topics}
    for name, key in cls.keys().items():
        spellings = [f"--{n}" for n in (name, *key.aliases)]
        if set(key.group) & set(groups):
            _add_option(topics.get(key.topic, parser), name, spellings, cls.model_fields[name])
        else:
            scripts = " and ".join(f"{group}.py" for group in key.group)
            remarks |= {s: f"is a flag of {scripts}, not of {program}" for s in spellings}
    for name in (*cls.derived, *cls.retired):
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.elsewhere = remarks
    flags = vars(parser.parse_args(argv))
    preset = flags.pop("config")
    values, places = read_yaml(find_preset(preset, presets), cls) if preset else ({}, {})
    return build(cls, values | _chosen(cls, flags), places | {name: f"--{name}" for name in flags})


def _add_option(parser: argparse._ActionsContainer, name: str, spellings: list[str],
                field: pydantic.fields.FieldInfo) -> None:
    kwargs: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS,
                              "help": f"{field.description} (default: {_shown(field.default)})".replace("%", "%%")}
    if field.annotation is bool:
        kwargs |= {"nargs": "?", "const": True, "metavar": "True|False"}
    elif typing.get_origin(field.annotation) is tuple:
        kwargs |= {"action": "extend", "type": items, "metavar": "VALUE[,VALUE]"}
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
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}: expected lines of `key: value`")
    canonical = cls.spellings()
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
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
            values[name] = _construct(value, text)
        except yaml.YAMLError as error:
            raise InputError(f"{place}: {key.value}: {' '.join(str(error).split())}") from error
        places[name] = f"{place} {key.value}"
    return values, places


def _construct(node: yaml.Node, text: str) -> Any:
    """The value of a node of the YAML `text`, where a list may hold Python's tuples: [(192, 320), (96, 160)]."""
    written = text[node.start_mark.index:node.end_mark.index]
    if isinstance(node, yaml.SequenceNode) and "(" in written and isinstance(value := literal(written), list):
        return value
    return yaml.SafeLoader("").construct_object(node, deep=True)


def build(cls: type[Config], values: Mapping[str, Any], places: Mapping[str, str] | None = None) -> Any:
    """Return the configuration of checked `values`; derived and retired keys cause warnings and are dropped.

    Args:
        values: texts are read as literals where the key's type is not a text.
        places: {key: where its value was given}, for messages.

    Raises:
        InputError: unknown keys or wrong values, all of them.
    """
    places, values = places or {}, _chosen(cls, values)
    own = {k: _read(cls.model_fields[k].annotation if k in cls.model_fields else str, v) for k, v in values.items()
           if k not in cls.derived and k not in cls.retired}
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
            given, computed = values[name], compute(config)
            given = literal(given) if isinstance(given, str) else given
            if _plain(given) != _plain(computed):
                log.warning("%s=%s has no effect: it follows from the other keys and is %s",
                            places.get(name, name), given, computed)
    return config


def _chosen(cls: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without a `model` that names the family alone."""
    return {name: value for name, value in values.items() if name != "model" or value != cls.family}


def _read(kind: Any, value: Any) -> Any:
    """A value that may still be a text as one of the type `kind`, as far as the text is a literal of it."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = kind.__origin__
    is_list = typing.get_origin(kind) is tuple
    if isinstance(value, str) and kind not in (str, bool) and typing.get_origin(kind) is not Literal:
        value = items(value) if is_list else literal(value)
    return [_read(typing.get_args(kind)[0], entry) for entry in value] if is_list and isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _describe(error: Mapping[str, Any], places: Mapping[str, str]) -> str:
    key = str(error["loc"][0]) if error["loc"] else ""
    message = error["msg"].removeprefix("Value error, ")
    inner = "".join(f".{part}" for part in error["loc"][1:] if isinstance(part, str))
    where = f"{places.get(key, key)}{inner}"
    return message if not key else f"{where}={error['input']!r}: {message[0].lower()}{message[1:]}"
