//! Flags of every command that asks upstreams: where the cache is, whom to trust, whom to reach how.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use url::Url;

use crate::cli::Ui;
use crate::create::definition::{self, package::Package};
use crate::create::source::{Environment, SourceOptions, Sources};
use crate::create::tools;
use crate::store::Store;
use crate::types::{Descriptor, Platform};

/// Flags of every command that reads a definition and asks upstreams.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The directory that holds coracle.yaml, or the file itself
    #[arg(value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// This platform alone, of those that the definition names; can be repeated
    #[arg(long, value_name = "PLATFORM", env = "CORACLE_PLATFORM", value_delimiter = ',')]
    pub platform: Vec<Platform>,
    /// Gives a parameter of the definition a value; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub param: Vec<(String, String)>,
    /// The static `coracle` that travels for a platform [default: coracle-linux-ARCH beside this program]; can be repeated
    #[arg(long, value_name = "PLATFORM=PATH", value_parser = pair)]
    tool: Vec<(String, String)>,
    /// Where blobs are kept between runs [default: coracle in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "CORACLE_CACHE")]
    pub cache: Option<PathBuf>,
    /// Asks this URL instead of a registry host; can be repeated
    #[arg(long, value_name = "HOST=URL", env = "CORACLE_MIRROR", value_delimiter = ',', value_parser = mirror, help_heading = "Upstreams")]
    pub mirror: Vec<(String, Url)>,
    /// Reaches this host by plain HTTP; can be repeated
    #[arg(long, value_name = "HOST", help_heading = "Upstreams")]
    pub plain_http: Vec<String>,
    /// Trusts the certificates in this PEM file too; can be repeated
    #[arg(long, value_name = "FILE", env = "CORACLE_CA", value_delimiter = ',', help_heading = "Upstreams")]
    pub ca: Vec<PathBuf>,
    /// Transfers at once, in all
    #[arg(long, value_name = "N", env = "CORACLE_JOBS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Upstreams")]
    pub jobs: u16,
}

impl SourceArgs {
    /// Reads the definition.
    pub fn package(&self) -> Result<Package, definition::Error> {
        definition::load(&self.directory, &self.param, &self.platform)
    }

    /// Opens the cache.
    pub fn store(&self) -> anyhow::Result<Store> {
        let path = match &self.cache {
            Some(path) => path.clone(),
            None => default_cache().context("no --cache is given, and neither XDG_CACHE_HOME nor HOME is set")?,
        };
        Ok(Store::open(path)?)
    }

    /// Finds the tools that travel and brings them into the store; says which platform goes without.
    pub fn tools(&self, package: &Package, store: &Store, ui: &Ui) -> anyhow::Result<BTreeMap<Platform, Option<Descriptor>>> {
        let named = self.tool.iter().map(|(platform, path)| Ok((platform.parse::<Platform>()?, PathBuf::from(path))));
        let named = named.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
        if let Some(other) = named.keys().find(|platform| !package.platforms.contains(platform)) {
            bail!(super::Usage(format!("--tool names {other}, which the definition does not")));
        }
        let program = std::env::current_exe().context("cannot tell where this program lies")?;
        let found = tools::find(&package.platforms, &named, program.parent())?;
        for (platform, _) in found.iter().filter(|(_, path)| path.is_none()) {
            ui.say(&format!(
                "  note       no coracle for {platform} travels: nodes of that platform must have it already (--tool {platform}=PATH)"
            ));
        }
        Ok(tools::store(store, &found)?)
    }

    /// Sets up the sources.
    pub fn sources(&self) -> anyhow::Result<Sources> {
        let jobs = usize::from(self.jobs);
        Ok(Sources::new(SourceOptions {
            ca: self.ca.clone(),
            plain_http: self.plain_http.clone(),
            mirrors: self.mirror.clone(),
            jobs,
            jobs_per_host: jobs.min(6),
            environment: environment(),
        })?)
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn environment() -> Environment {
    Environment {
        home: variable("HOME"),
        xdg_runtime_dir: variable("XDG_RUNTIME_DIR"),
        docker_config: variable("DOCKER_CONFIG"),
        registry_auth_file: variable("REGISTRY_AUTH_FILE"),
        netrc: variable("NETRC"),
        path: std::env::var_os("PATH"),
        no_proxy: ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok()),
    }
}

fn default_cache() -> Option<PathBuf> {
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("coracle"))
}

/// `NAME=VALUE`
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn mirror(text: &str) -> Result<(String, Url), String> {
    let (host, url) = pair(text)?;
    let url = Url::parse(&url).map_err(|error| format!("`{url}` is not a URL: {error}"))?;
    Ok((host, url))
}
