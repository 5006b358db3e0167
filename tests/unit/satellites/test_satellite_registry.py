"""Which satellites there are, under which names, and that looking them up costs little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from orbit_core.ids import NAME_PATTERN
from orbit_core.spec.loader import load
from orbit_core.spec.models import SatelliteRef
from satellites import registry
from satellites.catalog import InstalledCatalog
from satellites.contract import JsonObject, Satellite, SatelliteConfig, SatelliteInput
from satellites.registry import Registry, UnknownSatelliteError

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "../shared/examples/structured-pdfs.yml"


class Thing(Satellite[SatelliteConfig, SatelliteInput]):
    name: ClassVar[str] = "satellite/acme/thing"
    aliases = ("satellite/acme/thingy",)
    version = "2"
    Config = SatelliteConfig
    Input = SatelliteInput

    async def run(self, config: SatelliteConfig, input: SatelliteInput, context: object) -> list[JsonObject]:
        return []


class Impostor(Thing):
    name = "satellite/acme/thing"
    aliases = ("satellite/acme/impostor",)


def test_a_satellite_is_found_by_name_alias_and_version() -> None:
    known = Registry([Thing])
    for name in ("satellite/acme/thing", "satellite/acme/thingy", "satellite/acme/thing@2"):
        assert known.get(name) is Thing


def test_a_version_that_is_not_installed_is_named_with_the_one_that_is() -> None:
    with pytest.raises(UnknownSatelliteError, match="version 2 is installed"):
        Registry([Thing]).get("satellite/acme/thing@3")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("satellite/exospherehost/get-files-froms3", "satellite/exospherehost/get-files-from-s3"),
        ("satellite/exospherehost/deepseek-r1-distil-llama-70b", "deepseek-r1-distill-llama-70b"),
        ("satellite/acme/call-webhook", "satellite/exospherehost/call-webhook"),
        ("satellite/orbit/ecko", "satellite/orbit/echo"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(written: str, meant: str) -> None:
    with pytest.raises(UnknownSatelliteError) as caught:
        registry.get(written)
    assert meant in str(caught.value)


def test_a_name_that_is_taken_stays_with_whoever_came_first(caplog: pytest.LogCaptureFixture) -> None:
    known = Registry([Thing, Impostor])
    assert known.get("satellite/acme/thing") is Thing
    assert "satellite/acme/impostor" not in known.all_names()
    assert "satellite/acme/thing" in caplog.text


def test_built_in_satellites_are_well_formed_and_their_names_unique() -> None:
    from satellites.builtin import SATELLITES

    seen: set[str] = set()
    for found in SATELLITES:
        for name in (found.name, *found.aliases):
            prefix, project, last = name.split("/")
            assert prefix == "satellite"
            assert NAME_PATTERN.fullmatch(project) and NAME_PATTERN.fullmatch(last)
            assert name not in seen
            seen.add(name)
        assert found.summary and found.__doc__
        for model in (found.Config, found.Input):
            aliases = [field.alias or name for name, field in model.model_fields.items()]
            assert all(alias == alias.lower() and "_" not in alias for alias in aliases)


def test_looking_a_satellite_up_imports_nothing_heavy() -> None:
    heavy = ("boto3", "botocore", "httpx", "pypdfium2", "rapidocr", "onnxruntime", "numpy", "docling", "PIL", "grpc")
    program = (
        "import sys; from satellites import registry; registry.get('satellite/exospherehost/get-files-from-s3'); "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_catalog_resolves_aliases_and_knows_the_model_of_a_config() -> None:
    catalog = InstalledCatalog()
    info = catalog.resolve(SatelliteRef.parse("satellite/orbit/deepseek-r1-distill-llama-70b"))
    assert info is not None and info.model_of is not None
    assert info.name == "satellite/exospherehost/deepseek-r1-distrill-llama-70b"
    assert info.model_of({"temperature": 0.5}) == "deepseek-r1-distill-llama-70b"
    assert info.model_of({"temperature": "${{ trigger.heat }}"}) == "deepseek-r1-distill-llama-70b"
    assert info.model_of({"model": "tiny", "secrets": {"A": "x"}}) == "tiny"
    assert info.model_of({"model": "${{ trigger.model }}"}) == "deepseek-r1-distill-llama-70b"
    assert info.model_of({"model": "tiny", "temperature": "hot"}) == "tiny"
    assert catalog.resolve(SatelliteRef.parse("satellite/orbit/deepseek")) is None
    assert "satellite/orbit/echo" in catalog.names()

    s3 = catalog.resolve(SatelliteRef.parse("satellite/exospherehost/get-files-from-s3"))
    assert s3 is not None
    assert s3.secrets == ("AWS_ACCESS_KEY", "AWS_SECRET_KEY")
    assert s3.resources.memory_bytes == 384 * 1024 * 1024
    assert s3.timeout_ms == 1_800_000


@pytest.mark.shared
def test_the_published_example_fits_the_satellites_that_it_uses() -> None:
    if not EXAMPLE.exists():
        pytest.skip("the published example is not here (../shared/examples)")
    loaded = load(EXAMPLE.read_text(), catalog=InstalledCatalog())
    assert loaded.errors == ()
