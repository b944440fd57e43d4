//! PEM blocks (RFC 7468): finds the one that is wanted in a key file and gives its bytes.

use p256::pkcs8::der::pem;
use zeroize::Zeroizing;

/// One block: its label and what was encoded.
pub struct Block {
    /// `PUBLIC KEY` of `-----BEGIN PUBLIC KEY-----`.
    pub label: String,
    /// The bytes; wiped when dropped, since they may be a private key.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// All blocks of a text, in order. What stands between them is ignored, as RFC 7468 section 2 allows.
pub fn blocks(text: &str) -> Result<Vec<Block>, pem::Error> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        let block = &rest[start..];
        let end_line = block.find(END).ok_or(pem::Error::PostEncapsulationBoundary)?;
        let end = block[end_line..].find('\n').map_or(block.len(), |newline| end_line + newline + 1);
        let (label, bytes) = pem::decode_vec(&block.as_bytes()[..end])?;
        blocks.push(Block { label: label.to_owned(), bytes: Zeroizing::new(bytes) });
        rest = &block[end..];
    }
    Ok(blocks)
}

/// One block with lines of 64 characters.
pub fn encode(label: &str, bytes: &[u8]) -> String {
    pem::encode_string(label, pem::LineEnding::LF, bytes).expect("a label of capital letters and bytes that fit into memory")
}
