import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder import dockerfile
from builder.dockerfile import Run
from runtime.errors import BuildError


def test_a_dockerfile_is_its_instructions() -> None:
    cache = dockerfile.cache("lockstep-shop", "pip", "/root/.cache/pip")
    assert (
        dockerfile.text(
            [
                dockerfile.from_("debian:12", "build"),
                dockerfile.path("/opt/venv/bin", "/opt/x"),
                dockerfile.copy(["a.txt", "b/c"], "./"),
                Run("pip install -r a.txt", cache),
                Run("make all", hostile=True),
                "",
                dockerfile.from_("debian:12"),
                dockerfile.copy(["/app"], "/app", stage="build", owner="app"),
                dockerfile.command(["sh", "-c", 'echo "hi"']),
            ]
        )
        == """\
FROM debian:12 AS build
ENV PATH=/opt/venv/bin:/opt/x:$PATH
COPY a.txt b/c ./
RUN --mount=type=cache,id=lockstep-shop-pip,target=/root/.cache/pip pip install -r a.txt
RUN ["/bin/sh", "-c", "make all"]

FROM debian:12
COPY --from=build --chown=app:app /app /app
CMD ["sh", "-c", "echo \\"hi\\""]
"""
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain-1.2/x:y@z", "A=plain-1.2/x:y@z"),
        ("", 'A=""'),
        ("two words", 'A="two words"'),
        ("$HOME ${x}", r'A="\$HOME \${x}"'),
        ('a"b', r'A="a\"b"'),
        ("it's", 'A="it\'s"'),
        ("end\\", r'A="end\\"'),
        ("# no comment", 'A="# no comment"'),
        ("naïve", 'A="naïve"'),
    ],
)
def test_env_values_are_literal(value: str, written: str) -> None:
    assert dockerfile.env({"A": value}) == f"ENV {written}"


def test_env_refuses_what_it_can_not_write() -> None:
    with pytest.raises(ValueError, match="newline"):
        dockerfile.env({"A": "x\ny"})


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.text("ab\n'\"$<\\ ", max_size=20))
def test_a_hostile_script_stays_one_argument(script: str, value: str) -> None:
    line = dockerfile.text([Run(script, hostile=True, exports=(("A", value),))])
    assert line.count("\n") == 1
    assert "<" not in line
    shell, flag, argument = json.loads(line.removeprefix("RUN "))
    assert (shell, flag) == ("/bin/sh", "-c")
    assert argument == f"export A={shlex.quote(value)}; {script}"


@pytest.mark.parametrize("script", ["a\nb", "cat <<X", "[ -f x ]", "a \\", "echo é"])
def test_a_script_that_the_shell_form_would_change_is_json(script: str) -> None:
    assert json.loads(dockerfile.text([Run(script)]).removeprefix("RUN ")) == ["/bin/sh", "-c", script]


@pytest.mark.parametrize("path", ["a b", "$x", "a*", "[a]", "../x", "a/../../x", "-x", "", "a\nb", "é", 'a"'])
def test_only_plain_paths_are_copied(path: str) -> None:
    assert not dockerfile.is_plain_path(path)
    with pytest.raises(BuildError, match="can't be copied into the image"):
        dockerfile.copy([path], "./")


def test_what_stands_in_a_mount_or_a_from_is_checked() -> None:
    with pytest.raises(BuildError, match="can't name a build cache"):
        dockerfile.cache("a,target=/etc", "pip", "/x")
    with pytest.raises(BuildError, match="is not an image reference"):
        dockerfile.from_("debian\nRUN evil")


@pytest.mark.parametrize("value", ["a\0b", "a\x1b", "a\rb", "\ud800"])
def test_values_that_no_program_can_be_given_are_refused(value: str) -> None:
    with pytest.raises(BuildError, match="build step 1 holds a character that no program can be given: remove it"):
        dockerfile.checked("build step 1", value)
    assert dockerfile.checked("x", "a\tb\nc") == "a\tb\nc"
