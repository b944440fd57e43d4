//! A small package, built in memory, and how tests deploy it.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{self, Blobs};
use super::facts;
use super::host::Host;
use super::host::fake::Ending;
use super::options::Options;
use super::plan::{self, Carried, DeployPlan};
use super::receipt::Receipt;
use crate::bundle::contents::{
    ArchiveFormat, CarriedFile, CarriedImage, Component, Contents, FileContent, Only, Placement, Target, Variable,
};
use crate::bundle::image::{ImageTree, PlatformImage};
use crate::event::{Observer, Silent};
use crate::store::{Begun, Store};
use crate::types::{Descriptor, Digest, Platform};

/// A package and its blobs.
pub struct Package {
    pub contents: Contents,
    pub images: Vec<ImageTree>,
    pub tools: BTreeMap<Platform, Vec<(String, Descriptor)>>,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub signed_by: BTreeSet<String>,
}

impl Package {
    /// One without anything in it.
    pub fn new(version: &str) -> Self {
        let contents = Contents {
            name: "demo".parse().unwrap(),
            version: version.parse().unwrap(),
            description: String::new(),
            platforms: Platform::supported().to_vec(),
            target: Target::default(),
            parameters: BTreeMap::new(),
            variables: BTreeMap::new(),
            components: Vec::new(),
            lock: "{}".to_owned(),
            chunks: BTreeMap::new(),
        };
        let signed_by = BTreeSet::from(["k1".to_owned()]);
        Self { contents, images: Vec::new(), tools: BTreeMap::new(), blobs: BTreeMap::new(), signed_by }
    }

    /// An image, two plain files, a template, an archive and an optional component.
    pub fn sample(version: &str) -> Self {
        let mut package = Self::new(version);
        package.component("base");
        package.file("/etc/demo/plain.conf", &format!("version {version}\n"));
        package.file("/opt/demo/tool", "#!/bin/sh\n").mode = Some("0755".parse().unwrap());
        package.file("/etc/demo/node.conf", "host ${{ node.hostname }} address ${{ address }} token ${{ token }}\n").template = true;
        package.archive("/opt/cni/bin", "plugins.tgz", &[("./bridge", version), ("./doc/readme", "read me"), ("./host", "same")]);
        package.image("ghcr.io/acme/app:1", "layer");
        let variable = Variable { default: Some("192.0.2.1".into()), ..Variable::default() };
        package.contents.variables.insert("address".parse().unwrap(), variable);
        let token = Variable { sensitive: true, required: true, ..Variable::default() };
        package.contents.variables.insert("token".parse().unwrap(), token);
        package.component("extra").optional = true;
        package.file("/etc/demo/extra.conf", "extra\n");
        package
    }

    /// One more component; what is added next belongs to it.
    pub fn component(&mut self, name: &str) -> &mut Component {
        let component =
            Component { name: name.parse().unwrap(), only: Only::default(), optional: false, images: Vec::new(), files: Vec::new() };
        self.contents.components.push(component);
        self.contents.components.last_mut().unwrap()
    }

    fn blob(&mut self, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of("application/octet-stream", bytes);
        self.blobs.insert(descriptor.digest, bytes.to_vec());
        descriptor
    }

    fn carried(&mut self, placement: Placement, title: &str, bytes: &[u8], archive: Option<ArchiveFormat>) -> &mut CarriedFile {
        let descriptor = self.blob(bytes);
        let content = FileContent { descriptor, title: title.to_owned(), origin: "inline".to_owned(), archive };
        let contents = Platform::supported().into_iter().map(|platform| (platform, content.clone())).collect();
        let file = CarriedFile { placement, mode: None, owner: None, group: None, template: false, contents };
        let files = &mut self.contents.components.last_mut().unwrap().files;
        files.push(file);
        files.last_mut().unwrap()
    }

    /// One more file.
    pub fn file(&mut self, path: &str, text: &str) -> &mut CarriedFile {
        self.carried(Placement::File(path.parse().unwrap()), path.rsplit('/').next().unwrap(), text.as_bytes(), None)
    }

