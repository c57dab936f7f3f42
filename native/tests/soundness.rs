//! Whether the constraints say what the circuits promise, and leave no variable to choose freely.

use ark_ff::{Field, One, PrimeField, Zero};
use ark_std::rand::{rngs::StdRng, SeedableRng};
use muster_native::circuits::{self, assign, evaluate, shape, Circuit};
use muster_native::error::Error;
use muster_native::field::to_decimals;
use muster_native::hash::{Hash, HashDomain, HashField};
use muster_native::mimc;
use muster_native::r1cs::{Assignment, Shape};

type Bn = ark_bn254::Fr;
type Bls = ark_bls12_381::Fr;

/// Inputs for which the statement is true.
fn honest<F: HashField>(name: &str, size: usize) -> Vec<F> {
    let rng = &mut StdRng::seed_from_u64(size as u64);
    match name {
        "merkle" => {
            let index = 0x5a5a_5a5a_u64 & ((1 << size) - 1);
            let mut inputs: Vec<F> = (0..size + 2).map(|_| F::rand(rng)).collect();
            inputs[1] = F::from(index);
            inputs
        }
        "range" => vec![F::from(100u64), F::from(7u64), F::from(200u64), F::rand(rng)],
        _ => vec![F::from(u64::MAX), F::from(77u64), F::rand(rng), F::rand(rng)],
    }
}

const HASHES: [Hash; 2] = [Hash::Poseidon, Hash::Mimc];

fn find<F: HashField>(name: &str, size: usize) -> Result<Box<dyn Circuit<F>>, Error> {
    circuits::find(name, size, Hash::Poseidon)
}

fn hash(domain: HashDomain, left: Bn, right: Bn) -> Bn {
    Hash::Poseidon.two(domain, left, right)
}

fn build<F: HashField>(name: &str, size: usize, hash: Hash) -> (Box<dyn Circuit<F>>, Shape<F>) {
    let circuit = circuits::find::<F>(name, size, hash).unwrap();
    let shape = shape(circuit.as_ref());
    (circuit, shape)
}

fn dot<F: PrimeField>(terms: &[(u32, F)], z: &[F]) -> F {
    terms.iter().map(|(var, coeff)| z[*var as usize] * coeff).sum()
}

fn check_assignment<F: HashField>(name: &str, size: usize, hash: Hash) {
    let (circuit, shape) = build::<F>(name, size, hash);
    let Assignment { publics, z, az, bz, violated } =
        evaluate(circuit.as_ref(), &honest::<F>(name, size));
    assert_eq!((violated, shape.violated_by(&z)), (None, None), "{name}");
    assert_eq!((z.len(), publics), (shape.variables, shape.publics));
    for (row, (a, b)) in shape.rows.iter().zip(az.iter().zip(&bz)) {
        assert_eq!((dot(&row.a, &z), dot(&row.b, &z)), (*a, *b), "{name}");
    }
    assert_eq!((az.len(), bz.len()), (shape.rows.len(), shape.rows.len()));
}

const SMALL: [(&str, usize); 3] = [("merkle", 2), ("range", 8), ("addition", 0)];

#[test]
fn an_honest_witness_satisfies_what_was_recorded() {
    for (name, size) in
        [SMALL.as_slice(), &[("merkle", 20), ("range", 64), ("range", 128)]].concat()
    {
        for hash in HASHES {
            check_assignment::<Bn>(name, size, hash);
            check_assignment::<Bls>(name, size, hash);
        }
    }
}

