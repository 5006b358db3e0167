"""`python -m tui.demo.reports FOLDER`: the demonstration's quarterly reports as PDF files, to try clusters with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tui.demo.reports import make_reports, pdf_bytes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tui.demo.reports", description=__doc__)
    parser.add_argument("folder", type=Path, help="made where it is not there")
    parser.add_argument("--count", type=int, default=6, help="how many; the same number always gives the same ones")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for report in make_reports(given.count):
        (given.folder / report.file_name).write_bytes(pdf_bytes(report))
    sys.stdout.write(f"{given.count} reports are in {given.folder}\n")


if __name__ == "__main__":
    main()
