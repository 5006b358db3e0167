"""The loader on hostile input: whatever it is given, it answers with diagnostics and raises nothing."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orbit_core.errors import InvalidSpecError
from orbit_core.spec.loader import LoadResult, load, load_document
from tests.unit.spec import broken_files
from tests.unit.spec.fake_catalog import FakeCatalog

_VALID = Path(broken_files.__file__).parent / "valid"
SEEDS = [
    *(path.read_text() for path in sorted(_VALID.glob("*.yml"))),
    *(path.read_bytes().decode("utf-8", "replace") for path in sorted(broken_files.FOLDER.glob("*.yml"))),
]
CATALOG = FakeCatalog()

_SPICE = st.sampled_from(
    [
        "${{", "}}", "${{ satellites.x.output }}", "${{ secrets.A }}", "&a ", "*a", "!!python/name:os.system ",
        "!x ", "- ", ": ", "? ", "|\n", ">\n", "[", "]", "{", "}", "\t", "\n", "\r", "\x00", "\ufeff", "\u2028",
        "\x85", "---\n", "...\n", "%YAML 1.1\n", "<<: ", "'", '"', "#", "~", "null", "true", "-1", "1e999", ".nan",
        "0x10", "9" * 30, "run", "output", "needs: [a]", "gather: true", "if: a == b", "satellites:", "secrets:",
        "cron: '* * * * *'", "@", "`", "%", ",", "\\", "\ud83d\ude00", "é", "[" * 70, "(" * 70,
    ]
)  # fmt: skip


def is_sound(result: LoadResult) -> None:
    """What must hold of any answer of the loader."""
    assert (result.cluster is None) == bool(result.errors)
    for diagnostic in result.diagnostics:
        assert diagnostic.format()
        assert diagnostic.line is None or diagnostic.line >= 1
        assert diagnostic.column is None or diagnostic.column >= 1
    if result.cluster is None:
        try:
            result.unwrap()
        except InvalidSpecError as error:
            assert len(error.violations) == len(result.errors)
        else:
            raise AssertionError("a result without a cluster was unwrapped")
    else:
        document = {"version": "0.0.1b", "cluster": result.cluster.to_document()}
        again = load_document(document, catalog=CATALOG)
        assert again.cluster == result.cluster


@given(st.one_of(st.text(), st.binary()))
def test_random_text_and_bytes(text: str | bytes) -> None:
    is_sound(load(text, catalog=CATALOG))


@st.composite
def mutated_files(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 30))
        text = text[:start] + draw(st.one_of(_SPICE, st.text(max_size=8))) + text[start + length :]
    return text


@settings(max_examples=300)
@given(mutated_files())
def test_mutated_files(text: str) -> None:
    is_sound(load(text, catalog=CATALOG))


_KEYS = st.sampled_from(
    [
        "version", "cluster", "identifier", "sla", "trigger", "cron", "timezone", "api-call", "s3-upload", "webhook",
        "cluster-finished", "bucket", "path", "secret", "retries", "max-retries", "delay", "secrets", "satellites",
        "logs", "failure", "from", "uses", "name", "config", "input", "needs", "gather", "over", "when", "if",
        "timeout", "resources", "cpu", "memory", "output-schema", "kind", "title", "budget", "priority", "a", "",
    ]
)  # fmt: skip
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12),
    st.sampled_from(
        [
            "0.0.1b", "acme/demo", "1h", "0 0 * * *", "satellite/acme/any", "first", "second", "run", "true",
            "${{ satellites.first.output }}", "${{ satellites.second.outputs }}", "${{ secrets.A }}", "A",
            "satellites.first.output.x > 1", "/hook", '{"a": string}', "satellite/exospherehost/call-webhook",
        ]
    ),
)  # fmt: skip
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=6)),
    max_leaves=30,
)


@settings(max_examples=300)
@given(st.dictionaries(_KEYS, _TREES, max_size=5), _TREES, st.sampled_from(["validate", "submit"]))
def test_any_tree_of_plausible_keys(cluster: dict[str, object], version: object, mode: str) -> None:
    document = {"version": version, "cluster": cluster}
    from_data = load_document(document, catalog=CATALOG, mode="submit" if mode == "submit" else "validate")
    is_sound(from_data)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    is_sound(load(text, catalog=CATALOG))


@st.composite
def plausible_clusters(draw: st.DrawFn) -> dict[str, object]:
    """A valid cluster in which a few values have been replaced by something else."""
    document = yaml.safe_load(draw(st.sampled_from(SEEDS[:2])))
    for _ in range(draw(st.integers(1, 5))):
        place = document
        for _ in range(draw(st.integers(1, 6))):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            below = place[key]
            if not isinstance(below, dict | list) or draw(st.booleans()):
                place[key] = draw(_TREES)
                break
            place = below
    return document


@settings(max_examples=300)
@given(plausible_clusters())
def test_valid_clusters_with_replaced_values(document: dict[str, object]) -> None:
    is_sound(load_document(document, catalog=CATALOG))
    is_sound(load(yaml.safe_dump(document, sort_keys=False), catalog=CATALOG))
