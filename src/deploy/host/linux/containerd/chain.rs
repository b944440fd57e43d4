//! The names of an image's snapshots, from its configuration (OCI image-spec `config.md`, "Layer ChainID").

use crate::types::Digest;

/// The digests of the uncompressed layers, bottom first.
///
/// # Errors
/// Why the document has none, in words.
pub(super) fn diff_ids(config: &[u8]) -> Result<Vec<Digest>, String> {
    let document: serde_json::Value = serde_json::from_slice(config).map_err(|error| error.to_string())?;
    let listed = document.pointer("/rootfs/diff_ids").and_then(serde_json::Value::as_array).ok_or("it has no rootfs.diff_ids")?;
    let parse =
        |text: &serde_json::Value| text.as_str().ok_or("a diff_id is no text")?.parse::<Digest>().map_err(|error| error.to_string());
    listed.iter().map(parse).collect()
}

/// The name of the snapshot at each layer: a digest over all layers up to it.
pub(super) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        let next = chain.last().map_or(*diff, |parent| Digest::of(format!("{parent} {diff}").as_bytes()));
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_chain_id_is_the_diff_id_and_each_next_covers_the_one_below() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        let ab = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(chain_ids(&[a, b, c]), [a, ab, Digest::of(format!("{ab} {c}").as_bytes())]);
        assert_eq!(chain_ids(&[]), []);
    }

    #[test]
    fn reads_diff_ids_and_says_why_it_cannot() {
        let digest = Digest::of(b"x");
        assert_eq!(diff_ids(format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#).as_bytes()), Ok(vec![digest]));
        assert_eq!(diff_ids(b"{}").unwrap_err(), "it has no rootfs.diff_ids");
        assert_eq!(
            diff_ids(br#"{"rootfs":{"diff_ids":["md5:1"]}}"#).unwrap_err(),
            "`md5:1` is not a SHA-256 digest (sha256: and 64 lower-case hex digits)"
        );
    }
}
