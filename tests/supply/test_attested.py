"""What was registered is loaded only if a trusted key states its digests and its bytes have them; never before that."""

from __future__ import annotations

import pytest

from adapters.fitted_models import visits
from supply import attacks
from supply.house import NOW, Good, House
from supply.watch import Watch
from towpath.core.errors import IntegrityError, Misconfigured
from towpath.core.evidence import RecordKind
from towpath.ports import Purpose
from towpath.stages import attest as attesting
from towpath.stages.attested import require_attested


@pytest.mark.parametrize("attack", attacks.COMPILED)
def test_compiled_files_that_are_not_the_signed_ones(attack: str, house: House, watch: Watch) -> None:
    attacks.COMPILED[attack](house, watch.canary)
    with watch.nothing_loaded(), pytest.raises(IntegrityError) as caught:
        house.load()
    assert caught.value.gate == "integrity.model"


@pytest.mark.parametrize("attack", attacks.SAVED)
def test_saved_folders_that_are_not_the_signed_ones(attack: str, house: House, watch: Watch) -> None:
    attacks.SAVED[attack](house, watch.canary)
    with watch.nothing_loaded():
        if attack != "weights linked out of the folder":  # to other weights, which the digest tells already
            with pytest.raises(IntegrityError):
                house.load(compiled=False)
        with pytest.raises(IntegrityError):
            attesting.verify_files(house.candidate, house.world)


@pytest.mark.parametrize("attack", attacks.ATTESTATIONS)
def test_attestations_that_prove_nothing(attack: str, bare: House, watch: Watch) -> None:
    attacks.ATTESTATIONS[attack](bare, watch.canary)
    for compiled in (True, False):
        with watch.nothing_loaded(), pytest.raises(IntegrityError) as caught:
            bare.load(compiled=compiled)
        assert caught.value.gate in ("integrity.attestation", "integrity.keys")


@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_attested_loads(compiled: bool, house: House) -> None:
    runtime = house.load(compiled=compiled)
    try:
        row = [None if value != value else value for value in visits(1)[0].iloc[0].tolist()]
        assert 0 <= runtime.predict([row])[0] <= 1
    finally:
        runtime.close()
    assert attesting.verify_files(house.candidate, house.world).candidate == house.candidate.id


def test_a_revoked_key_counts_again_after_attesting_anew(house: House) -> None:
    attacks.ATTESTATIONS["by a revoked key"](house, house.state / "none")
    with pytest.raises(IntegrityError, match="was revoked"):
        require_attested(house.world.ledger, house.keys, house.candidate)
    house.attest()
    found = require_attested(house.world.ledger, house.keys, house.candidate)
    assert found.key_id == house.keys.key_id(Purpose.MODEL)


def test_registering_again_does_not_undo_a_revocation(house: House) -> None:
    attacks.ATTESTATIONS["by a revoked key"](house, house.state / "none")
    attesting.attest_first(house.candidate, house.world)
    with pytest.raises(IntegrityError, match="was revoked"):
        require_attested(house.world.ledger, house.keys, house.candidate)


def test_who_was_killed_before_attesting_is_attested_next_time(bare: House) -> None:
    attesting.attest_first(bare.candidate, bare.world)
    attesting.attest_first(bare.candidate, bare.world)
    found = list(bare.world.ledger.records(candidate=bare.candidate.id, kind=RecordKind.ATTESTATION))
    assert len(found) == 1


def test_a_key_that_was_revoked_attests_nothing(house: House) -> None:
    house.keys.revoke(str(house.keys.key_id(Purpose.MODEL)), at=NOW, after=0, reason="stolen")
    with pytest.raises(IntegrityError, match="was revoked"):
        house.attest()


def test_nothing_is_attested_without_a_key(house: House) -> None:
    (house.state / "keys" / "model.key").unlink()
    with pytest.raises(Misconfigured, match="no model key"):
        house.attest()


def test_another_candidates_proof_loads_nothing_of_this_one(house: House) -> None:
    proof = require_attested(house.world.ledger, house.keys, house.other)
    with pytest.raises(IntegrityError, match="states no candidate"):
        proof.require("candidate", str(house.candidate.digest))


@pytest.mark.parametrize(
    ("attack", "named"),
    [("weights of another signed model", "model.skops"), ("file more", "hook.py"), ("file gone", "requirements.txt")],
)
def test_the_signature_names_the_file_that_changed(attack: str, named: str, good: Good, house: House) -> None:
    """Past the digests, as for who has the files and their signature only."""
    from towpath.stages.attest import _laid_out

    attacks.SAVED[attack](house, house.state / "none")
    found = require_attested(house.world.ledger, house.keys, house.candidate)
    bundle = house.world.objects.fetch(found.model_signature)
    key = house.keys.trusted(Purpose.MODEL)[found.key_id]
    with (
        _laid_out(house.saved(), {"onnx": good.compiled}, house.world.scratch) as (folder, _),
        pytest.raises(IntegrityError, match=named),
    ):
        house.world.supply.signer.verify(folder, key=key, bundle=bundle)
