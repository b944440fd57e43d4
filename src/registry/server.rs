//! Accepting connections: how many, for how long, and how they end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::answer::router;
use super::content::Content;

/// Bounds of a running registry.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue. Each may hold about 600 KiB.
    pub connections: usize,
    /// For the head of a request to come, from the first byte or from the end of the request before.
    pub head: Duration,
    /// For a client to take, or give, the next byte.
    pub stall: Duration,
    /// For requests that run to end after the shutdown began.
    pub shutdown: Duration,
    /// Bytes of a request's head, and of what is queued for one connection before the next piece is asked for.
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head: Duration::from_mins(1),
            stall: Duration::from_mins(1),
            shutdown: Duration::from_secs(10),
            head_bytes: 64 << 10,
        }
    }
}

/// A registry that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot accept connections")]
pub struct ServeError(#[source] io::Error);

/// Serves until `shutdown` is ready, then lets requests that run come to their end.
///
/// # Errors
/// The listener fails in a way that does not pass.
pub async fn serve(content: Arc<dyn Content>, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    serve_within(Limits::default(), content, listener, shutdown).await
}

/// The same with other limits.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within(
    limits: Limits,
    content: Arc<dyn Content>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let service = TowerToHyperService::new(router(content));
    let room = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted? else { continue };
        let builder = http(&limits);
        let io = TokioIo::new(Stalling::new(stream, limits.stall));
        let connection = builder.serve_connection(io, service.clone()).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error, "a connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were broken off at shutdown");
    }
    connections.shutdown().await;
    Ok(())
}

fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.head_bytes).max_headers(64);
    builder
}

/// The next connection; `None` where one could not be taken and the next may: it went away, or files are short for a moment.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Result<Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)>, ServeError> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(|error| ServeError(io::Error::other(error)))?;
    match listener.accept().await {
        Ok((stream, _)) => {
            stream.set_nodelay(true).map_err(ServeError)?;
            Ok(Some((stream, permit)))
        }
        Err(error) => match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => Ok(None),
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOBUFS | rustix::io::Errno::NOMEM) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection cannot be taken, trying again in a second");
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(None)
            }
            _ => Err(ServeError(error)),
        },
    }
}

/// A connection that fails where the other side neither takes nor gives a byte for too long.
struct Stalling {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Stalling {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, waiting: None }
    }

    fn watch<T>(&mut self, poll: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.waiting = None;
            return poll;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if waiting.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")));
        }
        Poll::Pending
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(poll, context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
