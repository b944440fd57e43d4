//! Blobs into containerd's content store: in messages of 1 MiB, several at once, a present one not at all, a partial one from where
//! it stopped.
//!
//! Bytes are read on plain threads and reach the connection through channels of [`AHEAD`] messages: memory is readers × messages.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;
use futures_util::future::try_join;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::api::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ReadContentRequest, UpdateRequest, WriteAction, WriteContentRequest,
};
use super::error::{Answer, found};
use super::session::Session;
use super::wanted::WantedBlob;
use super::{Error, lease};
use crate::event::{Event, Observer};
use crate::io::Mismatch;
use crate::store::Store;
use crate::types::{Descriptor, Digest};

/// Bytes in one message; containerd takes up to 16 MiB.
const MESSAGE: usize = 1 << 20;
/// Messages that a reader is ahead of the connection.
const AHEAD: usize = 2;

/// Where the bytes of a blob come from: the node's store, a bundle, documents in memory.
pub trait BlobProvider: Sync {
    /// The bytes of a blob from `offset` on. They need not have been checked: containerd takes a blob only when its digest is right.
    ///
    /// # Errors
    /// The blob is not to be had.
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

impl BlobProvider for Store {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        use std::io::Seek as _;
        let mut file = self.file(&blob.digest).map_err(io::Error::other)?;
        file.seek(io::SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

/// A blob that a reading thread is asked for.
pub(super) struct ReadJob {
    blob: Descriptor,
    offset: u64,
    to: mpsc::Sender<io::Result<Bytes>>,
}

/// What a reading thread does until nobody asks any more.
pub(super) fn serve_reads(jobs: &crossbeam_channel::Receiver<ReadJob>, blobs: &dyn BlobProvider) {
    for job in jobs {
        if let Err(error) = read_into(blobs, &job.blob, job.offset, &job.to) {
            // Where nobody listens any more, the run has failed already for another reason.
            drop(job.to.blocking_send(Err(error)));
        }
    }
}

fn read_into(blobs: &dyn BlobProvider, blob: &Descriptor, offset: u64, to: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut reader = blobs.open(blob, offset)?;
    let mut left = blob.size.saturating_sub(offset);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(MESSAGE).min(MESSAGE);
        let mut message = Vec::with_capacity(wanted);
        reader.by_ref().take(wanted as u64).read_to_end(&mut message)?;
        if message.len() < wanted {
            let got = blob.size - left + message.len() as u64;
            return Err(Mismatch::Short { digest: blob.digest, got, expected: blob.size }.into());
        }
        left -= message.len() as u64;
        if to.blocking_send(Ok(message.into())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// What one run sends with: the connection, its lease, the readers and who is told.
pub(super) struct Sender<'a> {
    pub(super) session: &'a Session,
    pub(super) lease: &'a str,
    pub(super) jobs: &'a crossbeam_channel::Sender<ReadJob>,
    pub(super) observer: &'a dyn Observer,
}

impl Sender<'_> {
    /// Brings a blob into containerd with its labels; `true` where bytes of it were sent.
    pub(super) async fn put(&self, blob: &WantedBlob) -> Result<bool, Error> {
        if info(self.session, &blob.descriptor.digest).await?.is_some() {
            lease::hold(self.session, self.lease, "content", &blob.descriptor.digest.to_string()).await?;
            if !is_readable(self.session, &blob.descriptor).await? {
                self.forget(&blob.descriptor.digest).await?;
            } else if self.label(blob).await? {
                return Ok(false);
            }
        }
        match self.write(blob).await {
            Err(Error::Call { source: Answer { code: Code::AlreadyExists, .. }, .. }) => {
                lease::hold(self.session, self.lease, "content", &blob.descriptor.digest.to_string()).await?;
                self.label(blob).await?;
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Adds the labels that a present blob lacks; `false` where the blob is not there (any more).
    async fn label(&self, blob: &WantedBlob) -> Result<bool, Error> {
        let Some(there) = info(self.session, &blob.descriptor.digest).await? else { return Ok(false) };
        add_labels(self.session, &blob.descriptor.digest, blob.labels.missing(&there.labels)).await?;
        Ok(true)
    }

    /// Sends a blob. What an earlier run left half written is used; where that turns out wrong, the whole blob is sent once more.
    async fn write(&self, blob: &WantedBlob) -> Result<(), Error> {
        let id = transfer_id(&blob.descriptor.digest);
        self.observer.event(Event::TransferStarted { id, name: blob.descriptor.digest.to_string(), bytes: Some(blob.descriptor.size) });
        let mut result = self.write_once(blob, id).await;
        if let Err(Error::Content { .. }) = &result {
            self.abort(&blob.descriptor.digest).await?;
            result = self.write_once(blob, id).await;
        }
        self.observer.event(Event::TransferFinished { id });
        result
    }

    async fn write_once(&self, blob: &WantedBlob, id: u64) -> Result<(), Error> {
        let digest = blob.descriptor.digest;
        let size = i64::try_from(blob.descriptor.size).unwrap_or(i64::MAX);
        let failed = |status: Status| match status.code() {
            Code::FailedPrecondition | Code::OutOfRange => Error::Content { digest, source: status.into() },
            _ => Error::call("take the blob", digest)(status),
        };
        let (to, outgoing) = mpsc::channel::<WriteContentRequest>(1);
        let stat = WriteContentRequest { action: WriteAction::Stat.into(), r#ref: ingest(&digest), total: size, ..empty(&digest) };
        let messages = futures_util::stream::unfold((Some(stat), outgoing), |(first, mut rest)| async {
            let message = if first.is_some() { first } else { rest.recv().await };
            message.map(|message| (message, (None, rest)))
        });
        let mut answers = self.session.content().write(self.session.unbounded(messages)).await.map_err(failed)?.into_inner();
        let begun = answers.message().await.map_err(failed)?.ok_or_else(|| failed(ended_early()))?;
        let mut offset = begun.offset;
        let (read_to, mut bytes) = mpsc::channel(AHEAD);
        let job = ReadJob { blob: blob.descriptor.clone(), offset: u64::try_from(offset).unwrap_or(0), to: read_to };
        self.jobs.send(job).map_err(|_| Error::Blob { digest, source: io::Error::other("the reading threads ended") })?;
        let mut labels = Some(blob.labels.missing(&BTreeMap::new()));
        let send = async {
            loop {
                let data = if offset < size { bytes.recv().await.transpose() } else { Ok(Some(Bytes::new())) };
                let data = data.map_err(|source| Error::Blob { digest, source })?;
                let data = data.ok_or_else(|| Error::Blob { digest, source: io::Error::other("the reading threads ended") })?;
                let length = data.len();
                let mut message = WriteContentRequest { action: WriteAction::Write.into(), offset, total: size, data, ..empty(&digest) };
                offset += i64::try_from(length).unwrap_or(0);
                let last = offset >= size;
                if last {
                    message.action = WriteAction::Commit.into();
                    message.labels = labels.take().unwrap_or_default();
                }
                // A closed channel means that the call has ended: its answer, which `receive` gets, says why.
                if to.send(message).await.is_err() || last {
                    return Ok(());
                }
                self.observer.event(Event::TransferProgress { id, bytes: length as u64 });
            }
        };
        let receive = async {
            while let Some(answer) = answers.message().await.map_err(failed)? {
                if answer.action == i32::from(WriteAction::Commit) {
                    return Ok(());
                }
            }
            Err(failed(ended_early()))
        };
        try_join(send, receive).await.map(|_| ())
    }

    /// Takes out of containerd's database a blob that is not on its disk, which it would otherwise go on taking for present.
    async fn forget(&self, digest: &Digest) -> Result<(), Error> {
        let message = DeleteContentRequest { digest: digest.to_string() };
        let answer = self.session.content().delete(self.session.quick(message)).await;
        found(answer).map_err(Error::call("forget the lost blob", digest))?;
        Ok(())
    }

    async fn abort(&self, digest: &Digest) -> Result<(), Error> {
        let answer = self.session.content().abort(self.session.quick(AbortRequest { r#ref: ingest(digest) })).await;
        found(answer).map_err(Error::call("drop the partial blob", digest))?;
        Ok(())
    }
}

/// Size and labels of a blob, `None` where it is not there.
pub(super) async fn info(session: &Session, digest: &Digest) -> Result<Option<Info>, Error> {
    let answer = session.content().info(session.quick(InfoRequest { digest: digest.to_string() })).await;
    Ok(found(answer).map_err(Error::call("look at the blob", digest))?.and_then(|answer| answer.into_inner().info))
}

/// Whether the last byte of a blob that the database lists can be read. After a power loss it may not be: containerd flushes its
/// database with each call, and the directory in which the blob got its name never.
async fn is_readable(session: &Session, blob: &Descriptor) -> Result<bool, Error> {
    // Of an empty blob nothing can be read; that it is opened is what counts.
    let size = i64::from(blob.size > 0);
    let offset = i64::try_from(blob.size).unwrap_or(i64::MAX) - size;
    let message = ReadContentRequest { digest: blob.digest.to_string(), offset, size };
    let failed = Error::call("read the blob", blob.digest);
    let read = async {
        let mut messages = session.content().read(session.quick(message)).await?.into_inner();
        let mut got = 0;
        while let Some(message) = messages.message().await? {
            got += message.data.len();
        }
        Ok(got)
    };
    match read.await {
        Ok(got) => Ok(i64::try_from(got).is_ok_and(|got| got == size)),
        Err(status) if matches!(Status::code(&status), Code::NotFound | Code::OutOfRange) => Ok(false),
        Err(status) => Err(failed(status)),
    }
}

/// Adds labels to a blob; none is no call.
pub(super) async fn add_labels(session: &Session, digest: &Digest, labels: BTreeMap<String, String>) -> Result<(), Error> {
    if labels.is_empty() {
        return Ok(());
    }
    let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
    let info = Some(Info { digest: digest.to_string(), size: 0, labels });
    let message = UpdateRequest { info, update_mask: Some(prost_types::FieldMask { paths }) };
    session.content().update(session.quick(message)).await.map_err(Error::call("label the blob", digest))?;
    Ok(())
}

/// The name of a blob that is being written; the same in each run, so that the next one goes on.
fn ingest(digest: &Digest) -> String {
    format!("coracle-{digest}")
}

fn empty(digest: &Digest) -> WriteContentRequest {
    WriteContentRequest { expected: digest.to_string(), ..WriteContentRequest::default() }
}

fn ended_early() -> Status {
    Status::unavailable("it ended the call without an answer")
}

/// Tells transfers apart: the digest's first bytes.
fn transfer_id(digest: &Digest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte))
}
