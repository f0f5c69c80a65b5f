"""Proofs that a model can infill are kept for the file as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from codehearth.models.infilling import InfillProof, InfillProofs

PROOF = InfillProof(
    format="qwen", engine="llama.cpp", is_right=True, answer="return a + b", problems=("one",)
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


def test_a_proof_is_found_again(tmp_path: Path, weights: Path) -> None:
    InfillProofs(tmp_path / "data").keep(weights, PROOF)

    found = InfillProofs(tmp_path / "data").find(weights)

    assert found is not None
    assert found.proven_at > 0
    assert (found.format, found.is_right, found.problems) == ("qwen", True, ("one",))


def test_another_file_under_the_name_is_not_proven(tmp_path: Path, weights: Path) -> None:
    proofs = InfillProofs(tmp_path / "data")
    proofs.keep(weights, PROOF)

    weights.write_bytes(b"other weights")

    assert proofs.find(weights) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"file": []}', '{"file": 1, "format": 2}'])
def test_a_damaged_proof_is_none(tmp_path: Path, weights: Path, content: str) -> None:
    proofs = InfillProofs(tmp_path / "data")
    proofs.keep(weights, PROOF)

    next((tmp_path / "data" / "infilling").iterdir()).write_text(content)

    assert proofs.find(weights) is None
    assert proofs.find(tmp_path / "never.gguf") is None
