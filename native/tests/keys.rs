//! Key files: the right key loads, every other is refused with a reason and without a panic.

use ark_bls12_381::Bls12_381;
use ark_bn254::Bn254;
use ark_ec::AffineRepr;
use ark_ff::Field;
use muster_native::curve::Curve;
use muster_native::error::Error;
use muster_native::hash::Hash;
use muster_native::key::{
    insecure_setup, read_proving_key, read_verifying_key, write_proving_key, write_verifying_key,
    Reduction, Statement,
};
use muster_native::zkey;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn statement<E: Curve>(name: &str, size: usize) -> Statement<E> {
    Statement::new(name, size, Hash::Poseidon).unwrap()
}

fn round_trip<E: Curve>() {
    for (name, size) in [("merkle", 1), ("range", 8), ("addition", 0)] {
        let statement = statement::<E>(name, size);
        let key = insecure_setup(&statement).unwrap();
        let version = statement.version(&key.vk).unwrap();
        let file = write_proving_key(&statement, Reduction::Own, &key).unwrap();
        assert!(read_proving_key(&statement, &file, &version).unwrap().key == key);
        let file = write_verifying_key(&statement, &key.vk).unwrap();
        assert!(read_verifying_key(&statement, &file, &version).unwrap() == key.vk);
    }
}

#[test]
fn keys_survive_their_files() {
    round_trip::<Bn254>();
    round_trip::<Bls12_381>();
}

#[test]
fn versions_differ_by_key_and_follow_the_documented_recipe() {
    let statement = statement::<Bn254>("range", 8);
    let [one, two] = [(); 2].map(|()| insecure_setup(&statement).unwrap());
    let version = statement.version(&one.vk).unwrap();
    assert_ne!(version, statement.version(&two.vk).unwrap());
    assert_eq!(version.len(), "sha256:".len() + 64);
    let mut key = Vec::new();
    ark_serialize::CanonicalSerialize::serialize_compressed(&one.vk, &mut key).unwrap();
    let digest = statement.shape.digest();
    let mut hash = Sha256::new();
    for part in [b"muster-groth16-key-v1".as_slice(), b"bn254", b"range-8-poseidon", &digest, &key]
    {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    assert_eq!(version, format!("sha256:{:x}", hash.finalize()));
}

struct Sample {
    statement: Statement<Bn254>,
    version: String,
    proving: Vec<u8>,
    verifying: Vec<u8>,
}

fn sample() -> Sample {
    let statement = statement::<Bn254>("range", 8);
    let key = insecure_setup(&statement).unwrap();
    Sample {
        version: statement.version(&key.vk).unwrap(),
        proving: write_proving_key(&statement, Reduction::Own, &key).unwrap(),
        verifying: write_verifying_key(&statement, &key.vk).unwrap(),
        statement,
    }
}

fn reason<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Key(reason)) => reason,
        Err(other) => panic!("not a key error: {other}"),
        Ok(_) => panic!("the key was accepted"),
    }
}

#[test]
fn another_key_is_refused_with_the_reason() {
    let s = sample();
    let pk = |bytes: &[u8]| reason(read_proving_key(&s.statement, bytes, &s.version));
    assert!(pk(&s.verifying).contains("not a proving key"));
    assert!(reason(read_verifying_key(&s.statement, &s.proving, &s.version))
        .contains("not a verifying key"));
    let mut newer = s.proving.clone();
    newer[8] = 3;
    assert!(pk(&newer).contains("format 3"));
    let other = statement::<Bn254>("range", 9);
    assert!(reason(read_proving_key(&other, &s.proving, &s.version)).contains("not of range-9"));
    let other = statement::<Bls12_381>("range", 8);
    assert!(reason(read_proving_key(&other, &s.proving, &s.version)).contains("@bls12-381"));
    let wrong = format!("sha256:{}", "0".repeat(64));
    assert!(reason(read_proving_key(&s.statement, &s.proving, &wrong)).contains("version"));
    assert!(pk(&[s.proving.as_slice(), &[0]].concat()).contains("trailing"));
    assert!(pk(b"").contains("cut off"));
}

#[test]
fn a_cut_off_file_is_refused() {
    let s = sample();
    for length in (0..s.verifying.len()).chain([s.verifying.len() - 1]) {
        let cut = &s.verifying[..length];
        reason(read_verifying_key(&s.statement, cut, &s.version));
    }
    for length in (0..s.proving.len()).step_by(997) {
        reason(read_proving_key(&s.statement, &s.proving[..length], &s.version));
    }
}

