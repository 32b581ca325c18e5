import pytest

from builder import source as limits
from builder.source import CommitSource
from runtime.errors import SourceError
from tests.unit.builder.repository import TIME, Link, Program, Repository

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"


def test_a_commit_is_read_without_a_work_tree(repository: Repository) -> None:
    files = {"b/c.txt": "see", "a.txt": "ay", "b-d": "dee", "b/run": Program("#!/bin/sh"), "link": Link("b/c.txt")}
    with repository.source(files) as source:
        assert source.paths() == ("a.txt", "b-d", "b/c.txt", "b/run", "link")
        assert source.read("b/c.txt") == b"see"
        assert source.read("b") is None
        assert source.read("nothing") is None
        assert source.time == TIME
        assert source.warnings == ()
        assert [entry.executable for entry in source.entries()] == [False, False, False, True, False]
        assert [entry.symlink for entry in source.entries()] == [False, False, False, False, True]


def test_a_packed_commit_is_read_the_same(repository: Repository) -> None:
    commit = repository.commit(repository.files({"a/b": "x" * 5000, "a/c": "x" * 4999 + "y", "empty": ""}))
    repository.git("update-ref", "refs/heads/main", commit)
    repository.git("gc", "-q", "--prune=now")
    with CommitSource(repository.path, commit) as source:
        assert source.read("a/c") == b"x" * 4999 + b"y"
        assert source.read("empty") == b""


def test_an_empty_commit_has_no_files(repository: Repository) -> None:
    with repository.source({}) as source:
        assert source.paths() == ()


def test_a_time_that_no_zip_holds_is_moved(repository: Repository) -> None:
    tree = repository.files({"a": ""})
    with CommitSource(repository.path, repository.commit(tree, time=0)) as old:
        assert old.time == 315_619_200
    with CommitSource(repository.path, repository.commit(tree, time=99_999_999_999)) as late:
        assert late.time == 4_102_444_800


