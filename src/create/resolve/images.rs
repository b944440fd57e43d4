//! One image entry: from what its reference means to the tree of its blobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::sync::OnceCell;

use super::Cause;
use super::documents::{Documents, Holder, Kind};
use crate::bundle::image::{self, ImageTree};
use crate::create::definition::package::{ImageEntry, ImageOrigin};
use crate::create::fetch::blocking;
use crate::create::lock::Lock;
use crate::create::resolution::ResolvedImage;
use crate::create::source::Sources;
use crate::store::Store;
use crate::types::oci::{ImageIndex, ImageManifest};
use crate::types::{Descriptor, ImageReference, Platform};

/// What each reference means, asked once: a tag that moves meanwhile must not mean two images in one bundle.
pub type Tops = BTreeMap<ImageReference, Arc<OnceCell<Descriptor>>>;

/// Resolves an entry and brings its documents.
pub async fn resolve(
    entry: &ImageEntry,
    lock: Option<&Lock>,
    tops: &Tops,
    documents: &Documents<'_>,
    sources: &Sources,
    store: &Store,
) -> Result<ResolvedImage, Cause> {
    let tree = match &entry.origin {
        ImageOrigin::Registry(reference) => {
            let locked = || lock.and_then(|lock| lock.image(reference)).map(|image| image.digest);
            let pinned = reference.digest().copied().or_else(locked);
            let ask = async || match pinned {
                Some(digest) => documents.pinned(reference, digest).await,
                None => documents.tagged(reference).await,
            };
            let top = match tops.get(reference) {
                Some(cell) => cell.get_or_try_init(ask).await?.clone(),
                None => ask().await?,
            };
            tree(reference, &top, &entry.platforms, documents, Holder::Registry(reference)).await?
        }
        ImageOrigin::Archive { path, reference } => {
            let (opening, path, scratch) = (sources.clone(), path.clone(), store.root().to_owned());
            let archive = blocking(move || opening.archive(&path, &scratch)).await?;
            let (reference, top) = archive.image(reference.as_ref()).map_err(crate::create::source::Error::from)?;
            tree(&reference, &top, &entry.platforms, documents, Holder::Archive(&archive)).await?
        }
    };
    check_distributable(&tree)?;
    Ok(ResolvedImage { tree, origin: entry.origin.clone() })
}

/// Brings index, manifests and configurations of the wanted platforms, and reads the tree out of them.
async fn tree(
    reference: &ImageReference,
    top: &Descriptor,
    wanted: &[Platform],
    documents: &Documents<'_>,
    from: Holder<'_>,
) -> Result<ImageTree, Cause> {
    let bytes = documents.bring(from, Kind::Manifest, top).await?;
    let manifests = if top.media_type.is_image_index() {
        let invalid = |source| image::Error::Document { reference: reference.clone(), digest: top.digest, source };
        let index = ImageIndex::parse(&bytes).map_err(invalid)?;
        let selected = image::select(reference, &index, wanted)?;
        selected.into_iter().flat_map(|(_, manifest, attestations)| std::iter::once(manifest).chain(attestations)).collect()
    } else if top.media_type.is_image_manifest() {
        vec![top.clone()]
    } else {
        Vec::new()
    };
    try_join_all(manifests.iter().map(async |manifest| {
        let bytes = documents.bring(from, Kind::Manifest, manifest).await?;
        let invalid = |source| image::Error::Document { reference: reference.clone(), digest: manifest.digest, source };
        let config = ImageManifest::parse(&bytes).map_err(invalid)?.config;
        documents.bring(from, Kind::Config, &config).await.map(drop)
    }))
    .await?;
    Ok(image::tree(reference, top, wanted, &|digest| documents.held(digest))?)
}

/// Foreign layers lie on somebody else's server and may not be passed on (image-spec `layer.md`, "Non-Distributable Layers").
fn check_distributable(tree: &ImageTree) -> Result<(), Cause> {
    let foreign = |layer: &&Descriptor| {
        let text = layer.media_type.as_str();
        text.contains(".foreign.") || text.contains(".nondistributable.")
    };
    match tree.platforms.iter().flat_map(image::PlatformImage::content).find(foreign) {
        None => Ok(()),
        Some(layer) => {
            Err(Cause::Foreign { reference: tree.reference.clone(), digest: layer.digest, media_type: layer.media_type.clone() })
        }
    }
}