/// Puts the checksum right again, as someone who alters a file on purpose would.
fn seal(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - 32;
    let digest = Sha256::digest(&file[..end]);
    file[end..].copy_from_slice(&digest);
    file
}

#[test]
fn an_altered_verifying_key_with_a_good_checksum_is_refused() {
    let s = sample();
    let header = 8 + 2 + 2 + s.statement.key_id().len() + 2 + s.version.len();
    for place in (header..s.verifying.len() - 32).step_by(7) {
        let mut altered = s.verifying.clone();
        altered[place] ^= 4;
        reason(read_verifying_key(&s.statement, &altered, &s.version));
        reason(read_verifying_key(&s.statement, &seal(altered), &s.version));
    }
}

#[test]
fn a_proving_key_with_wrong_lengths_or_stray_points_is_refused() {
    let s = sample();
    let key = read_proving_key(&s.statement, &s.proving, &s.version).unwrap().key;
    let refuse = |change: &dyn Fn(&mut ark_groth16::ProvingKey<Bn254>)| {
        let mut altered = key.clone();
        change(&mut altered);
        let file = write_proving_key(&s.statement, Reduction::Own, &altered).unwrap();
        reason(read_proving_key(&s.statement, &file, &s.version))
    };
    assert!(refuse(&|key| _ = key.h_query.pop()).contains("query H"));
    assert!(refuse(&|key| key.a_query.push(key.beta_g1)).contains("query A"));
    assert!(refuse(&|key| key.l_query.clear()).contains("query L"));
    assert!(refuse(&|key| _ = key.b_g2_query.pop()).contains("query B in G2"));
    assert!(refuse(&|key| _ = key.b_g1_query.pop()).contains("query B in G1"));
    assert!(refuse(&|key| key.h_query[3].y += ark_bn254::Fq::ONE).contains("not on the curve"));
    assert!(refuse(&|key| key.b_g2_query[9].x = ark_bn254::Fq2::ONE).contains("not on the curve"));
}

/// Not even under the version that such a key would have.
#[test]
fn a_verifying_key_of_wrong_points_is_refused() {
    let statement = statement::<Bn254>("addition", 0);
    let key = insecure_setup(&statement).unwrap().vk;
    let refuse = |change: &dyn Fn(&mut ark_groth16::VerifyingKey<Bn254>)| {
        let mut altered = key.clone();
        change(&mut altered);
        let version = statement.version(&altered).unwrap();
        let file = write_verifying_key(&statement, &altered).unwrap();
        reason(read_verifying_key(&statement, &file, &version))
    };
    assert!(refuse(&|key| key.delta_g2 = ark_bn254::G2Affine::zero()).contains("outside"));
    assert!(refuse(&|key| key.alpha_g1.x += ark_bn254::Fq::ONE).contains("outside"));
    assert!(refuse(&|key| key.gamma_abc_g1.truncate(2)).contains("public signals"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_at_all_make_the_reader_panic(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        keep in 0usize..200,
    ) {
        let s = statement::<Bn254>("addition", 0);
        let mut file = b"MUSTERVK\x01\x00\x17\x00addition-poseidon@bn254".to_vec();
        file.truncate(keep);
        file.extend(noise);
        prop_assert!(read_verifying_key(&s, &file, "sha256:").is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_bytes_at_all_make_the_reader_of_zkeys_panic(
        sections in prop::collection::vec(
            (0u32..12, prop::option::of(any::<u64>()), prop::collection::vec(any::<u8>(), 0..300)),
            0..12,
        ),
        count in prop::option::of(any::<u32>()),
    ) {
        let statement = statement::<Bn254>("addition", 0);
        let mut file = b"zkey\x01\x00\x00\x00".to_vec();
        file.extend(count.unwrap_or(sections.len() as u32).to_le_bytes());
        for (kind, length, content) in sections {
            file.extend(kind.to_le_bytes());
            file.extend(length.unwrap_or(content.len() as u64).to_le_bytes());
            file.extend(if kind == 1 { vec![1, 0, 0, 0] } else { content });
        }
        prop_assert!(zkey::read(&statement, &file).is_err());
    }
}
