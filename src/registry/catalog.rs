//! What there is to serve, by repository: tags, manifests, the blobs that they name, and who refers to whom. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::content::Selector;
use super::names::is_manifest;
use crate::types::oci::{ImageIndex, ImageManifest, InvalidDocument};
use crate::types::{Descriptor, Digest};

/// All repositories of a registry. Holds descriptors, no documents: about 200 bytes for each manifest and blob of a repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    repositories: BTreeMap<String, Repository>,
}

/// One repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repository {
    tags: BTreeMap<String, Digest>,
    manifests: BTreeMap<Digest, Descriptor>,
    blobs: BTreeMap<Digest, Descriptor>,
    /// Subject → manifests that refer to it.
    referrers: BTreeMap<Digest, BTreeSet<Descriptor>>,
}

/// Gives the verified bytes of a document, `None` where it is not held.
pub type Documents<'a, E> = &'a mut dyn FnMut(&Descriptor) -> Result<Option<Vec<u8>>, E>;

/// A document that is in the way of a catalog.
#[derive(Debug)]
pub struct Unreadable {
    /// Which document.
    pub digest: Digest,
    /// What is wrong with it.
    pub source: InvalidDocument,
}

impl Catalog {
    /// Adds a manifest or index to a repository, with everything below it.
    ///
    /// `document` gives the verified bytes of a document, `None` where it is not held: a child that is not there is left out, and
    /// so is a top. A tag that is there already keeps its meaning.
    ///
    /// # Errors
    /// What `document` says. A document that is malformed is served as it is and told in the list.
    pub fn add<E>(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        manifest: &Descriptor,
        document: Documents<'_, E>,
    ) -> Result<Vec<Unreadable>, E> {
        let mut unreadable = Vec::new();
        let mut open = vec![manifest.clone()];
        while let Some(descriptor) = open.pop() {
            let known = self.repositories.get(repository).is_some_and(|repository| repository.manifests.contains_key(&descriptor.digest));
            if known {
                continue;
            }
            let Some(bytes) = document(&descriptor)? else { continue };
            let room = self.repositories.entry(repository.to_owned()).or_default();
            match room.take(&descriptor, &bytes) {
                Ok(children) => open.extend(children),
                Err(source) => unreadable.push(Unreadable { digest: descriptor.digest, source }),
            }
        }
        if let (Some(tag), Some(room)) = (tag, self.repositories.get_mut(repository))
            && room.manifests.contains_key(&manifest.digest)
        {
            room.tags.entry(tag.to_owned()).or_insert(manifest.digest);
        }
        Ok(unreadable)
    }

    /// The names of all repositories, sorted.
    pub fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.keys().map(String::as_str)
    }

    /// One repository.
    pub fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }
}

impl Repository {
    /// Its tags, sorted.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.keys().map(String::as_str)
    }

    /// The manifest or index that a tag or digest names.
    pub fn manifest(&self, selector: &Selector) -> Option<&Descriptor> {
        let digest = match selector {
            Selector::Tag(tag) => self.tags.get(tag)?,
            Selector::Digest(digest) => digest,
        };
        self.manifests.get(digest)
    }

    /// A blob that one of the manifests names, or one of the manifests: clients may fetch those as blobs too.
    pub fn blob(&self, digest: &Digest) -> Option<&Descriptor> {
        self.blobs.get(digest).or_else(|| self.manifests.get(digest))
    }

    /// Manifests that refer to `subject`, sorted by media type, then digest.
    pub fn referrers(&self, subject: &Digest) -> impl Iterator<Item = &Descriptor> {
        self.referrers.get(subject).into_iter().flatten()
    }

    /// Takes in one document; gives the manifests and indexes that it names.
    fn take(&mut self, descriptor: &Descriptor, bytes: &[u8]) -> Result<Vec<Descriptor>, InvalidDocument> {
        let plain = Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size);
        self.manifests.insert(plain.digest, plain.clone());
        let (subject, artifact_type, annotations, children, blobs) = if descriptor.media_type.is_image_index() {
            let index = ImageIndex::parse(bytes)?;
            let (children, blobs) = index.manifests.into_iter().partition(|child| is_manifest(&child.media_type));
            (index.subject, index.artifact_type, index.annotations, children, blobs)
        } else {
            let manifest = ImageManifest::parse(bytes)?;
            // Distribution-spec, "Listing Referrers": without an artifactType the configuration's media type stands for it.
            let artifact_type = manifest.artifact_type.or_else(|| Some(manifest.config.media_type.to_string()));
            let mut blobs = manifest.layers;
            blobs.push(manifest.config);
            (manifest.subject, artifact_type, manifest.annotations, Vec::new(), blobs)
        };
        for blob in blobs {
            let blob = Descriptor::new(blob.media_type, blob.digest, blob.size);
            self.blobs.insert(blob.digest, blob);
        }
        if let Some(subject) = subject {
            self.referrers.entry(subject.digest).or_default().insert(Descriptor { artifact_type, annotations, ..plain });
        }
        Ok(children)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::oci::write;
    use crate::types::{MediaType, Platform};

    #[test]
    fn an_index_brings_the_children_that_are_held_and_their_blobs() {
        let layer = Descriptor::of("layer", b"layer");
        let config = Descriptor::of(MediaType::OCI_CONFIG, b"config");
        let manifest = ImageManifest {
            artifact_type: None,
            config: config.clone(),
            layers: vec![layer.clone()],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let manifest_bytes = write::manifest(&manifest);
        let child = Descriptor::of(MediaType::OCI_MANIFEST, &manifest_bytes);
        let absent = Descriptor::of(MediaType::OCI_MANIFEST, b"absent").for_platform(Platform::linux_arm64());
        let index_bytes = write::index(&ImageIndex {
            artifact_type: None,
            manifests: vec![child.clone().for_platform(Platform::linux_amd64()), absent.clone()],
            subject: None,
            annotations: BTreeMap::new(),
        });
        let index = Descriptor::of(MediaType::OCI_INDEX, &index_bytes);
        let held = BTreeMap::from([(index.digest, index_bytes), (child.digest, manifest_bytes)]);
        let mut catalog = Catalog::default();
        let unreadable =
            catalog.add::<std::convert::Infallible>("h/a", Some("1"), &index, &mut |wanted| Ok(held.get(&wanted.digest).cloned())).unwrap();
        assert!(unreadable.is_empty());
        let repository = catalog.repository("h/a").unwrap();
        assert_eq!(repository.manifest(&Selector::Tag("1".to_owned())), Some(&index));
        assert_eq!(repository.manifest(&Selector::Digest(child.digest)), Some(&child));
        assert_eq!(repository.manifest(&Selector::Digest(absent.digest)), None);
        assert_eq!((repository.blob(&layer.digest), repository.blob(&config.digest)), (Some(&layer), Some(&config)));
        assert_eq!(catalog.repositories().collect::<Vec<_>>(), ["h/a"]);
    }

    #[test]
    fn a_top_that_is_not_held_makes_no_repository() {
        let mut catalog = Catalog::default();
        let top = Descriptor::of(MediaType::OCI_INDEX, b"x");
        catalog.add::<std::convert::Infallible>("h/a", Some("1"), &top, &mut |_| Ok(None)).unwrap();
        assert_eq!(catalog, Catalog::default());
    }
}
