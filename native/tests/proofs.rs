//! Proofs of every circuit on both curves: good ones pass, everything else does not.

use ark_bls12_381::Bls12_381;
use ark_bn254::Bn254;
use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, PrimeField, UniformRand};
use ark_groth16::Proof;
use ark_serialize::CanonicalSerialize;
use ark_std::rand::{rngs::StdRng, RngCore, SeedableRng};
use muster_native::circuits::assign;
use muster_native::curve::Curve;
use muster_native::hash::Hash;
use muster_native::key::{insecure_setup, Statement};
use muster_native::prover::{prove_with_arkworks, Masks, Prover};
use muster_native::snarkjs;
use muster_native::table_file;
use muster_native::verifier::{read_proof, write_proof, Claim, Verifier};
use sha2::Digest;

const SMALL: [(&str, usize); 3] = [("merkle", 2), ("range", 8), ("addition", 0)];
const HASHES: [Hash; 2] = [Hash::Poseidon, Hash::Mimc];

fn inputs(name: &str, seed: u64) -> Vec<String> {
    let numbers = match name {
        "merkle" => vec![seed, seed % 4, 11, 12],
        "range" => vec![50 + seed % 50, 50, 100, seed],
        _ => vec![seed, 3, 4, 5],
    };
    numbers.iter().map(ToString::to_string).collect()
}

fn prepare<E: Curve>(name: &str, size: usize) -> (Prover<E>, Verifier<E>) {
    let statement = Statement::<E>::new(name, size, Hash::Poseidon).unwrap();
    let key = insecure_setup(&statement).unwrap();
    let verifier = Verifier::new(statement.shape.publics, key.vk.clone());
    (Prover::new(statement, key).unwrap(), verifier)
}

fn both_provers_agree<E: Curve>() {
    for ((name, size), hash) in SMALL.into_iter().zip(HASHES.into_iter().cycle()) {
        let statement = Statement::<E>::new(name, size, hash).unwrap();
        let key = insecure_setup(&statement).unwrap();
        let assignment = assign(statement.circuit.as_ref(), &inputs(name, 7)).unwrap();
        let masks = Masks::random();
        let stock = prove_with_arkworks(&statement, &key, &assignment, masks).unwrap();
        let prover = Prover::new(statement, key).unwrap();
        let ours = prover.prove_assignment(&assignment, masks);
        assert!(stock == ours, "{name} on {}", E::NAME);
        assert!(prover.prove_assignment(&assignment, Masks::random()) != ours, "masks are used");
    }
}

#[test]
fn our_prover_makes_the_very_proof_of_arkworks() {
    both_provers_agree::<Bn254>();
    both_provers_agree::<Bls12_381>();
}

fn only_the_proved_signals_pass<E: Curve>() {
    for (name, size) in SMALL {
        let (prover, verifier) = prepare::<E>(name, size);
        let (public, proof) = prover.prove(&inputs(name, 9)).unwrap();
        assert!(verifier.verify(&public, &proof));
        for i in 0..public.len() {
            let mut altered = public.clone();
            altered[i] += E::ScalarField::from(1u64);
            assert!(!verifier.verify(&altered, &proof), "{name}: signal {i}");
        }
        assert!(!verifier.verify(&public[1..], &proof));
        assert!(!verifier.verify(&[public.as_slice(), &public].concat(), &proof));
        let (other_key, _) = prepare::<E>(name, size);
        let (public, foreign) = other_key.prove(&inputs(name, 9)).unwrap();
        assert!(!verifier.verify(&public, &foreign), "{name}: a proof by another key");
    }
}

#[test]
fn a_proof_holds_for_its_signals_and_its_key_only() {
    only_the_proved_signals_pass::<Bn254>();
    only_the_proved_signals_pass::<Bls12_381>();
}

