"""What each key may be, in words: for the sentence about a wrong value, and for docs/configuration.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from prune.base.registries import CRITERIA
from prune.base.section import Section
from prune.config.schema import CHOSEN_BY_NAME, RunConfig

FORMS = {
    "name": "letters, digits and . _ + - after a letter, a digit or _",
    "hardware.device": "auto, cpu, cuda or cuda:N",
    "method.phases": "a list of phases, each {from_state: S, method: {name: …, …}} with S a whole number of at least 1",
    "method.rewind": "init, reinit, none or epoch:K",
    "model.pretrained": "true, false or the path of a checkpoint",
    "dataset.image_size": "pixels, or [height, width], each a whole number from 1 to 16384",
}
"""Keys whose form their type does not tell."""

BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def allowed(key: str, field: FieldInfo) -> str:
    """What may stand after `key=`, such as "a number above 0 and below 1"."""
    named = {registry.key: registry for registry in (CRITERIA, *CHOSEN_BY_NAME.values())}
    if key in named:
        return f"one of {', '.join(named[key].names())}"
    if key in FORMS and get_origin(field.annotation) is not Literal:
        return FORMS[key]
    return _words(field.annotation, field.metadata)


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field is, if it is one."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def all_keys() -> Iterator[tuple[str, FieldInfo, type[Section]]]:
    """Every key that some configuration may have, its field, and the section class that has it; keys may repeat."""
    for name, field in RunConfig.model_fields.items():
        if name in CHOSEN_BY_NAME:
            registry = CHOSEN_BY_NAME[name]
            for kind in dict.fromkeys(registry.load(entry).Options for entry in registry.names()):
                yield from _keys_below(name, kind)
        elif (section := section_of(field)) is not None:
            yield from _keys_below(name, section)
        else:
            yield name, field, RunConfig


def owners(group: str, key: str) -> list[str]:
    """The options of `dataset` or `method` that have a key, given below the group (`ramp`, `penalty.ceiling`)."""
    if group not in CHOSEN_BY_NAME:
        return []
    registry, wanted = CHOSEN_BY_NAME[group], f"{group}.{key}"
    return [
        name for name in registry.names() if any(key == wanted for key, _, _ in _keys_below(group, registry.load(name).Options))
    ]


def one_of(group: str, names: Sequence[str]) -> str:
    """`it is one of method=rsst`: what chooses the options that have a key, as it is typed; models are presets of a family."""
    leaf = CHOSEN_BY_NAME[group].leaf if group in CHOSEN_BY_NAME else "name"
    chosen = group if leaf == "name" else f"{group}.{leaf}"
    return f"it is one of {', '.join(f'{chosen}={name}' for name in names)}"


def _keys_below(prefix: str, section: type[Section]) -> Iterator[tuple[str, FieldInfo, type[Section]]]:
    for name, field in section.model_fields.items():
        below = section_of(field)
        if below is None:
            yield f"{prefix}.{name}", field, section
        else:
            yield from _keys_below(f"{prefix}.{name}", below)


def show(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show(entry)}" for key, entry in value.items()) + "}"
    return str(value) or "''"


def _words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        base, *notes = arguments
        inner = [part for note in notes for part in (note.metadata if isinstance(note, FieldInfo) else [note])]
        return _words(base, [*inner, *metadata])
    if origin in (Union, UnionType):
        return " or ".join(_words(kind, metadata) for kind in sorted(arguments, key=lambda kind: kind is NoneType))
    if origin is Literal:
        values = [show(value) for value in arguments]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"a list in brackets, each {_words(arguments[0])}"
    if origin is tuple:
        return f"{len(arguments)} values in brackets, each {_words(arguments[0])}"
    if origin is dict:
        return f"a map in braces, each value {_words(arguments[1])}"
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + _range(metadata)
    plain = {bool: "true or false", str: "text", NoneType: "null"}
    return plain.get(annotation, "keys with values")


def _range(metadata: Sequence[Any]) -> str:
    found = [
        (word, getattr(note, name))
        for note in metadata
        for name, word in BOUNDS.items()
        if getattr(note, name, None) is not None
    ]
    if [word for word, _ in found] == ["at least", "at most"]:
        return f" from {show(found[0][1])} to {show(found[1][1])}"
    text = " and ".join(f"{word} {show(bound)}" for word, bound in found)
    return f" {'of ' if text.startswith('at ') else ''}{text}" if text else ""
