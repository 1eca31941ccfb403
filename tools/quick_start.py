"""`python tools/quick_start.py K` prints the K-th sh block of README.md's Quick start.

They are counted from 1.
"""

import re
import sys
from pathlib import Path

readme_path = Path(__file__).resolve().parent.parent / "README.md"
sh_block = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
next_section = re.compile(r"^## ", re.MULTILINE)


def quick_start_blocks(readme: str) -> list[str]:
    """The sh blocks of the section `## Quick start`, in order."""
    _, heading, rest = readme.partition("\n## Quick start\n")
    if not heading:
        raise ValueError("README.md has no section '## Quick start'.")
    return sh_block.findall(next_section.split(rest)[0])


if __name__ == "__main__":
    blocks = quick_start_blocks(readme_path.read_text(encoding="utf-8"))
    sys.stdout.write(blocks[int(sys.argv[1]) - 1])
