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

use std::path::Path;

use super::Error;
use crate::bundle::UnsignedBundle;
use crate::bundle::trust::SigningKey;
use crate::fs;
use crate::io::HashingWriter;
use crate::store::Store;
use crate::types::{Descriptor, Digest, Platform};

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
        text.extend(key_ids.iter().map(|id| format!("  {id}\n")));
        text.push_str(concat!(
            "\nBring the public key by another way than this medium, and compare its id:\n",
            "  openssl pkey -pubin -in release.pub -outform DER | sha256sum\n",
            "\nBefore anything on this medium is run, check it with the programs that the node has:\n",
            "  check() { base64 -d \"$1.sig\" > /tmp/check.sig && openssl dgst -sha256 -verify release.pub -signature /tmp/check.sig \"$1\"; }\n",
        ));
        text.extend(std::iter::once(*root).chain(tools.iter().map(String::as_str)).map(|name| format!("  check {name}\n")));
        text.push_str("  check SHA256SUMS && sha256sum -c SHA256SUMS\n");
        text.push_str("\nEach must say \"Verified OK\" or \"OK\". Then install the tool and let it do the rest:\n");
        text.extend([
            format!("  install -m 0755 {tool} /usr/local/bin/coracle\n"),
            format!("  coracle deploy {bundle} --key release.pub\n"),
        ]);
        if tools.is_empty() {
            text.push_str("\nNo tool is on this medium: the node must have one already.\n");
        }
        text
    }
}

/// What lies beside a bundle, ready to be written.
#[derive(Debug)]
pub struct Medium {
    name: String,
    root: Vec<u8>,
    root_digest: Digest,
    tools: Vec<(String, Descriptor)>,
    signers: Vec<SigningKey>,
}

impl Medium {
    /// What belongs to this bundle, with signatures by these keys.
    pub fn of(bundle: &UnsignedBundle, signers: &[SigningKey]) -> Self {
        let tools = bundle.metadata().tools().iter().flat_map(|(platform, tools)| {
            tools.iter().filter(|(name, _)| name == "coracle").map(|(_, descriptor)| (tool_name(platform), descriptor.clone()))
        });
        Self {
            name: format!("{}-{}", bundle.name(), bundle.version()),
            root: bundle.root().to_vec(),
            root_digest: bundle.root_digest(),
            tools: tools.collect(),
            signers: signers.to_vec(),
        }
    }

    /// Writes everything beside the bundle, which lies in the directory already, and gives the names of what was written.
    pub fn write(&self, directory: &Path, bundle: &Path, store: &Store) -> Result<Vec<String>, Error> {
        let mut medium = Written { directory, signers: &self.signers, files: Vec::new(), names: Vec::new() };
        medium.list(bundle)?;
        let root = format!("{}.root.json", self.name);
        medium.signed(&root, &self.root, 0o644)?;
        for (name, descriptor) in &self.tools {
            medium.tool(name, descriptor, store)?;
        }
        let key_ids: Vec<String> = self.signers.iter().map(|key| key.public().key_id().to_string()).collect();
        let tools: Vec<String> = self.tools.iter().map(|(name, _)| name.clone()).collect();
        let bundle = bundle.file_name().unwrap_or_default().to_string_lossy();
        let readme = Readme { bundle: &bundle, root: &root, root_digest: self.root_digest, tools: &tools, key_ids: &key_ids };
        medium.plain("README.txt", readme.text().as_bytes(), 0o644)?;
        let sums = sums(&medium.files);
        medium.signed("SHA256SUMS", sums.as_bytes(), 0o644)?;
        Ok(medium.names)
    }
}

struct Written<'a> {
    directory: &'a Path,
    signers: &'a [SigningKey],
    files: Vec<MediaFile>,
    names: Vec<String>,
}

impl Written<'_> {
    /// Takes a file that is there already into the sums.
    fn list(&mut self, path: &Path) -> Result<(), Error> {
        let mut writer = HashingWriter::new(std::io::sink());
        std::io::copy(&mut fs::open(path)?, &mut writer).map_err(|source| fs::Error::new("read", path, source))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.files.push(MediaFile { name, digest: writer.finish().1 });
        Ok(())
    }

    fn plain(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        fs::write_atomic(&self.directory.join(name), bytes, mode)?;
        self.files.push(MediaFile { name: name.to_owned(), digest: Digest::of(bytes) });
        self.names.push(name.to_owned());
        Ok(())
    }

    /// The file, and beside it one signature: the first signer's as `NAME.sig`, further ones with their key's id before the ending.
    fn signed(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        self.plain(name, bytes, mode)?;
        self.sign(name, &Digest::of(bytes))
    }

    /// A tool out of the store, never held as a whole.
    fn tool(&mut self, name: &str, descriptor: &Descriptor, store: &Store) -> Result<(), Error> {
        let path = self.directory.join(name);
        let mut reader = store.reader(descriptor)?;
        fs::write_atomic_with(&path, 0o755, |mut file| {
            std::io::copy(&mut reader, &mut file).map(drop).map_err(|source| fs::Error::new("copy the tool to", &path, source))
        })?;
        self.files.push(MediaFile { name: name.to_owned(), digest: descriptor.digest });
        self.names.push(name.to_owned());
        self.sign(name, &descriptor.digest)
    }

    fn sign(&self, name: &str, digest: &Digest) -> Result<(), Error> {
        for (n, key) in self.signers.iter().enumerate() {
            let signature = key.sign_digest(digest).to_der_base64();
            let id = key.public().key_id().to_string();
            let name = if n == 0 { format!("{name}.sig") } else { format!("{name}.{}.sig", &id[..16]) };
            fs::write_atomic(&self.directory.join(name), &signature, 0o644)?;
        }
        Ok(())
    }
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
