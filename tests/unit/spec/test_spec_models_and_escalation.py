"""Models that a file names and nobody has registered: a warning, where the mesh is known."""

from __future__ import annotations

import pytest

from orbit_core.spec.loader import load
from satellites.catalog import InstalledCatalog

FILE = """
version: 0.0.1b
cluster:
  identifier: acme/reports
  sla: 1h
  trigger: {api-call: true}
  satellites:
    - uses: satellite/orbit/generate
      identifier: ask
      config: {model: MODEL, escalate-to: LARGER, output-format: json}
      input: {prompt: hello}
"""


@pytest.mark.parametrize(
    ("model", "larger", "warned"),
    [
        ("small", "large", []),
        ("smal", "large", ["config.model"]),
        ("small", "larg", ["config.escalate-to"]),
        ("none", "nor-this", ["config.model", "config.escalate-to"]),
        ("small", '"${{ trigger.model }}"', []),
    ],
)
def test_each_model_that_nobody_registered_is_warned_of_at_its_place(
    model: str, larger: str, warned: list[str]
) -> None:
    text = FILE.replace("MODEL", model).replace("LARGER", larger)
    loaded = load(text, catalog=InstalledCatalog(), models=["small", "large"])
    assert loaded.cluster is not None
    assert [each.code for each in loaded.diagnostics] == ["unknown-model"] * len(warned)
    assert [each.path for each in loaded.diagnostics] == [f"cluster.satellites[0].{place}" for place in warned]
    for each in loaded.diagnostics:
        assert each.severity == "warning"
        assert each.line == 10


def test_where_the_mesh_is_not_known_nothing_is_said_of_models() -> None:
    assert load(FILE, catalog=InstalledCatalog()).diagnostics == ()
