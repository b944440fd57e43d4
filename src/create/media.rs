//! First contact: what a bare node needs beside the bundle (bundle-format.md, "First contact").
//!
//! An executable out of a bundle that nobody verified must not vouch for that bundle. So the tool lies beside it with a signature of
//! its own, and the README's lines check it with openssl alone before anything that was carried runs.
//!
//! ```text
//! DIR/NAME-VERSION.tar.zst          the bundle
//! DIR/NAME-VERSION.root.json        the bundle's root, and ….sig: base64 DER ECDSA over it
//! DIR/coracle-linux-amd64, -arm64   the tool, and ….sig
//! DIR/SHA256SUMS                    of all of the above, and ….sig
//! DIR/README.txt                    the lines to type
//! ```

use std::path::{Path, PathBuf};

use crate::fs;
use crate::types::{Digest, Platform};

/// A file of the medium that is written from memory or copied from the store.
#[derive(Debug)]
pub struct MediaFile {
    /// Its name in the directory.
    pub name: String,
    /// Its digest, for SHA256SUMS.
    pub digest: Digest,
}

/// The name under which the tool for a platform lies on the medium.
pub fn tool_name(platform: &Platform) -> String {
    format!("coracle-{}-{}", platform.os(), platform.architecture())
}

/// SHA256SUMS as `sha256sum -c` reads it, sorted by name.
pub fn sums(files: &[MediaFile]) -> String {
    let mut lines: Vec<String> = files.iter().map(|file| format!("{}  {}\n", file.digest.hex(), file.name)).collect();
    lines.sort_by(|a, b| a[66..].cmp(&b[66..]));
    lines.concat()
}

/// What a person who stands before a bare node reads.
pub struct Readme<'a> {
    /// The bundle's file name.
    pub bundle: &'a str,
    /// The root's file name.
    pub root: &'a str,
    /// Its digest.
    pub root_digest: Digest,
    /// Tools that are on the medium.
    pub tools: &'a [String],
    /// Key ids of the signers; none: the bundle is unsigned, and there is nothing to check it with.
    pub key_ids: &'a [String],
}

impl Readme<'_> {
    /// The text.
    pub fn text(&self) -> String {
        let Self { bundle, root, root_digest, tools, key_ids } = self;
        let tool = tools.first().map_or("coracle", String::as_str);
        let mut text = format!("{bundle}\nroot {root_digest}\n\n");
        if key_ids.is_empty() {
            text.push_str("This bundle is NOT SIGNED. Nothing on this medium can show that it is what its author made.\n");
            return text;
        }
        text.push_str("Signed by the key with this id (SHA-256 of the public key in DER):\n");
        for id in *key_ids {
            text.push_str(&format!("  {id}\n"));
        }
        text.push_str(concat!(
            "\nBring the public key by another way than this medium, and compare its id:\n",
            "  openssl pkey -pubin -in release.pub -outform DER | sha256sum\n",
            "\nBefore anything on this medium is run, check it with the programs that the node has:\n",
            "  check() { base64 -d \"$1.sig\" > /tmp/check.sig && openssl dgst -sha256 -verify release.pub -signature /tmp/check.sig \"$1\"; }\n",
        ));
        text.push_str(&format!("  check {root}\n"));
        for tool in *tools {
            text.push_str(&format!("  check {tool}\n"));
        }
        text.push_str("  check SHA256SUMS && sha256sum -c SHA256SUMS\n");
        text.push_str(&format!(
            "\nEach must say \"Verified OK\" or \"OK\". Then install the tool and let it do the rest:\n  install -m 0755 {tool} /usr/local/bin/coracle\n  coracle deploy {bundle} --key release.pub\n",
        ));
        if tools.is_empty() {
            text.push_str("\nNo tool is on this medium: the node must have one already.\n");
        }
        text
    }
}

/// Writes a small file of the medium.
pub fn write(directory: &Path, name: &str, bytes: &[u8], mode: u32) -> fs::Result<PathBuf> {
    let path = directory.join(name);
    fs::write_atomic(&path, bytes, mode)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_sums_by_name_as_sha256sum_reads_them() {
        let file = |name: &str| MediaFile { name: name.to_owned(), digest: Digest::of(name.as_bytes()) };
        let text = sums(&[file("b"), file("a")]);
        let hex = |name: &str| Digest::of(name.as_bytes()).hex();
        assert_eq!(text, format!("{}  a\n{}  b\n", hex("a"), hex("b")));
    }

    #[test]
    fn an_unsigned_medium_says_so_and_gives_no_line_to_type() {
        let readme = Readme { bundle: "a-1.tar.zst", root: "a-1.root.json", root_digest: Digest::of(b""), tools: &[], key_ids: &[] };
        assert!(readme.text().contains("NOT SIGNED"));
        assert!(!readme.text().contains("openssl"));
    }
}