#[test]
fn aliased_public_signals_are_refused() {
    let (prover, verifier) = prepare::<Bn254>("addition", 0);
    let (public, proof) = prover.prove(&inputs("addition", 1)).unwrap();
    let bytes = write_proof::<Bn254>(&proof).unwrap();
    let texts: Vec<String> = public.iter().map(|x| x.into_bigint().to_string()).collect();
    assert!(verifier.read_claim(&texts, &bytes).is_ok());
    let modulus: num_bigint::BigUint = ark_bn254::Fr::MODULUS.into();
    let mut aliased = texts.clone();
    aliased[2] = (texts[2].parse::<num_bigint::BigUint>().unwrap() + modulus).to_string();
    for bad in [aliased, texts[1..].to_vec(), vec!["-1".into(); 3], vec![String::new(); 3]] {
        assert!(verifier.read_claim(&bad, &bytes).is_err(), "{bad:?}");
    }
}

fn malformed_bytes_are_refused<E: Curve>() {
    let (prover, verifier) = prepare::<E>("range", 8);
    let (public, proof) = prover.prove(&inputs("range", 2)).unwrap();
    let good = write_proof::<E>(&proof).unwrap();
    assert!(read_proof::<E>(&good).unwrap() == proof);
    for length in 0..good.len() {
        assert!(read_proof::<E>(&good[..length]).is_err(), "{length} bytes");
    }
    assert!(read_proof::<E>(&[good.as_slice(), &[0]].concat()).is_err(), "a trailing byte");
    assert!(read_proof::<E>(&[0xff].repeat(good.len())).is_err());
    let _ = read_proof::<E>(&vec![0; good.len()]);
    for bit in (0..good.len() * 8).step_by(11) {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let accepted = read_proof::<E>(&flipped).is_ok_and(|p| verifier.verify(&public, &p));
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn no_other_bytes_pass_for_a_proof() {
    malformed_bytes_are_refused::<Bn254>();
    malformed_bytes_are_refused::<Bls12_381>();
}

#[test]
fn coordinates_above_the_modulus_are_refused() {
    let (prover, _) = prepare::<Bn254>("addition", 0);
    let (_, proof) = prover.prove(&inputs("addition", 2)).unwrap();
    let good = write_proof::<Bn254>(&proof).unwrap();
    let modulus: num_bigint::BigUint = ark_bn254::Fq::MODULUS.into();
    let (flags, mut first) = (good[31] & 0xc0, good[..32].to_vec());
    first[31] &= 0x3f;
    let aliased = (num_bigint::BigUint::from_bytes_le(&first) + modulus).to_bytes_le();
    // Both fit 254 bits only now and then; a carry into the flags is another point altogether.
    if aliased.len() == 32 && aliased[31] & 0xc0 == 0 {
        let mut bytes = good.clone();
        bytes[..32].copy_from_slice(&aliased);
        bytes[31] |= flags;
        assert!(read_proof::<Bn254>(&bytes).is_err());
    }
    let mut top = good;
    top[..32].copy_from_slice(&[0xff; 32]);
    top[31] = 0x3f | flags;
    assert!(read_proof::<Bn254>(&top).is_err(), "x = 2^254 - 1");
}

/// A point on the curve that is not in the subgroup of prime order.
fn stray<P: SWCurveConfig>(rng: &mut StdRng) -> Affine<P> {
    loop {
        let x = P::BaseField::rand(rng);
        if let Some(point) = Affine::<P>::get_point_from_x_unchecked(x, rng.next_u32() % 2 == 0) {
            if !point.is_in_correct_subgroup_assuming_on_curve() {
                return point;
            }
        }
    }
}

#[test]
fn points_outside_of_the_subgroup_are_refused() {
    let rng = &mut StdRng::seed_from_u64(5);
    let refuse = |bytes: Vec<u8>, bn: bool| {
        let refused = if bn {
            read_proof::<Bn254>(&bytes).is_err()
        } else {
            read_proof::<Bls12_381>(&bytes).is_err()
        };
        assert!(refused);
    };
    let compressed = |proof: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        proof(&mut bytes);
        bytes
    };
    let (prover, _) = prepare::<Bn254>("addition", 0);
    let mut bn = prover.prove(&inputs("addition", 3)).unwrap().1;
    bn.b = stray(rng);
    refuse(compressed(&|out| bn.serialize_compressed(out).unwrap()), true);
    let (prover, _) = prepare::<Bls12_381>("addition", 0);
    let good: Proof<Bls12_381> = prover.prove(&inputs("addition", 3)).unwrap().1;
    let (mut a, mut b, mut c) = (good.clone(), good.clone(), good);
    (a.a, b.b, c.c) = (stray(rng), stray(rng), stray(rng));
    for bad in [a, b, c] {
        refuse(compressed(&|out| bad.serialize_compressed(out).unwrap()), false);
    }
}

#[test]
fn an_x_without_a_point_is_refused() {
    let (prover, _) = prepare::<Bls12_381>("addition", 0);
    let proof = prover.prove(&inputs("addition", 4)).unwrap().1;
    let bytes = write_proof::<Bls12_381>(&proof).unwrap();
    let rng = &mut StdRng::seed_from_u64(6);
    let x = std::iter::repeat_with(|| ark_bls12_381::Fq::rand(rng))
        .find(|x| (x.square() * x + ark_bls12_381::Fq::from(4u64)).sqrt().is_none())
        .unwrap();
    let mut bad = bytes.clone();
    // The form of zcash: big endian, flags in the first byte.
    let mut x_bytes = Vec::new();
    x.serialize_uncompressed(&mut x_bytes).unwrap();
    x_bytes.reverse();
    bad[..48].copy_from_slice(&x_bytes);
    bad[0] |= bytes[0] & 0xe0;
    assert!(read_proof::<Bls12_381>(&bad).is_err());
}

fn batches_give_the_verdict_of_each<E: Curve>() {
    let (prover, verifier) = prepare::<E>("range", 8);
    let claims: Vec<Claim<E>> =
        (0..13).map(|seed| prover.prove(&inputs("range", seed)).unwrap()).collect();
    let rng = &mut StdRng::seed_from_u64(8);
    for bad_of_thirteen in [0, 1, 3, 13] {
        let mut batch: Vec<Option<Claim<E>>> = claims.iter().cloned().map(Some).collect();
        let mut expected = vec![true; batch.len()];
        while expected.iter().filter(|good| !**good).count() < bad_of_thirteen {
            let place = rng.next_u32() as usize % batch.len();
            expected[place] = false;
            match (rng.next_u32() % 4, &mut batch[place]) {
                (0, slot) => *slot = None,
                (1, Some((public, _))) => public[0] += E::ScalarField::from(1u64),
                (2, Some((public, _))) => _ = public.pop(),
                (_, Some((_, proof))) => proof.c = claims[(place + 1) % 13].1.c,
                _ => {}
            }
        }
        assert_eq!(verifier.verify_batch(&batch), expected, "{}", E::NAME);
    }
    assert_eq!(verifier.verify_batch(&[]), Vec::<bool>::new());
    assert_eq!(verifier.verify_batch(&[None, None]), vec![false, false]);
}

#[test]
fn a_batch_finds_exactly_the_bad_proofs() {
    batches_give_the_verdict_of_each::<Bn254>();
    batches_give_the_verdict_of_each::<Bls12_381>();
}

/// Two errors that cancel in a plain sum must not cancel under random factors.
#[test]
fn errors_that_cancel_each_other_are_found() {
    let (prover, verifier) = prepare::<Bn254>("range", 8);
    let mut claims = [1, 2].map(|seed| prover.prove(&inputs("range", seed)).unwrap());
    let error = ark_bn254::G1Affine::generator() * ark_bn254::Fr::from(5u64);
    claims[0].1.c = (claims[0].1.c + error).into_affine();
    claims[1].1.c = (claims[1].1.c.into_group() - error).into_affine();
    assert_eq!(verifier.verify_batch(&claims.map(Some)), [false, false]);
}

#[test]
fn the_proof_of_infinities_proves_nothing() {
    let (_, verifier) = prepare::<Bn254>("addition", 0);
    let proof = Proof::<Bn254>::default();
    assert!(proof.a.is_zero() && proof.b.is_zero() && proof.c.is_zero());
    assert!(!verifier.verify(&[ark_bn254::Fr::from(0u64); 3], &proof));
}

fn json_round_trip<E: Curve>() {
    let (prover, verifier) = prepare::<E>("addition", 0);
    let (public, proof) = prover.prove(&inputs("addition", 6)).unwrap();
    let json = snarkjs::proof::<E>(&proof);
    assert!(snarkjs::read_proof::<E>(&json.to_string()).unwrap() == proof);
    assert!(verifier.verify(&public, &proof));
    let key = snarkjs::verifying_key::<E>(verifier.key());
    assert_eq!(key["nPublic"], 3);
    assert_eq!(key["IC"].as_array().map(Vec::len), Some(4));
    for (pointer, value) in [
        ("/protocol", serde_json::json!("plonk")),
        ("/curve", serde_json::json!("bn256")),
        ("/pi_a", serde_json::json!(["1", "2"])),
        ("/pi_a/0", serde_json::json!("5")),
        ("/pi_a/0", serde_json::json!(7)),
        ("/pi_a/2", serde_json::json!("2")),
        ("/pi_b/0/1", serde_json::json!("-1")),
        ("/pi_b/1", serde_json::json!(["1"])),
        ("/pi_c", serde_json::json!(null)),
        ("/pi_c/1", serde_json::json!("1".repeat(4000))),
    ] {
        let mut bad = json.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(snarkjs::read_proof::<E>(&bad.to_string()).is_err(), "{pointer}");
    }
    assert!(snarkjs::read_proof::<E>("{").is_err());
    assert!(snarkjs::read_proof::<E>("[]").is_err());
}

#[test]
fn proofs_survive_the_way_through_snarkjs_json() {
    json_round_trip::<Bn254>();
    json_round_trip::<Bls12_381>();
}

fn tables_survive_their_file<E: Curve>(folder: &std::path::Path) {
    let version = "sha256:made-up";
    let statement = || Statement::<E>::new("range", 8, Hash::Mimc).unwrap();
    let key = insecure_setup(&statement()).unwrap();
    let version_found = statement().version(&key.vk).unwrap();
    let path = folder.join(E::NAME);
    let prover = Prover::new(statement(), key).unwrap();
    table_file::write(&prover, &statement().key_id(), &version_found, &path).unwrap();
    let mapped = table_file::open(statement(), &path, &version_found).unwrap();
    assert_eq!(mapped.table_bytes(), prover.table_bytes());
    let assignment = assign(statement().circuit.as_ref(), &inputs("range", 3)).unwrap();
    let masks = Masks::random();
    let [one, two] = [&prover, &mapped].map(|p| p.prove_assignment(&assignment, masks));
    assert!(one == two, "{}", E::NAME);
    mapped.try_out(2).unwrap();
    let reason = |statement, version: &str| match table_file::open::<E>(statement, &path, version) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the tables were accepted"),
    };
    assert!(reason(statement(), version).contains("these tables are of range-8-mimc"));
    let other = Statement::<E>::new("range", 9, Hash::Mimc).unwrap();
    assert!(reason(other, &version_found).contains("these tables are of range-8-mimc"));
    let good = std::fs::read(&path).unwrap();
    for place in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[place] ^= 1;
        std::fs::write(folder.join("bad"), &bad).unwrap();
        let result = table_file::open(statement(), &folder.join("bad"), &version_found);
        assert!(result.is_err(), "byte {place}");
        // With a right checksum the bytes are read, and still no reader panics.
        let end = bad.len() - 32;
        let digest = sha2::Sha256::digest(&bad[..end]);
        bad[end..].copy_from_slice(&digest);
        std::fs::write(folder.join("bad"), &bad).unwrap();
        let _ = table_file::open(statement(), &folder.join("bad"), &version_found);
        bad.truncate(place);
        std::fs::write(folder.join("bad"), &bad).unwrap();
        assert!(table_file::open(statement(), &folder.join("bad"), &version_found).is_err());
    }
    assert!(reason(statement(), &version_found.replace("sha256:", "")).contains("are of"));
    std::fs::remove_file(&path).unwrap();
    assert!(reason(statement(), &version_found).contains("No such file"));
}

#[test]
fn mapped_tables_make_the_same_proofs() {
    let folder = std::env::temp_dir().join(format!("muster-tables-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    tables_survive_their_file::<Bn254>(&folder);
    tables_survive_their_file::<Bls12_381>(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
}
