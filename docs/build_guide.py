"""Build the guide in both languages into docs/_build/guide.

``python docs/build_guide.py`` runs every cell of every document and writes their
results into the pages. A warning, of Sphinx or of a cell, ends it with an error. It
needs the dependency group ``guide``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GUIDE = Path(__file__).parent / "guide"
BUILT = Path(__file__).parent / "_build" / "guide"

# By folder: what Sphinx calls the language, its own name, and the title.
LANGUAGES = {
    "en": ("en", "English", "Why N(0, 1)?"),
    "zh": ("zh_CN", "中文", "为什么是 N(0, 1)？"),  # noqa: RUF001
}

# Twice the pixels, shown at 80 an inch; and no word of how the kernel is spoken to.
KERNEL_CONFIG = """
c.IPKernelApp.log_level = 40
c.InlineBackend.figure_formats = {"retina"}
c.InlineBackend.rc = {"figure.dpi": 80}
"""

START = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Why N(0, 1)?</title>
<style>
  :root { color-scheme: light dark; font: 1.4rem/2 system-ui, sans-serif }
  body { display: grid; place-content: center; min-height: 90vh; margin: 0 }
</style>
"""


def start_build(folder: str, home: Path) -> subprocess.Popen[bytes]:
    """Start to build one language into a folder of its own below ``home``."""
    language, _, title = LANGUAGES[folder]
    (other,) = LANGUAGES.keys() - {folder}
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    command += ["-c", str(GUIDE), "-D", f"language={language}"]
    command += ["-D", f"html_title={title}"]
    command += ["-A", f"other_folder={other}"]
    command += ["-A", f"other_language={LANGUAGES[other][1]}"]
    environment = os.environ | {
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": str(GUIDE),
        # A language has a core to itself.
        "OMP_NUM_THREADS": "1",
        # tqdm would rather draw its bars with ipywidgets. There are no bars.
        "PYTHONWARNINGS": "ignore:IProgress not found",
    }
    return subprocess.Popen(
        [*command, str(GUIDE / folder), str(pages(folder, home))], env=environment
    )


def pages(folder: str, home: Path) -> Path:
    """Return where a language is built; myst-nb writes beside it too."""
    return home / folder / "html"


def write_start_page() -> None:
    """Write the page that asks for the language."""
    links = (
        f'<a href="{folder}/index.html" lang="{folder}">{title}</a>'
        for folder, (_, _, title) in LANGUAGES.items()
    )
    (BUILT / "index.html").write_text(START + "\n".join(links), encoding="utf-8")


def main() -> int:
    """Build the languages side by side, and return how many failed."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        profile = home / "ipython" / "profile_default"
        profile.mkdir(parents=True)
        (profile / "ipython_kernel_config.py").write_text(KERNEL_CONFIG)
        builds = {folder: start_build(folder, home) for folder in LANGUAGES}
        failed = [folder for folder, build in builds.items() if build.wait() != 0]
        if failed:
            return len(failed)
        shutil.rmtree(BUILT, ignore_errors=True)
        for folder in LANGUAGES:
            leave_out = shutil.ignore_patterns(".doctrees", ".buildinfo", "objects.inv")
            shutil.copytree(pages(folder, home), BUILT / folder, ignore=leave_out)
    write_start_page()
    print(f"The guide: {BUILT / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
