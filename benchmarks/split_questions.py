"""SQuAD's nested JSON cut in two by passage: about one in ten is for validation, whatever the order of the file.

python benchmarks/split_questions.py FILE FOLDER     writes FOLDER/train.json and FOLDER/validation.json
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from squad import flat, write


def main(file: Path, folder: Path) -> None:
    """Write both parts, and say how many questions are in each."""
    parts: dict[str, list[dict[str, object]]] = {"train": [], "validation": []}
    for row in flat(file):
        # Not the first byte: thresholds are tuned on one half of the passages by that, and would find all in the other.
        held_out = hashlib.sha256(row["context"].encode()).digest()[1] % 10 == 0
        parts["validation" if held_out else "train"].append(row)
    for name, rows in parts.items():
        print(f"{write(rows, folder / f'{name}.json')}: {len(rows):,} questions")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
