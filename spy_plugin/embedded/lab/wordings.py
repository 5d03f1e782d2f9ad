"""The lab's wordings of instructions, questions and roles, a table for each size.

`RECOMBINED` belongs to the tiny size: each word of a held-out wording occurs in a training wording.
`NATURAL` belongs to the small size, whose language model knows English: each held-out wording has a
word that no training wording has, so that it must be understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from spy_plugin.embedded.lab import natural, world
from spy_plugin.embedded.lab.world import SPLITS, Split


@dataclass(frozen=True)
class Said:
    """The wordings of a split, each with one ``{}`` for a label's word or for a role.

    Attributes:
        instructions: Pairs of a public and a private line.
        questions: Questions for a label's value.
        roles: Introductions of a role; a question follows.
    """

    instructions: tuple[tuple[str, str], ...]
    questions: tuple[str, ...]
    roles: tuple[str, ...]


Wordings: TypeAlias = Mapping[Split, Said]

RECOMBINED: Wordings = {
    split: Said(world.instructions(split), world.questions(split), world.role_templates(split))
    for split in SPLITS
}

NATURAL: Wordings = {
    split: Said(natural.INSTRUCTIONS[split], natural.QUESTIONS[split], natural.ROLES[split])
    for split in SPLITS
}
