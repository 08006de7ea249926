"""Reads a Dockerfile and a .dockerignore as Docker documents them, as far as this project's go; knows no engine."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Instruction:
    """One instruction: `COPY --from=wheel /wheels /wheels` has the flag `from` and two words."""

    name: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments, in JSON or in shell form."""
        return list(json.loads(self.text)) if self.text.startswith("[") else shlex.split(self.text)

    @property
    def assignments(self) -> dict[str, str]:
        """What ENV and LABEL assign."""
        return dict(word.split("=", 1) for word in shlex.split(self.text))


@dataclass
class Stage:
    """What follows a FROM."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """Return the instructions of one name."""
        return [instruction for instruction in self.instructions if instruction.name == name]

    def last(self, name: str) -> Instruction:
        """Return the instruction that counts where a later one replaces an earlier one."""
        return self.all(name)[-1]

    @property
    def health_check(self) -> list[str]:
        """The command of its HEALTHCHECK, in JSON form."""
        return list(json.loads(self.last("HEALTHCHECK").text.removeprefix("CMD ")))

    @property
    def environment(self) -> dict[str, str]:
        """What its ENV instructions assign, unexpanded."""
        return {key: value for instruction in self.all("ENV") for key, value in instruction.assignments.items()}


def read_stages(path: Path) -> dict[str, Stage]:
    """Return a Dockerfile's stages by name."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        flags: dict[str, str] = {}
        while found := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        if name == "FROM":
            base, _, stage = rest.split()
            current = stages[stage] = Stage(stage, base)
        else:
            current.instructions.append(Instruction(name, flags, rest.strip()))
    return stages


def sent_files(root: Path) -> set[str]:
    """Return the files that `docker build` would send: those that .dockerignore lets through; the last pattern that matches counts."""
    rules = []
    for line in (root / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            rules.append((not pattern.startswith("!"), _expression(pattern.lstrip("!").strip("/"))))
    sent = set()
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        if path.is_file() and not is_ignored(relative, rules):
            sent.add(relative.as_posix())
    return sent


def is_ignored(path: Path, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    """Whether the rules keep a path out: a pattern speaks for what it matches and for all that lies below."""
    places = [PurePosixPath(*path.parts[: depth + 1]).as_posix() for depth in range(len(path.parts))]
    ignored = False
    for ignores, expression in rules:
        if any(expression.fullmatch(place) for place in places):
            ignored = ignores
    return ignored


def _expression(pattern: str) -> re.Pattern[str]:
    """Translate one pattern: `**/` is any number of folders, `*` and `?` stay within one."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(part, part if part.startswith("[") else re.escape(part)) for part in parts))
