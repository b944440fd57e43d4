//! A blob's writer on a thread of its own, fed through a bounded channel: no network task ever waits for a disk while it holds up others.
//!
//! At most [`QUEUE`] pieces wait for a writer, and a piece is what one read of a connection gave (about 400 KiB at most, hyper's buffer):
//! with the default of 16 transfers that is 50 MiB at the very worst.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::store::{self, Begun, BlobWriter, Store, UnnamedWriter};
use crate::types::{Descriptor, Digest};

/// Pieces that wait for one writer.
const QUEUE: usize = 8;

enum Command {
    Restart,
    Bytes(Bytes),
}

/// Something that bytes are appended to.
pub trait Sink: Send + 'static {
    /// Starts over.
    fn restart(&mut self) -> store::Result<()>;
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> store::Result<()>;
}

impl Sink for Box<BlobWriter> {
    fn restart(&mut self) -> store::Result<()> {
        BlobWriter::restart(self)
    }

    fn write(&mut self, bytes: &[u8]) -> store::Result<()> {
        BlobWriter::write(self, bytes)
    }
}

impl Sink for UnnamedWriter {
    fn restart(&mut self) -> store::Result<()> {
        Self::restart(self)
    }

    fn write(&mut self, bytes: &[u8]) -> store::Result<()> {
        Self::write(self, bytes)
    }
}

/// Feeds a sink. Dropping it ends the thread, which keeps what it has written.
pub struct Writer<S> {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<store::Result<S>>,
    offset: u64,
}

/// A writer for a blob whose digest is known; `None` where it is there. Waits for another process that writes it.
pub async fn begin(store: &Store, descriptor: &Descriptor) -> store::Result<Option<Writer<Box<BlobWriter>>>> {
    let (store, digest, size) = (store.clone(), descriptor.digest, descriptor.size);
    match blocking(move || store.begin(digest, size)).await? {
        Begun::Present => Ok(None),
        Begun::Writer(sink) => {
            let offset = sink.offset();
            Ok(Some(Writer::start(sink, offset)))
        }
    }
}

/// A writer for a file whose digest is not known; `key` names it among partial files.
pub async fn begin_unnamed(store: &Store, key: &str) -> store::Result<Writer<UnnamedWriter>> {
    let (store, key) = (store.clone(), key.to_owned());
    Ok(Writer::start(blocking(move || store.begin_unnamed(&key)).await?, 0))
}

impl<S: Sink> Writer<S> {
    fn start(mut sink: S, offset: u64) -> Self {
        let (commands, mut queue) = mpsc::channel(QUEUE);
        let thread = spawn_blocking(move || {
            while let Some(command) = queue.blocking_recv() {
                match command {
                    Command::Restart => sink.restart()?,
                    Command::Bytes(bytes) => sink.write(&bytes)?,
                }
            }
            Ok(sink)
        });
        Self { commands, thread, offset }
    }

    /// Bytes that were given to it, with what it found.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends; `false` where the thread has failed, and [`Self::finish`] says why.
    pub async fn write(&mut self, bytes: Bytes) -> bool {
        self.offset += bytes.len() as u64;
        self.commands.send(Command::Bytes(bytes)).await.is_ok()
    }

    /// Starts over; `false` as above.
    pub async fn restart(&mut self) -> bool {
        self.offset = 0;
        self.commands.send(Command::Restart).await.is_ok()
    }

    /// Waits until everything is written.
    pub async fn finish(self) -> store::Result<S> {
        drop(self.commands);
        match self.thread.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Writer<Box<BlobWriter>> {
    /// Writes the rest, checks the blob and gives it its name.
    pub async fn commit(self) -> store::Result<()> {
        let sink = self.finish().await?;
        blocking(move || sink.commit()).await
    }
}

impl Writer<UnnamedWriter> {
    /// Writes the rest and gives the blob the name that its bytes have.
    pub async fn commit(self) -> store::Result<(Digest, u64)> {
        let sink = self.finish().await?;
        blocking(move || sink.commit()).await
    }
}

/// Runs what waits for a disk or a process where that holds up nobody.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
