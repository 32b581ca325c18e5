"""Repositories stay small."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gitreceive import maintenance


def bare(path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True)
    return path


def test_only_old_quarantines_go(tmp_path: Path) -> None:
    repository = bare(tmp_path / "shop.git")
    now = 1_800_000_000.0
    for name, age in (("old", maintenance.STALE + 1), ("new", 10.0)):
        folder = repository / "objects" / f"tmp_objdir-incoming-{name}"
        folder.mkdir()
        os.utime(folder, (now - age, now - age))
    assert maintenance.remove_stale_quarantines(repository, now) == ["tmp_objdir-incoming-old"]
    assert (repository / "objects" / "tmp_objdir-incoming-new").is_dir()


def with_packs(repository: Path, number: int) -> None:
    """Give the repository so many commits, each in a pack of its own."""
    git = ["git", "--git-dir", str(repository)]
    tree = subprocess.run([*git, "mktree"], input=b"", check=True, capture_output=True).stdout.decode().strip()
    identity = {"GIT_AUTHOR_NAME": "dev", "GIT_AUTHOR_EMAIL": "dev@example.org"}
    identity |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in identity.items()}
    for turn in range(number):
        words = [*git, "commit-tree", "-m", f"commit {turn}", tree]
        done = subprocess.run(words, check=True, capture_output=True, env={**os.environ, **identity})
        subprocess.run([*git, "update-ref", f"refs/heads/b{turn}", done.stdout.decode().strip()], check=True)
        subprocess.run([*git, "repack", "-q"], check=True)


def packs(repository: Path) -> int:
    return len(list((repository / "objects" / "pack").glob("*.pack")))


async def test_many_packs_become_one(tmp_path: Path) -> None:
    repository = bare(tmp_path / "shop.git")
    with_packs(repository, maintenance.PACKS + 2)
    assert packs(repository) > maintenance.PACKS
    await maintenance.pack(repository)
    assert packs(repository) == 1
