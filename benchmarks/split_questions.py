"""Split SQuAD's nested JSON by passage: about one in ten goes to validation, regardless of the order in the file.

python benchmarks/split_questions.py FILE FOLDER     writes FOLDER/train.json and FOLDER/validation.json
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from squad import flat, write


def main(file: Path, folder: Path) -> None:
    """Write both splits, and print how many questions each has."""
    splits: dict[str, list[dict[str, object]]] = {"train": [], "validation": []}
    for row in flat(file):
        # Not the first byte: threshold tuning splits passages by it, and would put all of them in the same half.
        held_out = hashlib.sha256(row["context"].encode()).digest()[1] % 10 == 0
        splits["validation" if held_out else "train"].append(row)
    for name, rows in splits.items():
        print(f"{write(rows, folder / f'{name}.json')}: {len(rows):,} questions")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