#[test]
fn changing_any_one_variable_violates_a_constraint() {
    let mimc = [("merkle", 1, Hash::Mimc), ("range", 8, Hash::Mimc)];
    let poseidon = SMALL.map(|(name, size)| (name, size, Hash::Poseidon));
    for (name, size, hash) in [poseidon.as_slice(), &mimc].concat() {
        let (circuit, shape) = build::<Bn>(name, size, hash);
        let mut z = evaluate(circuit.as_ref(), &honest::<Bn>(name, size)).z;
        for i in 1..z.len() {
            for change in [Bn::one(), -Bn::one(), Bn::from(2u64).pow([200u64])] {
                z[i] += change;
                assert!(shape.violated_by(&z).is_some(), "{name}: variable {i} is not bound");
                z[i] -= change;
            }
        }
    }
}

/// The rank of a matrix over the field, by elimination.
fn rank<F: Field>(mut rows: Vec<Vec<F>>) -> usize {
    let columns = rows.first().map_or(0, Vec::len);
    let mut rank = 0;
    for column in 0..columns {
        let Some(pivot) = (rank..rows.len()).find(|row| !rows[*row][column].is_zero()) else {
            continue;
        };
        rows.swap(rank, pivot);
        let inverse = rows[rank][column].inverse().unwrap();
        let (done, rest) = rows.split_at_mut(rank + 1);
        for row in rest.iter_mut().filter(|row| !row[column].is_zero()) {
            let factor = row[column] * inverse;
            for (value, above) in row[column..].iter_mut().zip(&done[rank][column..]) {
                *value -= factor * above;
            }
        }
        rank += 1;
    }
    rank
}

/// At the honest witness, the derivative of the constraints by all variables but the inputs has
/// full rank: nothing but the inputs can be varied, not even several variables together.
#[test]
fn the_inputs_leave_no_freedom_to_the_other_variables() {
    let poseidon = [("merkle", 1), ("range", 8), ("addition", 0)];
    let poseidon = poseidon.map(|(name, size)| (name, size, Hash::Poseidon));
    for (name, size, hash) in [poseidon.as_slice(), &[("range", 8, Hash::Mimc)]].concat() {
        let (circuit, shape) = build::<Bn>(name, size, hash);
        let inputs = honest::<Bn>(name, size);
        let z = evaluate(circuit.as_ref(), &inputs).z;
        let fixed = |i: usize| i == 0 || inputs.contains(&z[i]) && is_input(name, i, &shape);
        let free: Vec<usize> = (0..z.len()).filter(|i| !fixed(*i)).collect();
        let derivative = |row: &muster_native::r1cs::Row<Bn>| {
            let (a, b) = (dot(&row.a, &z), dot(&row.b, &z));
            let mut gradient = vec![Bn::zero(); z.len()];
            row.a.iter().for_each(|(var, coeff)| gradient[*var as usize] += b * coeff);
            row.b.iter().for_each(|(var, coeff)| gradient[*var as usize] += a * coeff);
            row.c.iter().for_each(|(var, coeff)| gradient[*var as usize] -= coeff);
            free.iter().map(|i| gradient[*i]).collect::<Vec<_>>()
        };
        let found = rank(shape.rows.iter().map(derivative).collect());
        assert_eq!(found, free.len(), "{name}: {} variables are free", free.len() - found);
    }
}

/// Inputs are the first private variables, apart from bounds (public) and siblings (among others).
fn is_input<F>(name: &str, variable: usize, shape: &Shape<F>) -> bool {
    match name {
        "range" => variable > 1 && variable <= shape.publics + 2,
        "merkle" => true,
        _ => variable > shape.publics && variable <= shape.publics + 4,
    }
}

fn violates<F: HashField>(name: &str, size: usize, inputs: &[F]) -> bool {
    evaluate(find::<F>(name, size).unwrap().as_ref(), inputs).violated.is_some()
}