    /// One more archive.
    pub fn archive(&mut self, into: &str, title: &str, members: &[(&str, &str)]) -> &mut CarriedFile {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        for (name, text) in members {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "link", "doc/readme").unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        let placement = Placement::Extract { into: into.parse().unwrap(), members: BTreeMap::new(), strip: 0 };
        self.carried(placement, title, &bytes, Some(ArchiveFormat::TarGzip))
    }

    /// One more image for both platforms; its documents are not looked into here.
    pub fn image(&mut self, reference: &str, text: &str) {
        let top = self.blob(format!("index {reference} {text}").as_bytes());
        let platforms = Platform::supported().map(|platform| PlatformImage {
            manifest: self.blob(format!("manifest {platform} {text}").as_bytes()),
            config: self.blob(format!("config {platform} {text}").as_bytes()),
            layers: vec![self.blob(format!("{text} {platform}").as_bytes())],
            attestations: Vec::new(),
            platform,
        });
        let reference: crate::types::ImageReference = reference.parse().unwrap();
        self.images.push(ImageTree { reference: reference.clone(), top: top.clone(), platforms: platforms.to_vec() });
        let image = CarriedImage { reference, top, platforms: Platform::supported().to_vec(), pin: false };
        self.contents.components.last_mut().unwrap().images.push(image);
    }

    /// As a deploy sees it.
    pub fn as_carried(&self) -> Carried<'_> {
        Carried {
            contents: &self.contents,
            images: &self.images,
            tools: &self.tools,
            root: Digest::of(format!("{:?}", self.contents).as_bytes()),
            signed_by: self.signed_by.clone(),
        }
    }

    /// Looks and plans.
    pub fn plan(&self, host: &dyn Host, options: &Options) -> Result<DeployPlan, plan::Error> {
        let carried = self.as_carried();
        let facts = facts::gather(host, &carried).unwrap();
        let texts = plan::templates(&carried, &facts, options)?
            .into_iter()
            .map(|descriptor| (descriptor.digest, String::from_utf8(self.blobs[&descriptor.digest].clone()).unwrap()))
            .collect();
        plan::plan(&carried, &facts, options, &texts)
    }

    /// Looks, plans and applies.
    pub fn deploy(&self, host: &dyn Host, options: &Options) -> Result<Receipt, Failure> {
        let _lock = apply::lock(host, "a test").map_err(|error| Failure::Apply(error.into()))?;
        let plan = self.plan(host, options).map_err(Failure::Plan)?;
        apply::apply(plan, &MemoryBlobs { package: self, ending: None }, host, 0, &Silent).map_err(Failure::Apply)
    }

    /// The same on a host that ends: each blob is an effect as well.
    pub fn deploy_ending(&self, host: &Ending<'_>, options: &Options) -> Result<Receipt, Failure> {
        let _lock = apply::lock(host, "a test").map_err(|error| Failure::Apply(error.into()))?;
        let plan = self.plan(host, options).map_err(Failure::Plan)?;
        apply::apply(plan, &MemoryBlobs { package: self, ending: Some(host) }, host, 0, &Silent).map_err(Failure::Apply)
    }
}

/// Where a test's deploy stopped.
#[derive(Debug)]
#[expect(dead_code, reason = "what is inside shows when a test unwraps it")]
pub enum Failure {
    Plan(plan::Error),
    Apply(apply::Error),
}

struct MemoryBlobs<'p, 'h> {
    package: &'p Package,
    ending: Option<&'p Ending<'h>>,
}

impl Blobs for MemoryBlobs<'_, '_> {
    fn stage(&self, blobs: &[Descriptor], store: &Store, _: &dyn Observer) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for blob in blobs {
            if let Some(ending) = self.ending {
                ending.effect()?;
            }
            if let Begun::Writer(mut writer) = store.begin(blob.digest, blob.size)? {
                writer.restart()?;
                writer.write(&self.package.blobs[&blob.digest])?;
                writer.commit()?;
            }
        }
        Ok(())
    }
}

/// Options with the sample's secret.
pub fn with_token() -> Options {
    Options { set: BTreeMap::from([("token".parse().unwrap(), "s3cret-value".to_owned())]), ..Options::default() }
}
