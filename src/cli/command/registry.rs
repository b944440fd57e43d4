//! `coracle registry serve`: the node registry by itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::deploy::open_verified;
use crate::cli::explain::registry::Error;
use crate::cli::keys::TrustArgs;
use crate::cli::{Exit, Ui};
use crate::registry::{BundleContent, Content, NodeContent, activation, serve};

/// The OCI registry of an isolated node
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Serve what this node holds, read only, until it is ended
    Serve(ServeArgs),
}

#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// The directory that deploy keeps, with `store` and `registry` in it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/coracle", env = "CORACLE_STORE")]
    store: PathBuf,
    /// Serves this bundle as it is, instead of what a node holds; can be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    bundle: Vec<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Where to listen; a socket that systemd hands over comes before this
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000", env = "CORACLE_LISTEN")]
    listen: SocketAddr,
    /// Writes the process id there once it listens, so that only whoever has the address is named
    #[arg(long, value_name = "FILE", env = "CORACLE_PID_FILE")]
    pid_file: Option<PathBuf>,
    /// One line for each request on stderr
    #[arg(long, env = "CORACLE_LOG_REQUESTS")]
    log_requests: bool,
}

/// Runs it.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Action::Serve(args) = args.action;
    log(args.log_requests);
    let environment = |name: &str| std::env::var(name).ok();
    let listener = listener(args.listen, &environment)?;
    let address = listener.local_addr()?;
    if let Some(path) = &args.pid_file {
        crate::fs::write_atomic(path, format!("{}\n", std::process::id()).as_bytes(), 0o644)?;
    }
    let (content, what) = content(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        announce(&what, address, &*content, ui)?;
        activation::notify_ready(&environment).context("cannot tell systemd that the registry is ready")?;
        serve(content, listener, shutdown).await.map_err(Error::Serve)?;
        Ok(Exit::Done)
    })
}

/// What is served, and its name for people.
fn content(args: &ServeArgs) -> anyhow::Result<(Arc<dyn Content>, String)> {
    if args.bundle.is_empty() {
        let node = NodeContent::open(&args.store).map_err(Error::Content)?;
        return Ok((Arc::new(node), args.store.display().to_string()));
    }
    let bundles = args.bundle.iter().map(|path| open_verified(path, &args.trust)).collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<String> = args.bundle.iter().map(|path| path.display().to_string()).collect();
    Ok((Arc::new(BundleContent::new(bundles)), names.join(", ")))
}

/// The socket that systemd holds, or one of our own.
fn listener(listen: SocketAddr, environment: activation::Environment<'_>) -> anyhow::Result<std::net::TcpListener> {
    let given = activation::listener(environment).context("cannot take the socket that systemd handed over")?;
    let address = given.as_ref().map_or(Ok(listen), std::net::TcpListener::local_addr)?;
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback { address }.into());
    }
    if let Some(listener) = given {
        return Ok(listener);
    }
    let listener = std::net::TcpListener::bind(listen).map_err(|source| Error::Listen { address: listen, source })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What is served, and how to pull it.
fn announce(what: &str, address: SocketAddr, content: &dyn Content, ui: &Ui) -> anyhow::Result<()> {
    let repositories = content.repositories().map_err(Error::Content)?;
    ui.say(&format!("serving {} repositories of {what} on http://{address}", repositories.len()));
    let name = repositories.first().map_or("HOST/PATH", String::as_str);
    ui.say(&format!("pull as {address}/{name}:TAG"));
    Ok(())
}

/// Warnings always, requests where they are asked for.
fn log(requests: bool) {
    let requests = if requests { "info" } else { "off" };
    let filter = tracing_subscriber::EnvFilter::new(format!("warn,coracle::registry::request={requests}"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