#[test]
fn range_holds_only_for_integers_between_the_bounds() {
    fn check<F: HashField>(bits: usize) {
        let top = F::from(2u64).pow([bits as u64]);
        let f = |n: u64| F::from(n);
        let [zero, one, blinding] = [f(0), f(1), f(99)];
        let proves = |value, min, max| !violates("range", bits, &[value, min, max, blinding]);
        assert!(proves(f(5), f(5), f(5)));
        assert!(proves(zero, zero, top - one) && proves(top - one, zero, top - one));
        assert!(!proves(f(4), f(5), f(9)) && !proves(f(10), f(5), f(9)), "outside");
        assert!(!proves(f(7), f(9), f(5)), "bounds the wrong way round");
        assert!(!proves(f(5), -one, f(9)) && !proves(f(5), zero, -one), "negative bounds");
        assert!(!proves(top, zero, top) && !proves(top, top, top), "bounds too large");
        assert!(!proves(-one, zero, f(9)) && !proves(-one, -f(5), f(9)), "negative value");
        let half = F::from(2u64).inverse().unwrap();
        assert!(!proves(half, zero, top - one), "a value that is no small integer");
    }
    for bits in [8, 64, 128] {
        check::<Bn>(bits);
        check::<Bls>(bits);
    }
}

#[test]
fn addition_holds_only_for_operands_that_cannot_wrap() {
    let f = |n: u64| Bn::from(n);
    let top = f(2).pow([128u64]);
    let proves = |a, b| !violates("addition", 0, &[a, b, f(1), f(2)]);
    assert!(proves(f(0), f(0)) && proves(top - f(1), top - f(1)));
    assert!(!proves(top, f(0)) && !proves(f(0), top), "too large");
    assert!(!proves(-f(5), f(10)) && !proves(f(10), -f(5)), "negative");
}

#[test]
fn the_public_signals_are_what_the_circuits_promise() {
    let f = |n: u64| Bn::from(n);
    let public = |name, size, inputs: &[Bn]| {
        evaluate(find::<Bn>(name, size).unwrap().as_ref(), inputs).public_signals().to_vec()
    };
    let commit = |value, blinding| hash(HashDomain::Commitment, value, blinding);
    let range = public("range", 64, &[f(5), f(1), f(9), f(77)]);
    assert_eq!(range, [commit(f(5), f(77)), f(1), f(9)]);
    let addition = public("addition", 0, &[f(5), f(6), f(77), f(88)]);
    assert_eq!(addition, [commit(f(5), f(77)), commit(f(6), f(88)), f(11)]);
    let leaf = hash(HashDomain::Leaf, f(5), f(0));
    let node = hash(HashDomain::Node, f(6), leaf);
    let merkle = public("merkle", 2, &[f(5), f(1), f(6), f(7)]);
    assert_eq!(merkle, [hash(HashDomain::Node, node, f(7))]);
}

#[test]
fn the_public_signals_of_mimc_are_those_of_gnark_s_hash() {
    let f = |n: u64| Bn::from(n);
    let public = |name, size, inputs: &[Bn]| {
        let circuit = circuits::find::<Bn>(name, size, Hash::Mimc).unwrap();
        evaluate(circuit.as_ref(), inputs).public_signals().to_vec()
    };
    let range = public("range", 64, &[f(5), f(1), f(9), f(77)]);
    assert_eq!(range, [mimc::hash(&[f(5), f(77)]), f(1), f(9)]);
    let node = mimc::hash(&[f(6), mimc::hash(&[f(5)])]);
    let merkle = public("merkle", 2, &[f(5), f(1), f(6), f(7)]);
    assert_eq!(merkle, [mimc::hash(&[node, f(7)])]);
}

#[test]
fn samples_are_true_statements() {
    for (name, size) in
        [("merkle", 1), ("merkle", 32), ("range", 8), ("range", 128), ("addition", 0)]
    {
        let circuit = find::<Bn>(name, size).unwrap();
        for _ in 0..5 {
            let assignment = evaluate(circuit.as_ref(), &circuit.sample());
            assert_eq!(assignment.violated, None, "{name} {size}");
        }
    }
}

