//! The journal as it is written, version 1: one JSON object a line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Record};
use crate::types::Digest;

/// The version that this program writes.
pub const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Line {
    v: u64,
    #[serde(flatten)]
    event: Event,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Run {
        root: String,
        package_version: String,
        boot: String,
        at: u64,
    },
    Begin {
        step: String,
        boot: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        blobs: Vec<String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        files: BTreeMap<PathBuf, Option<String>>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        kept: BTreeMap<PathBuf, String>,
    },
    End {
        step: String,
    },
    Done,
}

/// The part that every version has.
#[derive(Deserialize)]
struct Versioned {
    v: u64,
}

pub fn line(record: &Record) -> String {
    let event = match record.clone() {
        Record::Run { root, version, boot, at } => Event::Run { root: root.to_string(), package_version: version, boot, at },
        Record::Begin { step, boot, blobs, files, kept } => Event::Begin {
            step,
            boot,
            blobs: blobs.iter().map(ToString::to_string).collect(),
            files: files.into_iter().map(|(path, digest)| (path, digest.map(|digest| digest.to_string()))).collect(),
            kept: kept.into_iter().map(|(path, digest)| (path, digest.to_string())).collect(),
        },
        Record::End { step } => Event::End { step },
        Record::Done => Event::Done,
    };
    // Strings, numbers and lists alone: there is nothing in it that JSON could refuse.
    serde_json::to_string(&Line { v: VERSION, event }).unwrap_or_default() + "\n"
}

/// Whether the last whole line ends a run.
pub fn is_done(bytes: &[u8]) -> bool {
    let last = bytes.strip_suffix(b"\n").and_then(|bytes| bytes.rsplit(|byte| *byte == b'\n').next());
    last.and_then(|last| serde_json::from_slice::<Line>(last).ok()).is_some_and(|line| matches!(line.event, Event::Done))
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Record>, Error> {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let mut records = Vec::new();
    for (n, text) in lines.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        let malformed = |why: String| Error::Malformed { path: path.to_owned(), line: n + 1, why };
        // Only a line that was cut off can be no JSON: it was not acted on, because it was never flushed as a whole.
        let Ok(Versioned { v }) = serde_json::from_slice(text) else {
            let is_cut = serde_json::from_slice::<serde_json::Value>(text).is_err_and(|error| error.is_eof());
            if is_cut {
                continue;
            }
            return Err(malformed("it is not a JSON object with a version `v`".to_owned()));
        };
        if v > VERSION {
            return Err(Error::Newer { path: path.to_owned(), found: v });
        }
        let line: Line = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
        records.push(convert(line.event).map_err(malformed)?);
    }
    Ok(records)
}

fn convert(event: Event) -> Result<Record, String> {
    let digest = |text: String| text.parse::<Digest>().map_err(|error| error.to_string());
    Ok(match event {
        Event::Run { root, package_version, boot, at } => Record::Run { root: digest(root)?, version: package_version, boot, at },
        Event::Begin { step, boot, blobs, files, kept } => Record::Begin {
            step,
            boot,
            blobs: blobs.into_iter().map(digest).collect::<Result<_, _>>()?,
            files: files.into_iter().map(|(path, text)| Ok((path, text.map(digest).transpose()?))).collect::<Result<_, String>>()?,
            kept: kept.into_iter().map(|(path, text)| Ok((path, digest(text)?))).collect::<Result<_, String>>()?,
        },
        Event::End { step } => Record::End { step },
        Event::Done => Record::Done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote_and_skips_a_line_that_was_cut_off() {
        let records = [
            Record::Run { root: Digest::of(b"r"), version: "1.0.0".into(), boot: "b".into(), at: 7 },
            Record::Begin {
                step: "file:/a".into(),
                boot: "b".into(),
                blobs: vec![Digest::of(b"x")],
                files: BTreeMap::from([("/a".into(), Some(Digest::of(b"y"))), ("/b".into(), None)]),
                kept: BTreeMap::from([("/a".into(), Digest::of(b"k"))]),
            },
            Record::End { step: "file:/a".into() },
            Record::Done,
        ];
        let whole: String = records.iter().map(line).collect();
        assert_eq!(read(Path::new("j"), whole.as_bytes()).unwrap(), records);
        for cut in 0..line(&records[1]).len() {
            let text = format!("{}\n{whole}", &line(&records[1])[..cut]);
            let read = read(Path::new("j"), text.as_bytes()).unwrap();
            assert_eq!(read[read.len() - records.len()..], records, "cut at {cut}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_its_number_alone() {
        let error = read(Path::new("/j"), b"{\"v\":2}\n").unwrap_err();
        assert_eq!(error.to_string(), "`/j` has version 2, this program knows 1");
    }
}
