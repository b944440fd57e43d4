//! cosign's encrypted private key: a JSON container inside a PEM block (go-securesystemslib `encrypted`, as cosign uses it).
//!
//! scrypt turns the password into a key, NaCl's secretbox (XSalsa20-Poly1305) seals PKCS#8 DER with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyError;

/// The labels of the PEM block: today's, and that of cosign before 2.0.
pub const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
/// What cosign uses: 64 MiB of memory, about 0.15 s.
const PARAMS: Params = Params { n: 65_536, r: 8, p: 1 };
/// Other files may ask for more or less, within reason: 16 MiB to 1 GiB of memory.
const LOG_N: std::ops::RangeInclusive<u32> = 14..=20;

#[derive(Serialize, Deserialize)]
struct Container {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Seals `plain`; gives the JSON.
pub fn encrypt(plain: &[u8], password: &[u8], salt: &[u8; 32], nonce: &[u8; 24]) -> Vec<u8> {
    let key = derive(password, salt, PARAMS).expect("the constant parameters are valid");
    let ciphertext = cipher(&key).encrypt(Nonce::from_slice(nonce), plain).expect("a key is far smaller than what the cipher can seal");
    let container = Container {
        kdf: Kdf { name: KDF.to_owned(), params: PARAMS, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: CIPHER.to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    serde_json::to_vec(&container).expect("strings and numbers always serialise")
}

/// Opens the JSON; gives what was sealed.
pub fn decrypt(json: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let unknown = |what: &str| KeyError::Encryption(what.to_owned());
    let container: Container = serde_json::from_slice(json).map_err(|_| unknown("it is not cosign's JSON container"))?;
    if container.kdf.name != KDF || container.cipher.name != CIPHER {
        return Err(KeyError::Encryption(format!("{} with {}", container.kdf.name, container.cipher.name)));
    }
    let bytes = |text: &str, what| STANDARD.decode(text).map_err(|_| unknown(what));
    let salt = bytes(&container.kdf.salt, "its salt is no base64")?;
    let nonce: [u8; 24] =
        bytes(&container.cipher.nonce, "its nonce is no base64")?.try_into().map_err(|_| unknown("its nonce has not 24 bytes"))?;
    let ciphertext = bytes(&container.ciphertext, "its ciphertext is no base64")?;
    let key = derive(password, &salt, container.kdf.params)?;
    cipher(&key).decrypt(Nonce::from_slice(&nonce), ciphertext.as_slice()).map(Zeroizing::new).map_err(|_| KeyError::WrongPassword)
}

fn cipher(key: &Zeroizing<[u8; 32]>) -> XSalsa20Poly1305 {
    XSalsa20Poly1305::new(Key::from_slice(key.as_slice()))
}

fn derive(password: &[u8], salt: &[u8], params: Params) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let Params { n, r, p } = params;
    let unreasonable = || KeyError::Encryption(format!("scrypt with N={n}, r={r}, p={p}"));
    if !n.is_power_of_two() || !LOG_N.contains(&n.ilog2()) || r != PARAMS.r || p != PARAMS.p {
        return Err(unreasonable());
    }
    let log_n = u8::try_from(n.ilog2()).map_err(|_| unreasonable())?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| unreasonable())?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(password, salt, &params, key.as_mut_slice()).map_err(|_| unreasonable())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cosign_does_not_write() {
        let json = String::from_utf8(encrypt(b"plain", b"pw", &[1; 32], &[2; 24])).unwrap();
        assert_eq!(decrypt(json.as_bytes(), b"pw").unwrap().as_slice(), b"plain");
        let changed = |from: &str, to: &str| {
            assert!(json.contains(from));
            decrypt(json.replace(from, to).as_bytes(), b"pw").unwrap_err().to_string()
        };
        let unknown = "it is encrypted in a way that is not known: ";
        assert_eq!(changed(r#""scrypt""#, r#""argon2id""#), format!("{unknown}argon2id with nacl/secretbox"));
        assert_eq!(changed("65536", "4611686018427387904"), format!("{unknown}scrypt with N=4611686018427387904, r=8, p=1"));
        assert_eq!(changed("65536", "65535"), format!("{unknown}scrypt with N=65535, r=8, p=1"));
        assert_eq!(changed("65536", "0"), format!("{unknown}scrypt with N=0, r=8, p=1"));
        assert_eq!(changed(r#""p":1"#, r#""p":4294967295"#), format!("{unknown}scrypt with N=65536, r=8, p=4294967295"));
        assert_eq!(changed(r#""nonce":""#, r#""nonce":"AAAA"#), format!("{unknown}its nonce has not 24 bytes"));
        assert_eq!(changed(r#""kdf""#, r#""kdg""#), format!("{unknown}it is not cosign's JSON container"));
        assert_eq!(changed(r#""ciphertext":""#, r#""ciphertext":"AAAA"#), "the password does not open it");
    }
}
