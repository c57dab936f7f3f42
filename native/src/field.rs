//! Field elements from and to text and bytes; only canonical values (below the modulus) get in.

use ark_ff::{BigInteger, PrimeField};
use num_bigint::BigUint;

use crate::error::{Error, Result};

/// The largest modulus we know (381 bits) has this many digits.
const MAX_DIGITS: usize = 115;

/// One decimal number below the modulus. `what` names it in the error; its value stays out of it.
pub fn parse_decimal<F: PrimeField>(what: &str, text: &str) -> Result<F> {
    let digits = !text.is_empty()
        && text.len() <= MAX_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(Error::input(format!(
            "{what} must be a decimal number of 1 to {MAX_DIGITS} digits without leading zeros"
        )));
    }
    let number = text
        .parse::<BigUint>()
        .map_err(|_| Error::input(format!("{what} must be a decimal number")))?;
    if number >= F::MODULUS.into() {
        return Err(Error::input(format!("{what} must be below the field's modulus")));
    }
    Ok(F::from(number))
}

/// A list of decimal numbers of exactly `count` entries, named `what[0]`, `what[1]`, ...
pub fn parse_decimals<F: PrimeField>(what: &str, texts: &[String], count: usize) -> Result<Vec<F>> {
    if texts.len() != count {
        return Err(Error::input(format!("{what} must have {count} entries, not {}", texts.len())));
    }
    texts.iter().enumerate().map(|(i, text)| parse_decimal(&format!("{what}[{i}]"), text)).collect()
}

/// Numbers of 32 big-endian bytes each, one after the other.
pub fn parse_words<F: PrimeField>(what: &str, bytes: &[u8]) -> Result<Vec<F>> {
    if bytes.len() % 32 != 0 {
        return Err(Error::input(format!("{what} must be a whole number of 32-byte words")));
    }
    bytes
        .chunks_exact(32)
        .enumerate()
        .map(|(i, word)| {
            let number = BigUint::from_bytes_be(word);
            if number >= F::MODULUS.into() {
                return Err(Error::input(format!("{what}[{i}] must be below the field's modulus")));
            }
            Ok(F::from(number))
        })
        .collect()
}

pub fn to_decimal<F: PrimeField>(value: F) -> String {
    value.into_bigint().to_string()
}

pub fn to_decimals<F: PrimeField>(values: &[F]) -> Vec<String> {
    values.iter().copied().map(to_decimal).collect()
}

/// 32 little-endian bytes, as the digests use them.
pub fn to_bytes<F: PrimeField>(value: F) -> Vec<u8> {
    value.into_bigint().to_bytes_le()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::Fr;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_not_canonical() {
        let modulus = Fr::MODULUS.to_string();
        for bad in ["", "-1", "+1", "0x1", " 1", "1 ", "01", "1e3", "١", modulus.as_str()] {
            assert!(parse_decimal::<Fr>("x", bad).is_err(), "{bad:?}");
        }
        assert!(parse_decimal::<Fr>("x", &"9".repeat(10_000)).is_err());
    }

    #[test]
    fn accepts_the_ends_of_the_field() {
        assert_eq!(parse_decimal::<Fr>("x", "0"), Ok(Fr::from(0u64)));
        let last = -Fr::from(1u64);
        assert_eq!(parse_decimal::<Fr>("x", &to_decimal(last)), Ok(last));
    }

    #[test]
    fn errors_name_the_entry_and_keep_the_value_to_themselves() {
        let error = parse_decimals::<Fr>("inputs", &["1".into(), "secret".into()], 2).unwrap_err();
        assert!(error.to_string().starts_with("inputs[1] must be"), "{error}");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn words_above_the_modulus_are_refused() {
        assert!(parse_words::<Fr>("leaves", &[0xff; 32]).is_err());
        assert!(parse_words::<Fr>("leaves", &[0; 33]).is_err());
    }

    proptest! {
        #[test]
        fn words_and_decimals_agree(bytes in prop::array::uniform32(any::<u8>())) {
            let mut word = bytes;
            word[0] &= 0x1f;
            let number = BigUint::from_bytes_be(&word);
            let from_word = parse_words::<Fr>("x", &word).unwrap()[0];
            prop_assert_eq!(parse_decimal::<Fr>("x", &number.to_string()), Ok(from_word));
            prop_assert_eq!(to_decimal(from_word), number.to_string());
        }
    }
}