#[test]
fn a_circuit_id_is_read_only_in_its_one_spelling() {
    for id in ["merkle-20-poseidon", "merkle-1-mimc", "range-64-mimc", "addition-poseidon"] {
        assert_eq!(circuits::parse::<Bn>(id).unwrap().id(), id);
    }
    for id in [
        "",
        "merkle",
        "merkle-20",
        "merkle-020-mimc",
        "merkle--mimc",
        "merkle-+1-mimc",
        "range-mimc",
        "addition-0-mimc",
        "merkle-20-sha256",
        "merkle-20-mimc-",
        "merkle-99-mimc",
    ] {
        assert!(circuits::parse::<Bn>(id).is_err(), "{id:?}");
    }
}

#[test]
fn every_index_makes_its_own_path() {
    let f = |n: u64| Bn::from(n);
    let circuit = find::<Bn>("merkle", 3).unwrap();
    let root = |index: Bn| {
        let assignment = evaluate(circuit.as_ref(), &[f(5), index, f(6), f(7), f(8)]);
        assignment.violated.is_none().then(|| assignment.public_signals()[0])
    };
    let roots: std::collections::HashSet<_> = (0..8).map(|i| root(f(i)).unwrap()).collect();
    assert_eq!(roots.len(), 8);
    assert_eq!(root(f(8)), None, "an index beyond the tree");
    assert_eq!(root(-f(1)), None, "a negative index");
}

#[test]
fn an_inner_node_is_no_leaf() {
    let f = |n: u64| Bn::from(n);
    let public = |depth, inputs: &[Bn]| {
        evaluate(find::<Bn>("merkle", depth).unwrap().as_ref(), inputs).public_signals()[0]
    };
    let root = public(2, &[f(5), f(0), f(6), f(7)]);
    let inner = hash(HashDomain::Node, hash(HashDomain::Leaf, f(5), f(0)), f(6));
    assert_ne!(public(1, &[inner, f(0), f(7)]), root);
}

#[test]
fn false_statements_and_wrong_inputs_are_told_apart() {
    let circuit = find::<Bn>("range", 8).unwrap();
    let assign = |inputs: &[&str]| {
        assign(circuit.as_ref(), &inputs.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert!(assign(&["5", "1", "9", "3"]).is_ok());
    assert!(matches!(assign(&["0", "1", "9", "3"]), Err(Error::Unsatisfied { .. })));
    assert!(matches!(assign(&["5", "1", "9"]), Err(Error::Input(_))));
    let named = assign(&["5", "1", "9", "x"]).unwrap_err();
    assert!(matches!(&named, Error::Input(reason) if reason.starts_with("blinding must be")));
    let modulus = Bn::MODULUS.to_string();
    assert!(matches!(assign(&["5", "1", "9", &modulus]), Err(Error::Input(_))));
}

#[test]
fn names_and_sizes_outside_the_catalogue_are_refused() {
    for (name, size) in
        [("merkle", 0), ("merkle", 33), ("range", 7), ("range", 129), ("addition", 1), ("xor", 1)]
    {
        assert!(find::<Bn>(name, size).is_err(), "{name} {size}");
    }
}

#[test]
fn the_digest_tells_circuits_apart_and_is_stable() {
    let digest = |name, size| shape(find::<Bn>(name, size).unwrap().as_ref()).digest();
    let all = [("merkle", 1), ("merkle", 2), ("range", 8), ("range", 9), ("addition", 0)]
        .map(|(name, size)| digest(name, size));
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(digest("merkle", 2), all[1]);
    assert_ne!(shape(find::<Bls>("merkle", 2).unwrap().as_ref()).digest(), all[1]);
}

#[test]
fn decimal_text_survives_a_round_trip() {
    let inputs = honest::<Bn>("merkle", 2);
    let circuit = find::<Bn>("merkle", 2).unwrap();
    let assignment = assign(circuit.as_ref(), &to_decimals(&inputs)).unwrap();
    assert_eq!(assignment.z, evaluate(circuit.as_ref(), &inputs).z);
}
