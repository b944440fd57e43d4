//! Images as CRI keeps them: three names for one target, and whether they and all beneath them are there.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::api::images::{CreateImageRequest, GetImageRequest, Image, UpdateImageRequest};
use super::error::{found, made};
use super::session::Session;
use super::wanted::{of_image, snapshot_label};
use super::{Containerd, Error, content, snapshot};
use crate::bundle::image::{ImageTree, PlatformImage};
use crate::types::{Descriptor, Digest, ImageReference, Platform};

/// CRI lists an image only with this label.
const MANAGED: (&str, &str) = ("io.cri-containerd.image", "managed");
/// The kubelet's garbage collection leaves an image with this label alone.
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");

/// One image for one platform, as it is to be in containerd.
#[derive(Debug, Clone, Copy)]
pub struct SeedImage<'a> {
    /// Its name.
    pub reference: &'a ImageReference,
    /// What the name stands for: the upstream index or manifest.
    pub top: &'a Descriptor,
    /// Manifest, configuration and layers of the node's platform.
    pub image: &'a PlatformImage,
    /// Kept from the kubelet's garbage collection.
    pub pin: bool,
}

impl<'a> SeedImage<'a> {
    /// What a tree has for a platform; `None` where that platform is not carried.
    #[must_use]
    pub fn of(tree: &'a ImageTree, platform: &Platform, pin: bool) -> Option<Self> {
        let image = tree.platforms.iter().find(|image| image.platform == *platform)?;
        Some(Self { reference: &tree.reference, top: &tree.top, image, pin })
    }

    /// The names that CRI looks it up by, the configuration's digest last: `repo:tag` where there is a tag, `repo@digest`, `sha256:…`.
    fn names(&self) -> Vec<String> {
        let name = self.reference.name();
        let tagged = self.reference.tag().map(|tag| format!("{name}:{tag}"));
        let mut names: Vec<String> = tagged.into_iter().collect();
        names.extend([format!("{name}@{}", self.top.digest), self.image.config.digest.to_string()]);
        names
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let labels = std::iter::once(MANAGED).chain(self.pin.then_some(PINNED));
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The configuration's digest may be a name for another index around the same image: that one is as good.
    fn accepts(&self, name: &str, target: &str) -> bool {
        target == self.top.digest.to_string() || name == self.image.config.digest.to_string()
    }
}

/// How much of an image is in containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    /// No name of it, and not its manifest.
    Missing,
    /// Something of it: the rest is to be seeded.
    Partial,
    /// All names with their labels, all blobs, unpacked, and safe from garbage collection.
    Present,
}

impl Containerd {
    /// How much of an image is there, by names, labels and sizes: no blob is read, here or in containerd.
    ///
    /// # Errors
    /// containerd does not answer.
    pub fn image_state(&self, image: &SeedImage<'_>, snapshotter: &str) -> Result<ImageState, Error> {
        self.runtime.block_on(state(&self.session(None), image, snapshotter))
    }

    /// What `repo:tag` (or, without a tag, `repo@digest`) stands for now: whose it is, before it is moved.
    ///
    /// # Errors
    /// containerd does not answer.
    pub fn holder_of(&self, reference: &ImageReference) -> Result<Option<Digest>, Error> {
        let name = match (reference.tag(), reference.digest()) {
            (Some(tag), _) => format!("{}:{tag}", reference.name()),
            (None, _) => reference.to_string(),
        };
        let image = self.runtime.block_on(get(&self.session(None), &name))?;
        Ok(image.and_then(|image| image.target).and_then(|target| target.digest.parse().ok()))
    }
}

pub(super) async fn state(session: &Session, image: &SeedImage<'_>, snapshotter: &str) -> Result<ImageState, Error> {
    let named = try_join_all(image.names().into_iter().map(|name| async move {
        let there = get(session, &name).await?;
        let right = there.as_ref().is_some_and(|there| {
            let target = there.target.as_ref().map_or("", |target| target.digest.as_str());
            image.accepts(&name, target) && image.labels().iter().all(|(key, value)| there.labels.get(key) == Some(value))
        });
        Ok((there.is_some(), right))
    }))
    .await?;
    let wanted = of_image(image, snapshotter, None);
    let infos = try_join_all(wanted.iter().map(|blob| content::info(session, &blob.descriptor.digest))).await?;
    let kept = wanted.iter().zip(&infos).all(|(blob, info)| {
        info.as_ref().is_some_and(|info| {
            u64::try_from(info.size).is_ok_and(|size| size == blob.descriptor.size) && blob.labels.references_are_in(&info.labels)
        })
    });
    let of = |digest: &Digest| {
        let place = wanted.iter().position(|blob| blob.descriptor.digest == *digest)?;
        infos[place].as_ref()
    };
    if named.iter().all(|(there, _)| !there) && of(&image.image.manifest.digest).is_none() {
        return Ok(ImageState::Missing);
    }
    let chain = of(&image.image.config.digest).and_then(|info| info.labels.get(&snapshot_label(snapshotter)));
    let unpacked = match chain {
        Some(chain) => snapshot::is_there(session, snapshotter, chain).await?,
        None => image.image.layers.is_empty(),
    };
    let present = kept && unpacked && named.iter().all(|(_, right)| *right);
    Ok(if present { ImageState::Present } else { ImageState::Partial })
}

/// Makes the names, or moves them here.
pub(super) async fn name(session: &Session, image: &SeedImage<'_>) -> Result<(), Error> {
    for name in image.names() {
        let wanted = Image { name: name.clone(), labels: image.labels(), target: Some(snapshot::wire(image.top)) };
        let request = CreateImageRequest { image: Some(wanted.clone()) };
        if made(session.images().create(session.quick(request)).await).map_err(Error::call("name the image", &name))? {
            continue;
        }
        let mut paths: Vec<String> = wanted.labels.keys().map(|key| format!("labels.{key}")).collect();
        let target = get(session, &name).await?.and_then(|there| there.target).map_or(String::new(), |target| target.digest);
        if !image.accepts(&name, &target) {
            paths.push("target".to_owned());
        }
        let request = UpdateImageRequest { image: Some(wanted), update_mask: Some(prost_types::FieldMask { paths }) };
        session.images().update(session.quick(request)).await.map_err(Error::call("move the name", &name))?;
    }
    Ok(())
}

async fn get(session: &Session, name: &str) -> Result<Option<Image>, Error> {
    let answer = session.images().get(session.quick(GetImageRequest { name: name.to_owned() })).await;
    Ok(found(answer).map_err(Error::call("look up", name))?.and_then(|answer| answer.into_inner().image))
}
