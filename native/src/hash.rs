//! The hash of two field elements, as a function and as constraints: Poseidon or MiMC.

use ark_ff::PrimeField;

use crate::error::{Error, Result};
use crate::r1cs::{Builder, Lc};
use crate::{mimc, poseidon};

/// What is hashed; for Poseidon the value is the initial capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashDomain {
    /// An inner node of a tree: (left, right).
    Node = 0,
    /// A leaf of a tree: (value, 0).
    Leaf = 1,
    /// A hiding commitment: (value, blinding).
    Commitment = 2,
}

/// Which hash a circuit uses; its name is part of the circuit's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// Width 3, x^5; see `poseidon`.
    Poseidon,
    /// gnark's, for deployments that have it already; see `mimc`.
    Mimc,
}

/// Fields on which both hashes are defined.
pub trait HashField: PrimeField {
    fn poseidon() -> &'static poseidon::Constants<Self>;

    /// MiMC's constants, one for each round.
    fn mimc() -> &'static [Self];
}

impl Hash {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "poseidon" => Ok(Hash::Poseidon),
            "mimc" => Ok(Hash::Mimc),
            _ => Err(Error::input(format!("hash must be poseidon or mimc, not {name:.40?}"))),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Hash::Poseidon => "poseidon",
            Hash::Mimc => "mimc",
        }
    }

    /// The hash of two elements in a domain; MiMC's of a leaf has no second one.
    pub fn two<F: HashField>(self, domain: HashDomain, left: F, right: F) -> F {
        match (self, domain) {
            (Hash::Poseidon, _) => poseidon::hash(domain, left, right),
            (Hash::Mimc, HashDomain::Leaf) => mimc::hash(&[left]),
            (Hash::Mimc, _) => mimc::hash(&[left, right]),
        }
    }

    /// The same as constraints.
    pub fn constrain<F: HashField>(
        self,
        builder: &mut Builder<F>,
        domain: HashDomain,
        left: Lc<F>,
        right: Lc<F>,
    ) -> Lc<F> {
        match (self, domain) {
            (Hash::Poseidon, _) => poseidon::constrain_hash(builder, domain, left, right),
            (Hash::Mimc, HashDomain::Leaf) => mimc::constrain_hash(builder, &[left]),
            (Hash::Mimc, _) => mimc::constrain_hash(builder, &[left, right]),
        }
    }
}
