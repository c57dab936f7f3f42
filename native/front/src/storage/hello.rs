//! How the two ends of a connection meet; the other end's part is `muster_kv.wire.hello`.
//!
//! A proof is an HMAC-SHA256 under the cluster's token over both names and both nonces. Where there
//! is no token, proofs are empty.

use bytes::Bytes;
use ring::hmac;

use muster_records::pack::{Malformed, Pack, Reader};

pub const PROTOCOL: u64 = 1;
pub const NONCE_BYTES: usize = 16;
pub const MAX_HELLO_BYTES: usize = 4096;
const ROLE: &str = "coordinator";

/// This end. The token is never shown.
pub struct Identity {
    pub node_id: String,
    pub cluster: String,
    pub token: Vec<u8>,
}

/// The server's answer to a hello.
pub struct Challenge {
    pub node_id: Bytes,
    nonce: Bytes,
    proof: Bytes,
}

impl Challenge {
    pub fn read(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.array()?;
        reader.skip()?;
        Ok(Self { node_id: reader.text()?, nonce: reader.bin()?, proof: reader.bin()? })
    }
}

/// The body of the first words.
pub fn hello(identity: &Identity, nonce: &[u8], sent_us: u64) -> Vec<u8> {
    let mut body = Vec::new();
    body.array(6).uint(PROTOCOL).text(&identity.node_id).text(ROLE).text(&identity.cluster);
    body.bin(nonce).uint(sent_us);
    body
}

/// The body of our proof; an error where the server does not know the token.
pub fn answer(identity: &Identity, nonce: &[u8], asked: &Challenge) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    body.array(1);
    if identity.token.is_empty() {
        if !asked.proof.is_empty() {
            return Err(other_token(asked));
        }
        body.bin(b"");
        return Ok(body);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &identity.token);
    hmac::verify(&key, &said(b"server", identity, nonce, asked), &asked.proof)
        .map_err(|_| other_token(asked))?;
    body.bin(hmac::sign(&key, &said(b"client", identity, nonce, asked)).as_ref());
    Ok(body)
}

fn other_token(asked: &Challenge) -> String {
    format!("{:?} has another token", String::from_utf8_lossy(&asked.node_id))
}

fn said(who: &[u8], identity: &Identity, nonce: &[u8], asked: &Challenge) -> Vec<u8> {
    let mut said = Vec::new();
    said.array(7).bin(who).uint(PROTOCOL).text(&identity.cluster).text(&identity.node_id);
    said.text(ROLE).bin(nonce).array(2).text(&String::from_utf8_lossy(&asked.node_id));
    said.bin(&asked.nonce);
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(token: &[u8]) -> Identity {
        Identity { node_id: "c-0".into(), cluster: "muster".into(), token: token.into() }
    }

    fn challenge(token: &[u8]) -> Challenge {
        let mut asked =
            Challenge { node_id: "s-0".into(), nonce: vec![1; 16].into(), proof: Bytes::new() };
        if !token.is_empty() {
            let key = hmac::Key::new(hmac::HMAC_SHA256, token);
            let tag = hmac::sign(&key, &said(b"server", &identity(token), &[0; 16], &asked));
            asked.proof = Bytes::copy_from_slice(tag.as_ref());
        }
        asked
    }

    #[test]
    fn only_a_server_that_knows_the_token_gets_a_proof() {
        for token in [&b""[..], b"secret"] {
            assert!(answer(&identity(token), &[0; 16], &challenge(token)).is_ok());
            assert!(answer(&identity(token), &[0; 16], &challenge(b"other")).is_err());
        }
        assert!(answer(&identity(b"secret"), &[0; 16], &challenge(b"")).is_err());
    }
}
