//! Groth16 over BN254 and BLS12-381 for the circuits of Muster: setup, prover, verifier.
//!
//! The prover keeps, for every proving key, tables of multiples of the key's points (`table`), which
//! makes a proof about twice as cheap as arkworks' general multi-scalar multiplication. Everything
//! else about the key and the proof is arkworks' own, so that any Groth16 verifier accepts it.

pub mod circuits;
pub mod curve;
pub mod domain;
pub mod error;
pub mod field;
pub mod hash;
pub mod key;
pub mod merkle_tree;
pub mod mimc;
pub mod poseidon;
pub mod prover;
pub mod qap;
pub mod r1cs;
pub mod r1cs_file;
pub mod snarkjs;
mod sums;
pub mod table;
pub mod table_file;
pub mod threads;
pub mod verifier;
pub mod zkey;

#[cfg(feature = "python")]
mod python;
