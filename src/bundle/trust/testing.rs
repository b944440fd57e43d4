//! Keys for tests: the same for the same number.

use super::SigningKey;

/// A key that anybody can guess.
pub fn key(number: u8) -> SigningKey {
    SigningKey::generate(|bytes| {
        bytes.fill(number);
        Ok::<_, ()>(())
    })
    .unwrap()
}
