//! The part of the CRI that a kubelet uses to run one container from an image that is there.

#[rustfmt::skip]
#[expect(
    unused_qualifications, clippy::allow_attributes_without_reason, clippy::enum_variant_names, clippy::pedantic,
    reason = "generated; the API is documented by Kubernetes"
)]
pub mod api;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::image_service_client::ImageServiceClient;
use api::runtime_service_client::RuntimeServiceClient;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};

/// How long something is waited for that comes at once on an idle machine: no test is about that time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection to the CRI, with a runtime of its own.
pub struct Cri {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    logs: PathBuf,
    cgroup: String,
}

impl Cri {
    pub fn connect(address: &Path, logs: &Path, cgroup: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let path = address.to_owned();
        let channel = {
            let _inside = runtime.enter();
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(move |_: tonic::transport::Uri| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
            }))
        };
        let cri = Self { runtime, channel, logs: logs.to_owned(), cgroup: cgroup.to_owned() };
        cri.wait_until_it_answers();
        cri
    }

    /// containerd listens before its CRI plugin has read what was there.
    fn wait_until_it_answers(&self) {
        let begun = Instant::now();
        while let Err(status) = self.look_for("none") {
            assert!(status.message().contains("not initialized"), "{status:?}");
            assert!(begun.elapsed() < PATIENCE, "CRI does not begin to answer: {status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What CRI knows of an image, by any of its names.
    pub fn image(&self, name: &str) -> Option<api::Image> {
        self.look_for(name).unwrap()
    }

    fn look_for(&self, name: &str) -> Result<Option<api::Image>, tonic::Status> {
        let request = api::ImageStatusRequest { image: Some(api::ImageSpec { image: name.to_owned() }) };
        let answer = self.runtime.block_on(ImageServiceClient::new(self.channel.clone()).image_status(request))?;
        Ok(answer.into_inner().image)
    }

    /// Waits until CRI's cache has heard of an image.
    pub fn wait_for_image(&self, name: &str) -> api::Image {
        let begun = Instant::now();
        loop {
            if let Some(image) = self.image(name) {
                return image;
            }
            assert!(begun.elapsed() < PATIENCE, "CRI does not know `{name}`");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Pulls an image as a kubelet does.
    pub fn pull(&self, name: &str) {
        let image = Some(api::ImageSpec { image: name.to_owned() });
        let request = api::PullImageRequest { image };
        self.runtime.block_on(ImageServiceClient::new(self.channel.clone()).pull_image(request)).unwrap();
    }

    /// Runs an image in a pod on the node's network until it ends, and gives its exit code.
    pub fn run(&self, name: &str, image: &str) -> i32 {
        self.runtime.block_on(async {
            let mut client = RuntimeServiceClient::new(self.channel.clone());
            let namespaces =
                api::NamespaceOption { network: api::NamespaceMode::Node.into(), pid: 1, ipc: api::NamespaceMode::Node.into() };
            let sandbox = api::PodSandboxConfig {
                metadata: Some(api::PodSandboxMetadata {
                    name: name.to_owned(),
                    uid: format!("uid-{name}"),
                    namespace: "default".to_owned(),
                    attempt: 0,
                }),
                hostname: String::new(),
                log_directory: self.logs.display().to_string(),
                linux: Some(api::LinuxPodSandboxConfig {
                    cgroup_parent: format!("/{}", self.cgroup),
                    security_context: Some(api::LinuxSandboxSecurityContext { namespace_options: Some(namespaces) }),
                }),
            };
            let id = client.run_pod_sandbox(api::RunPodSandboxRequest { config: Some(sandbox.clone()) }).await.unwrap();
            let id = id.into_inner().pod_sandbox_id;
            let config = api::ContainerConfig {
                metadata: Some(api::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
                image: Some(api::ImageSpec { image: image.to_owned() }),
                log_path: format!("{name}.log"),
                linux: Some(api::LinuxContainerConfig {
                    security_context: Some(api::LinuxContainerSecurityContext { namespace_options: Some(namespaces) }),
                }),
                ..api::ContainerConfig::default()
            };
            let request = api::CreateContainerRequest { pod_sandbox_id: id.clone(), config: Some(config), sandbox_config: Some(sandbox) };
            let container = client.create_container(request).await.unwrap().into_inner().container_id;
            client.start_container(api::StartContainerRequest { container_id: container.clone() }).await.unwrap();
            let begun = Instant::now();
            let code = loop {
                let request = api::ContainerStatusRequest { container_id: container.clone() };
                let status = client.container_status(request).await.unwrap().into_inner().status.unwrap();
                if status.state() == api::ContainerState::ContainerExited {
                    break status.exit_code;
                }
                assert!(begun.elapsed() < PATIENCE, "the container does not end: {status:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            client.stop_pod_sandbox(api::StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await.unwrap();
            client.remove_pod_sandbox(api::RemovePodSandboxRequest { pod_sandbox_id: id }).await.unwrap();
            code
        })
    }
}
