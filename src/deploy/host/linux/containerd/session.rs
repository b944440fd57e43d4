//! Requests as containerd wants them: with the namespace and, while seeding, with the lease in their metadata.

use std::time::Duration;

use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use super::api::content::content_client::ContentClient;
use super::api::diff::diff_client::DiffClient;
use super::api::images::images_client::ImagesClient;
use super::api::introspection::introspection_client::IntrospectionClient;
use super::api::introspection::{Plugin, PluginsRequest};
use super::api::leases::leases_client::LeasesClient;
use super::api::snapshots::snapshots_client::SnapshotsClient;
use super::api::version::version_client::VersionClient;
use super::{Error, QUICK};

/// The namespace in which the kubelet's images live.
const NAMESPACE: &str = "k8s.io";

/// A channel, and what every request on it carries.
#[derive(Clone)]
pub(super) struct Session {
    channel: Channel,
    lease: Option<AsciiMetadataValue>,
}

impl Session {
    /// `lease` is one of ours: ASCII.
    pub(super) fn new(channel: Channel, lease: Option<&str>) -> Self {
        Self { channel, lease: lease.and_then(|lease| lease.parse().ok()) }
    }

    /// A request that is answered soon.
    pub(super) fn quick<T>(&self, message: T) -> Request<T> {
        self.bounded(message, QUICK)
    }

    /// A request that is answered within `limit`.
    pub(super) fn bounded<T>(&self, message: T, limit: Duration) -> Request<T> {
        let mut request = self.unbounded(message);
        request.set_timeout(limit);
        request
    }

    /// A request that takes as long as its content needs.
    pub(super) fn unbounded<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", AsciiMetadataValue::from_static(NAMESPACE));
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", lease.clone());
        }
        request
    }

    pub(super) fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone())
    }

    pub(super) fn diff(&self) -> DiffClient<Channel> {
        DiffClient::new(self.channel.clone())
    }

    pub(super) fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone())
    }

    pub(super) fn leases(&self) -> LeasesClient<Channel> {
        LeasesClient::new(self.channel.clone())
    }

    pub(super) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone())
    }

    pub(super) async fn version(&self) -> Result<String, Error> {
        let answer = VersionClient::new(self.channel.clone()).version(self.quick(())).await;
        Ok(answer.map_err(Error::call("answer", "Version"))?.into_inner().version)
    }

    pub(super) async fn snapshotters(&self) -> Result<Vec<Plugin>, Error> {
        self.plugins("io.containerd.snapshotter.v1").await
    }

    /// The content store: one plugin.
    pub(super) async fn content_stores(&self) -> Result<Vec<Plugin>, Error> {
        self.plugins("io.containerd.content.v1").await
    }

    async fn plugins(&self, kind: &str) -> Result<Vec<Plugin>, Error> {
        let message = PluginsRequest { filters: vec![format!("type=={kind}")] };
        let answer = IntrospectionClient::new(self.channel.clone()).plugins(self.quick(message)).await;
        Ok(answer.map_err(Error::call("list plugins", kind))?.into_inner().plugins)
    }
}
