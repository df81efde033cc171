"""The settings of `llmkit curate`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmkit.recipes.corpus import GivenSource
from llmkit.recipes.section import Section

Quality = Literal["gopher-quality", "gopher-repetition", "c4", "fineweb"]


class DuplicatesSection(Section):
    """Near duplicates, which are found with MinHash."""

    remove: bool = Field(True, description="Keep one document of each group of near duplicates.")
    similarity: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.8,
        description="Documents that share this part of their sequences of five words are found with a probability of "
        "92 %, more similar ones nearly always. 0.8 is FineWeb's setting.",
    )


class ContaminationSection(Section):
    """Documents that hold texts of evaluation data."""

    files: list[str] = Field(
        [], description="Files of evaluation data, as for `llmkit eval --data`. All their texts are looked for."
    )
    words: Annotated[int, Field(ge=5)] = Field(
        13, description="A document that shares so many consecutive words with such a text is removed."
    )


class SlurmSection(Section):
    """How Slurm runs the work, with `executor=slurm`."""

    partition: str = Field("", description="Partition for the jobs. `executor=slurm` needs it.")
    time: str = Field("24:00:00", description="Time limit of a job.")
    memory_gb: Annotated[int, Field(ge=1)] = Field(4, description="Memory of a job, in GB.")
    setup: str = Field("", description="Shell command that a job runs first, such as one that activates Python.")


class CurateRecipe(Section):
    """Settings of `llmkit curate`: sources from `-c`, the rest from overrides."""

    sources: list[GivenSource]
    quality: list[Quality] = Field(
        [],
        description="Rules that pages of the web must meet, by name: of Gopher (`gopher-quality`, "
        "`gopher-repetition`), `c4` (which also removes lines), `fineweb`. They were made for English.",
    )
    duplicates: DuplicatesSection = DuplicatesSection()
    contamination: ContaminationSection = ContaminationSection()
    executor: Literal["local", "slurm", "ray"] = Field("local", description="Where the work is done.")
    workers: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many tasks run at a time. By default one per core, or 100 on Slurm and Ray."
    )
    slurm: SlurmSection = SlurmSection()

    @model_validator(mode="after")
    def _has_a_partition(self) -> Self:
        if self.executor == "slurm" and not self.slurm.partition:
            raise ValueError("executor=slurm needs slurm.partition: `sinfo` lists them")
        return self
