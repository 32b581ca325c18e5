import io
import tarfile
from collections.abc import Mapping

import pytest

from builder.context import CHUNK, context_tar
from runtime.errors import SourceError
from tests.unit.builder.repository import TIME, Content, Link, Program, Repository

EXTRA = {".lockstep/site.json": b"{}"}


def members(repository: Repository, files: Mapping[str, Content], extra: Mapping[str, bytes] = {}) -> dict[str, str]:
    """What the context holds: content of files, ">" and target of symlinks."""
    with repository.source(files) as source:
        return unpacked(b"".join(context_tar(source, extra)))


def unpacked(data: bytes) -> dict[str, str]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            inside = tar.extractfile(member) if member.isfile() else None
            found[member.name] = inside.read().decode() if inside else member.linkname and f">{member.linkname}"
    return found


def test_the_context_has_files_folders_and_symlinks(repository: Repository) -> None:
    files = {"b/c": "see", "a": "ay", "l": Link("b/c"), "b/run": Program("x")}
    with repository.source(files) as source:
        data = b"".join(context_tar(source, EXTRA))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        rows = [(row.name, row.type, oct(row.mode), row.size, row.mtime, row.uid, row.gid) for row in tar]
    assert rows == [
        (".lockstep", tarfile.DIRTYPE, "0o755", 0, TIME, 0, 0),
        (".lockstep/site.json", tarfile.REGTYPE, "0o644", 2, TIME, 0, 0),
        ("a", tarfile.REGTYPE, "0o644", 2, TIME, 0, 0),
        ("b", tarfile.DIRTYPE, "0o755", 0, TIME, 0, 0),
        ("b/c", tarfile.REGTYPE, "0o644", 3, TIME, 0, 0),
        ("b/run", tarfile.REGTYPE, "0o755", 1, TIME, 0, 0),
        ("l", tarfile.SYMTYPE, "0o777", 0, TIME, 0, 0),
    ]
    assert unpacked(data)["l"] == ">b/c"


def test_the_same_commit_gives_the_same_bytes(repository: Repository) -> None:
    with repository.source({"a/b": "1", "c": "2"}) as source:
        assert b"".join(context_tar(source, EXTRA)) == b"".join(context_tar(source, EXTRA))
        assert len(b"".join(context_tar(source, EXTRA))) % 512 == 0


def test_long_and_foreign_names_are_kept(repository: Repository) -> None:
    long = "/".join(["d" * 60] * 5)
    files = {"naïve": "1", long: "2", "ö" * 60: "3", "link": Link(long)}
    assert {name: content for name, content in members(repository, files).items() if content} == {
        "naïve": "1",
        long: "2",
        "ö" * 60: "3",
        "link": f">{long}",
    }


def test_chunks_are_of_one_size_whatever_the_files(repository: Repository) -> None:
    files = {f"f{number}": "x" * 9000 for number in range(120)} | {"large": "y" * (3 * CHUNK)}
    with repository.source(files) as source:
        chunks = list(context_tar(source, {}))
    assert all(0 < len(chunk) <= 2 * CHUNK for chunk in chunks)
    assert all(len(chunk) >= CHUNK for chunk in chunks[:1])
    assert unpacked(b"".join(chunks))["large"] == "y" * (3 * CHUNK)


def test_ours_win_over_the_apps(repository: Repository) -> None:
    files = {".lockstep/site.json": "theirs", ".lockstep/other": "kept", "x/y": "1", "Dockerfile": "theirs"}
    found = members(repository, files, {**EXTRA, "Dockerfile": b"ours", "x": b"a file"})
    assert found == {
        ".lockstep": "",
        ".lockstep/other": "kept",
        ".lockstep/site.json": "{}",
        "Dockerfile": "ours",
        "x": "a file",
    }


def test_a_symlink_in_the_place_of_our_folder_is_left_out(repository: Repository) -> None:
    found = members(repository, {".lockstep": Link("lib"), "lib/site.json": "theirs"}, EXTRA)
    assert found == {".lockstep": "", ".lockstep/site.json": "{}", "lib": "", "lib/site.json": "theirs"}


def test_ignored_files_stay_out_but_for_what_docker_needs(repository: Repository) -> None:
    files = {
        ".dockerignore": "*\n!src\nsrc/**/*.pyc\n",
        ".slugignore": "tests/\n",
        "Dockerfile": "FROM x",
        "README": "no",
        "src/a.py": "1",
        "src/a.pyc": "no",
        "src/deep/b.pyc": "no",
        "src/tests/t.py": "no",
    }
    assert members(repository, files, EXTRA) == {
        ".dockerignore": files[".dockerignore"],
        ".lockstep": "",
        ".lockstep/site.json": "{}",
        "Dockerfile": "FROM x",
        "src": "",
        "src/a.py": "1",
    }


def test_a_wrong_pattern_is_told_with_its_line(repository: Repository) -> None:
    with pytest.raises(SourceError, match=r"\.dockerignore line 2: 'a\[b' has a '\[' without its '\]'"):
        members(repository, {".dockerignore": "ok\na[b\n"})


def test_the_context_of_a_folder_is_that_folder(repository: Repository) -> None:
    files = {"api/app.py": "1", "api/.dockerignore": "*.md", "api/a.md": "no", "web/x": "no", ".dockerignore": "app.py"}
    with repository.source(files) as source:
        found = unpacked(b"".join(context_tar(source.below("api"), {})))
    assert found == {".dockerignore": "*.md", "app.py": "1"}