def test_reading_a_symlink_or_too_much_is_refused(repository: Repository) -> None:
    with repository.source({"a": "x" * 11, "link": Link("a")}) as source:
        with pytest.raises(SourceError, match="'link' is a symlink and must be a file: commit the file itself"):
            source.read("link")
        with pytest.raises(SourceError, match="'a' has 11 bytes and may have 10: make it smaller"):
            source.read("a", limit=10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"..", "path '..' has a part that is '.' or '..': rename it"),
        (b".", "path '.' has a part that is '.' or '..': rename it"),
        (b"", "path '' has an empty part: rename it"),
        (b"a/b", "path 'a/b' has a slash in a file name: rename it"),
        (b"/etc", "path '/etc' has a slash in a file name: rename it"),
        (b".git", "path '.git' would be a git folder: rename it"),
        (b".GiT", "path '.GiT' would be a git folder: rename it"),
        (b"git~1", "path 'git~1' would be a git folder: rename it"),
        (b".git ", "path '.git ' would be a git folder: rename it"),
        (b".git...", "path '.git...' would be a git folder: rename it"),
        (b".git::$INDEX_ALLOCATION", "path '.git::$INDEX_ALLOCATION' would be a git folder: rename it"),
        (".g\u200cit".encode(), r"path '.g\u200cit' would be a git folder: rename it"),
        (b"a\nb", r"path 'a\nb' has a control character: rename it"),
        (b"a\x1b[2Jb", r"path 'a\x1b[2Jb' has a control character: rename it"),
        (b"caf\xe9", r"file name 'caf\xe9' is not UTF-8: rename it"),
        (b"a" * 256, "has a part of more than 255 bytes: rename it"),
    ],
)
def test_names_that_are_not_safe_are_refused(repository: Repository, name: bytes, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        repository.source_of(("100644", name, repository.blob("x")))
    assert message in str(caught.value)


def test_the_path_of_a_bad_name_is_told(repository: Repository) -> None:
    inner = repository.tree([("100644", b"..", repository.blob("x"))])
    with pytest.raises(SourceError, match=r"path 'lib/\.\.' has a part"):
        repository.source_of(("40000", b"lib", inner))


@pytest.mark.parametrize("name", ["naïve.txt", ".gitignore", ".github", "a b", "-r", "git~2", "…", "a\\b"])
def test_unusual_names_are_fine(repository: Repository, name: str) -> None:
    with repository.source({name: "x"}) as source:
        assert source.paths() == (name,)


def test_a_submodule_is_named(repository: Repository) -> None:
    inner = repository.tree([("160000", b"lib", "1" * 40)])
    with pytest.raises(SourceError) as caught:
        repository.source_of(("40000", b"vendor", inner))
    assert str(caught.value) == (
        "'vendor/lib' is a submodule, and submodules are not supported: commit its files instead"
    )


def test_a_name_that_is_there_twice_is_refused(repository: Repository) -> None:
    """A file below a symlink is such a tree: the link and a folder of its name."""
    blob = repository.blob("/etc")
    inside = repository.files({"passwd": "x"})
    with pytest.raises(SourceError, match="'a' is in the tree twice"):
        repository.source_of(("120000", b"a", blob), ("40000", b"a", inside))


def test_an_unknown_mode_is_refused(repository: Repository) -> None:
    with pytest.raises(SourceError, match="'fifo' has the mode 10644, which is no file and no symlink"):
        repository.source_of(("10644", b"fifo", repository.blob("x")))


@pytest.mark.parametrize(
    "links",
    [
        {"a": "/etc/passwd"},
        {"a": "../x"},
        {"d/a": "../../x"},
        {"a": "."} | {"b": "a/../x"},
        {"d/e/up": "../..", "x": "d/e/up/../y"},
        {"a": "b", "b": "c/..", "c": "../.."},
        {"a": "b/x", "b": "/"},
    ],
)
def test_symlinks_out_of_the_commit_are_refused(repository: Repository, links: dict[str, str]) -> None:
    with pytest.raises(SourceError, match=r"points out of the commit, to '.*': make it relative"):
        repository.source({path: Link(target) for path, target in links.items()} | {"d/e/f": "x"})


@pytest.mark.parametrize(
    "links",
    [{"a": "d/e/f"}, {"d/a": "../d"}, {"a": "nowhere"}, {"d/e/up": "../..", "x": "d/e/up/d"}, {"a": "./d//e/."}],
)
def test_symlinks_inside_of_the_commit_are_fine(repository: Repository, links: dict[str, str]) -> None:
    with repository.source({path: Link(target) for path, target in links.items()} | {"d/e/f": "x"}) as source:
        assert set(links) <= set(source.paths())


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b/b", "b": "a/a"}])
def test_symlinks_in_a_circle_are_refused(repository: Repository, links: dict[str, str]) -> None:
    with pytest.raises(SourceError, match="goes round in a circle: remove it"):
        repository.source({path: Link(target) for path, target in links.items()})


def test_a_symlink_to_no_path_is_refused(repository: Repository) -> None:
    with pytest.raises(SourceError, match="symlink 'a' points to no path"):
        repository.source_of(("120000", b"a", repository.blob("x\x00y")))
    with pytest.raises(SourceError, match="symlink 'a' points to a name that is not UTF-8"):
        repository.source_of(("120000", b"a", repository.blob(b"\xff")))


def test_a_tree_that_unfolds_without_end_is_stopped(repository: Repository) -> None:
    tree = repository.files({f"f{number}": "" for number in range(10)})
    for _ in range(12):
        tree = repository.tree([("40000", f"d{number}".encode(), tree) for number in range(10)])
    with pytest.raises(SourceError, match="more than 200000 files and folders: commit fewer"):
        CommitSource(repository.path, repository.commit(tree))


def test_a_path_has_a_limit(repository: Repository) -> None:
    tree = repository.files({"f": ""})
    for _ in range(6):
        tree = repository.tree([("40000", b"d" * 200, tree)])
    with pytest.raises(SourceError, match="a path is longer than 1000 characters: shorten 'ddd"):
        CommitSource(repository.path, repository.commit(tree))


def test_sizes_have_limits(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repository.commit(repository.files({"big": "x" * 2000, "small": "y" * 1000}))
    monkeypatch.setattr(limits, "SIZE_LIMIT", 2999)
    with pytest.raises(SourceError, match="files have more than 0 MiB: keep large files elsewhere"):
        CommitSource(repository.path, commit)
    monkeypatch.setattr(limits, "FILE_LIMIT", 1999)
    with pytest.raises(SourceError, match="'big' has 0 MiB and may have 0: keep it elsewhere"):
        CommitSource(repository.path, commit)


def test_what_is_not_there_is_told(repository: Repository) -> None:
    with pytest.raises(SourceError, match=r"'main' is not a commit id: give its 40 hex digits"):
        CommitSource(repository.path, "main")
    with pytest.raises(SourceError, match=f"object {'1' * 40} can't be read from the repository: push it again"):
        CommitSource(repository.path, "1" * 40)
    with pytest.raises(SourceError, match="is not what the commit says it is"):
        CommitSource(repository.path, repository.blob("x"))
    with pytest.raises(SourceError, match="is not a bare git repository"):
        CommitSource(repository.path / "refs", "1" * 40)
    with pytest.raises(SourceError, match=f"file {'2' * 40} of the commit is not in the repository"):
        repository.source_of(("100644", b"a", "2" * 40))


def test_a_damaged_tree_is_told(repository: Repository) -> None:
    raw = b"100644 a\0" + b"1" * 7
    tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    with pytest.raises(SourceError, match=f"{tree} .*: push it again"):
        CommitSource(repository.path, repository.commit(tree))


def test_lfs_pointers_are_warned_of(repository: Repository) -> None:
    with repository.source({"media/a.psd": POINTER, "notes": "version https://git-lfs", "b.psd": POINTER}) as source:
        assert source.warnings == (
            "git lfs is not supported, only its pointer is deployed for 'b.psd', 'media/a.psd': commit the file itself",
        )
    with repository.source({f"{number}.psd": POINTER for number in range(7)}) as many:
        assert "'4.psd' and 2 more: commit" in many.warnings[0]


def test_a_folder_of_a_commit_is_a_source_too(repository: Repository) -> None:
    files = {"api/app.py": "a", "api/lib/b": "b", "apis": "x", "api/up": Link("../shared"), "shared": "s"}
    with repository.source(files | {"old": POINTER}) as source:
        api = source.below("api")
        assert api.paths() == ("app.py", "lib/b", "up")
        assert api.read("lib/b") == b"b"
        assert api.warnings == ("symlink 'api/up' leaves 'api/', and its target is not there",)
        assert source.below("./api/").paths() == api.paths()
        assert source.below("") is source
        assert source.below(".").paths() == source.paths()
        assert len(source.warnings) == 1


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("../x", "'../x' is not a folder of the commit: give a relative path without '..'"),
        ("/api", "'/api' is not a folder of the commit"),
        ("api/../api", "is not a folder of the commit"),
        ("web", "the commit has no folder 'web': correct the root, or commit the folder"),
        ("api/app.py", "the commit has no folder 'api/app.py'"),
        ("link", "'link' is a symlink and can't be the root: name the folder it points to"),
        ("link/lib", "'link' is a symlink and can't be the root"),
    ],
)
def test_a_root_that_is_no_folder_is_refused(repository: Repository, root: str, message: str) -> None:
    with (
        repository.source({"api/app.py": "a", "api/lib/b": "b", "link": Link("api")}) as source,
        pytest.raises(SourceError) as caught,
    ):
        source.below(root)
    assert message in str(caught.value)
